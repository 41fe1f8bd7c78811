//! Which of a file's networks is taken: training scripts keep averages of the weights beside them, or several networks.

use super::beside::{AVERAGED, is_average};
use super::entry::{Entry, Tensors};
use super::layout::{FIRST, STEM};
use std::collections::BTreeSet;

/// Where training scripts put a state dict within what they save, the likeliest first.
pub(super) const KEYS: [&str; 6] = ["state_dict", "model_state_dict", "model", "net", "network", "weights"];
/// What wrappers and trainers put in front of all names.
const WRAPPERS: [&str; 6] = ["module", "model", "net", "network", "backbone", "_orig_mod"];
/// Modules that `torch.compile`, FSDP and recomputation put around any other, also in the middle of names: they have no tensors
/// of their own.
const TRANSPARENT: [&str; 4] =
    ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module"];

/// A dictionary of tensors in a file.
pub(super) struct Set {
    /// The keys that lead to it, joined by dots.
    pub path: String,
    pub tensors: Tensors,
    /// What is wrong with one of its tensors.
    pub fault: Option<String>,
}

/// What a file holds that is no dictionary of named tensors: a whole network, tensors without names, an optimiser's state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Elsewhere {
    /// The keys that lead to it, joined by dots.
    pub path: String,
    /// What it is.
    pub what: String,
    /// What to do with it, as the rest of a sentence.
    pub advice: String,
    /// Whether it holds weights of a network, which are left in the file.
    pub weights: bool,
}

impl Elsewhere {
    /// In a list.
    pub fn named(&self) -> String {
        match self.path.as_str() {
            "" => self.what.clone(),
            path => format!("{path} ({})", self.what),
        }
    }
}

/// The network that is taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Choice {
    /// Index of its set.
    pub set: usize,
    /// What its names begin with.
    pub prefix: String,
    /// What its set's other networks' names begin with.
    pub beside: Vec<String>,
    /// What it is called, where the file has several or it is an average.
    pub key: Option<String>,
    /// Whether it is an average of weights.
    pub average: bool,
    /// What the others are called.
    pub others: Vec<String>,
}

/// A network that a file has.
struct Network {
    set: usize,
    prefix: String,
    /// All keys that lead to it.
    key: String,
    /// Those that tell it from the others.
    shown: String,
    average: bool,
    /// Lower ones are likelier to be meant.
    rank: (bool, usize, usize),
}

/// Chooses a network, the one called `key` where that is given.
///
/// # Errors
/// Nothing of that name; several that are as likely.
pub(super) fn choose(sets: &[Set], elsewhere: &[Elsewhere], key: Option<&str>) -> Result<Choice, String> {
    let all: Vec<Network> = sets.iter().enumerate().flat_map(|(i, set)| networks(i, set)).collect();
    let names = |some: &[&Network]| some.iter().map(|n| called(n)).collect::<Vec<_>>().join(", ");
    let everything: Vec<&Network> = all.iter().collect();
    let meant = match key {
        None => everything.clone(),
        Some(key) => named(&all, key),
    };
    let Some(best) = meant.iter().min_by_key(|n| n.rank) else {
        return match key {
            Some(key) => without_network((sets, elsewhere), key, &names(&everything)),
            None => Ok(Choice { set: largest(sets), ..Choice::default() }),
        };
    };
    let equal: Vec<&Network> = meant.iter().copied().filter(|n| n.rank == best.rank).collect();
    if equal.len() > 1 {
        return Err(format!("it holds several networks: {}; say which with --key NAME", names(&equal)));
    }
    let others: Vec<&Network> = everything.into_iter().filter(|n| !std::ptr::eq(*n, *best)).collect();
    let own = others.iter().filter(|n| n.set == best.set && n.prefix != best.prefix);
    Ok(Choice {
        set: best.set,
        prefix: best.prefix.clone(),
        beside: own.map(|n| n.prefix.clone()).collect(),
        key: (best.average || !others.is_empty()).then(|| called(best)),
        average: best.average,
        others: others.into_iter().map(called).collect(),
    })
}

/// For people.
fn called(network: &Network) -> String {
    if network.shown.is_empty() { "the names without a key".into() } else { network.shown.clone() }
}

/// Most tensors of a dictionary without a network that are told one by one.
const TOLD: usize = 4;

/// What is left of the sets that are not taken and have no network: the tensors, or how many.
pub(super) fn left(sets: &[Set], taken: usize) -> Vec<String> {
    let others = sets.iter().enumerate().filter(|(i, set)| *i != taken && networks(*i, set).is_empty());
    let told = |(_, set): (usize, &Set)| match (set.path.as_str(), set.tensors.len()) {
        (path, count) if count > TOLD && !path.is_empty() => vec![format!("{path} ({count} tensors)")],
        ("", _) => set.tensors.keys().cloned().collect(),
        (path, _) => set.tensors.keys().map(|name| format!("{path}.{name}")).collect(),
    };
    others.flat_map(told).collect()
}

/// The networks of a set, by what stands before the names that every ResNet has.
fn networks(index: usize, set: &Set) -> Vec<Network> {
    let stems = set.tensors.keys().filter_map(|name| name.strip_suffix(STEM));
    let whole =
        |p: &&str| (p.is_empty() || p.ends_with('.')) && set.tensors.contains_key(&format!("{p}{FIRST}"));
    let network = |prefix: &str| {
        let inner = prefix.trim_end_matches('.');
        let parts = [set.path.as_str(), inner].into_iter().filter(|p| !p.is_empty());
        let key = parts.collect::<Vec<_>>().join(".");
        // What wraps an average counts beside it.
        let counter = match inner.rsplit_once('.') {
            Some((outer, _)) => format!("{outer}.{AVERAGED}"),
            None => AVERAGED.to_owned(),
        };
        let average = key.split('.').any(is_average) || set.tensors.contains_key(&counter);
        let first = set.path.split('.').next().unwrap_or_default();
        let known = KEYS.iter().position(|k| *k == first);
        let place = known.unwrap_or(if set.path.is_empty() { KEYS.len() } else { KEYS.len() + 1 });
        let wrapped = inner.is_empty() || inner.split('.').all(|part| WRAPPERS.contains(&part));
        // A network that contains the other one's names in a deeper place is the outer one.
        let depth = if inner.is_empty() {
            0
        } else if wrapped {
            1
        } else {
            2
        };
        let (prefix, shown) = (prefix.to_owned(), key.clone());
        Network { set: index, prefix, key, shown, average, rank: (average, place, depth) }
    };
    let mut found: Vec<Network> = stems.filter(whole).map(network).collect();
    if let ([only], false) = (found.as_mut_slice(), set.path.is_empty()) {
        only.shown.clone_from(&set.path);
    }
    found
}

/// The networks that `key` may mean: called so, else ending so, else lying below it.
fn named<'n>(all: &'n [Network], key: &str) -> Vec<&'n Network> {
    let key = key.trim_matches('.');
    let exact = |n: &&Network| n.key == key;
    let last = |n: &&Network| n.key.ends_with(&format!(".{key}"));
    let below = |n: &&Network| n.key.starts_with(&format!("{key}.")) || n.key.contains(&format!(".{key}."));
    let mut found: Vec<&Network> = all.iter().filter(exact).collect();
    if found.is_empty() {
        found = all.iter().filter(last).collect();
    }
    if found.is_empty() {
        found = all.iter().filter(below).collect();
    }
    found
}

/// What `key` names without a network in it that is known: its tensors, so that an error lists them.
fn without_network(
    (sets, elsewhere): (&[Set], &[Elsewhere]),
    key: &str,
    networks: &str,
) -> Result<Choice, String> {
    let meant = |e: &&Elsewhere| {
        let below = e.path.starts_with(&format!("{key}.")) || e.path.contains(&format!(".{key}."));
        e.path == key || e.path.ends_with(&format!(".{key}")) || below
    };
    if let Some(other) = elsewhere.iter().find(meant) {
        return Err(format!("`{}` is {}{}", other.path, other.what, other.advice));
    }
    if let Some(set) = sets.iter().position(|s| !s.path.is_empty() && s.path == key) {
        return Ok(Choice { set, key: Some(key.to_owned()), ..Choice::default() });
    }
    let there = match networks {
        "" => {
            let paths: Vec<&str> = sets.iter().map(|s| s.path.as_str()).filter(|p| !p.is_empty()).collect();
            if paths.is_empty() {
                "its tensors have no key".into()
            } else {
                format!("tensors are under {}", paths.join(", "))
            }
        }
        some => format!("it has {some}"),
    };
    Err(format!("no network under the key `{key}`; {there}"))
}

/// Where no network is known: what is called a state dict, else what has the most tensors.
fn largest(sets: &[Set]) -> usize {
    let rank = |set: &Set| {
        let known = KEYS.iter().position(|k| set.path.split('.').next() == Some(k));
        (known.unwrap_or(KEYS.len()), usize::MAX - set.tensors.len())
    };
    sets.iter().enumerate().min_by_key(|(_, set)| rank(set)).map_or(0, |(i, _)| i)
}

/// A set of tensors without a key.
pub(super) fn set_of(tensors: impl IntoIterator<Item = (String, Entry)>) -> Set {
    Set { path: String::new(), tensors: tensors.into_iter().collect(), fault: None }
}

/// Takes out of all names what wraps modules without a trace ([`TRANSPARENT`]); where two would become one, none is changed.
pub(super) fn unwrap_names(set: &mut Set) {
    let bare = |name: &str| {
        let kept: Vec<&str> = name.split('.').filter(|part| !TRANSPARENT.contains(part)).collect();
        kept.join(".")
    };
    let wrapped = |name: &String| name.split('.').any(|part| TRANSPARENT.contains(&part));
    if !set.tensors.keys().any(wrapped) {
        return;
    }
    let distinct: BTreeSet<String> = set.tensors.keys().map(|name| bare(name)).collect();
    if distinct.len() == set.tensors.len() {
        let old = std::mem::take(&mut set.tensors);
        set.tensors = old.into_iter().map(|(name, tensor)| (bare(&name), tensor)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::entry::Place;
    use crate::pickle::Element;

    /// Sets of networks whose names begin with these, and further names.
    fn sets(of: &[(&str, &[&str], &[&str])]) -> Vec<Set> {
        let entry = || Entry { shape: vec![1], place: Place::File { element: Element::F32, start: 0 } };
        let set = |(path, prefixes, more): &(&str, &[&str], &[&str])| {
            let names = prefixes.iter().flat_map(|p| [STEM, FIRST].map(|n| format!("{p}{n}")));
            let names = names.chain(more.iter().map(|m| (*m).to_owned()));
            Set { path: (*path).to_owned(), ..set_of(names.map(|n| (n, entry()))) }
        };
        of.iter().map(set).collect()
    }

    fn chosen(
        of: &[(&str, &[&str], &[&str])],
        key: Option<&str>,
    ) -> Result<(String, Option<String>, usize), String> {
        let sets = sets(of);
        choose(&sets, &[], key).map(|c| {
            let path = &sets[c.set].path;
            (format!("{path}:{}", c.prefix), c.key, c.others.len())
        })
    }

    #[test]
    fn weights_are_taken_before_their_averages_and_a_key_chooses() {
        let ema = Some("state_dict_ema".to_owned());
        let both: &[(&str, &[&str], &[&str])] =
            &[("state_dict", &["module."], &[]), ("state_dict_ema", &[""], &[])];
        assert_eq!(chosen(both, None).unwrap(), ("state_dict:module.".into(), Some("state_dict".into()), 1));
        assert_eq!(chosen(both, Some("state_dict_ema")).unwrap(), ("state_dict_ema:".into(), ema.clone(), 1));
        assert_eq!(chosen(both, Some("state_dict")).unwrap().0, "state_dict:module.");
        assert_eq!(chosen(&both[1..], None).unwrap(), ("state_dict_ema:".into(), ema, 0));
        assert_eq!(chosen(&both[..1], None).unwrap(), ("state_dict:module.".into(), None, 0));
        let e = chosen(both, Some("nowhere")).unwrap_err();
        assert!(e.contains("`nowhere`") && e.contains("state_dict, state_dict_ema"), "{e}");
        // In one dictionary.
        let one: &[(&str, &[&str], &[&str])] =
            &[("", &["model.", "ema_model.module."], &["ema_model.n_averaged"])];
        assert_eq!(chosen(one, None).unwrap(), (":model.".into(), Some("model".into()), 1));
        assert_eq!(chosen(one, Some("ema_model")).unwrap().0, ":ema_model.module.");
        assert_eq!(chosen(one, Some("module")).unwrap().0, ":ema_model.module.");
        // By its counter.
        let swa: &[(&str, &[&str], &[&str])] = &[("", &["module."], &["n_averaged"])];
        assert_eq!(chosen(swa, None).unwrap(), (":module.".into(), Some("module".into()), 0));
        let swa: &[(&str, &[&str], &[&str])] =
            &[("net", &[""], &[]), ("best", &["module."], &["n_averaged"])];
        assert_eq!(chosen(swa, None).unwrap().0, "net:");
        assert_eq!(chosen(swa, Some("best")).unwrap().0, "best:module.");
    }

    #[test]
    fn networks_that_are_as_likely_are_not_guessed() {
        for of in [
            &[("student", &[""][..], &[][..]), ("teacher", &[""], &[])][..],
            &[("state_dict", &["module.encoder_q.", "module.encoder_k."], &[])],
        ] {
            let e = chosen(of, None).unwrap_err();
            assert!(e.contains("several networks") && e.contains("--key"), "{e}");
        }
        let of: &[(&str, &[&str], &[&str])] =
            &[("state_dict", &["module.encoder_q.", "module.encoder_k."], &[])];
        assert_eq!(chosen(of, Some("encoder_q")).unwrap().0, "state_dict:module.encoder_q.");
        // What is no dictionary of tensors is named.
        let [path, what, advice] = ["ema.shadow_params", "a list", "; no"].map(str::to_owned);
        let shadow = Elsewhere { path, what, advice, weights: true };
        let e = choose(&sets(&[("model", &[""], &[])]), &[shadow], Some("ema")).unwrap_err();
        assert_eq!(e, "`ema.shadow_params` is a list; no");
        // What only ends like a stem is none.
        assert_eq!(chosen(&[("", &["", "x"], &[])], None).unwrap(), (":".into(), None, 0));
    }

    #[test]
    fn modules_around_others_are_taken_out_of_names() {
        let names = |names: &[&str]| {
            let mut set = sets(&[("", &[], names)]).swap_remove(0);
            unwrap_names(&mut set);
            set.tensors.into_keys().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            names(&["_orig_mod.a", "module._orig_mod.b._checkpoint_wrapped_module.c"]),
            "a module.b.c"
        );
        // None of two is lost.
        assert_eq!(names(&["_orig_mod.a", "a"]), "_orig_mod.a a");
    }
}
