//! Which of a file's networks is taken: training scripts keep averages of the weights beside them, or several networks.

use super::names::{FIRST, STEM};
use super::state_dict::{Entry, Tensors};

/// Where training scripts put a state dict within what they save, the likeliest first.
pub(super) const KEYS: [&str; 6] = ["state_dict", "model_state_dict", "model", "net", "network", "weights"];
/// What wrappers and trainers put in front of all names.
const WRAPPERS: [&str; 6] = ["module", "model", "net", "network", "backbone", "_orig_mod"];
/// Words of names that averages of weights have.
const AVERAGES: [&str; 8] = ["ema", "swa", "average", "averaged", "averages", "avg", "shadow", "polyak"];
/// What `torch.optim.swa_utils.AveragedModel` counts.
const AVERAGED: &str = "n_averaged";
/// Words of names that losses have: their weights are no part of a network.
const LOSSES: [&str; 4] = ["criterion", "criteria", "loss", "losses"];
/// Counters that are no part of a network.
const COUNTERS: [&str; 4] = [AVERAGED, "num_batches_tracked", "num_updates", "decay"];

/// A dictionary of tensors in a file.
pub(super) struct Set {
    /// The keys that lead to it, joined by dots.
    pub path: String,
    pub tensors: Tensors,
    /// What is wrong with one of its tensors.
    pub fault: Option<String>,
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
pub(super) fn choose(sets: &[Set], key: Option<&str>) -> Result<Choice, String> {
    let all: Vec<Network> = sets.iter().enumerate().flat_map(|(i, set)| networks(i, set)).collect();
    let names = |some: &[&Network]| some.iter().map(|n| called(n)).collect::<Vec<_>>().join(", ");
    let everything: Vec<&Network> = all.iter().collect();
    let meant = match key {
        None => everything.clone(),
        Some(key) => named(&all, key),
    };
    let Some(best) = meant.iter().min_by_key(|n| n.rank) else {
        return match key {
            Some(key) => without_network(sets, key, &names(&everything)),
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
fn without_network(sets: &[Set], key: &str, networks: &str) -> Result<Choice, String> {
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

/// The words of a part of a name: `modelEma` and `model_ema` are `model` and `ema`.
fn words(part: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in part.chars() {
        if !c.is_ascii_alphanumeric() || (lower && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        lower = c.is_ascii_lowercase();
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

fn has_word(part: &str, of: &[&str]) -> bool {
    words(part).iter().any(|word| of.contains(&word.as_str()))
}

fn is_average(part: &str) -> bool {
    has_word(part, &AVERAGES)
}

/// Whether a tensor of this name, which is not the network's, is known to be none of its: a counter, a loss's weight, a part
/// of an average.
pub(super) fn belongs_elsewhere(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let modules = name.split('.').collect::<Vec<_>>();
    let is_loss = modules.iter().any(|part| has_word(part, &LOSSES));
    COUNTERS.contains(&last) || is_loss || modules.first().is_some_and(|part| is_average(part))
}

/// A set of tensors without names.
pub(super) fn set_of(tensors: impl IntoIterator<Item = (String, Entry)>) -> Set {
    Set { path: String::new(), tensors: tensors.into_iter().collect(), fault: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::state_dict::Place;
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
        choose(&sets, key).map(|c| {
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
        // What only ends like a stem is none.
        assert_eq!(chosen(&[("", &["", "x"], &[])], None).unwrap(), (":".into(), None, 0));
    }

    #[test]
    fn names_of_other_things_are_told_by_words() {
        for name in [
            "n_averaged",
            "swa.n_averaged",
            "criterion.weight",
            "module.loss_fn.pos_weight",
            "model_ema.decay",
            "aux_loss.w",
            "emaModel.x",
        ] {
            assert!(belongs_elsewhere(name), "{name}");
        }
        for name in
            ["head.extra", "schema.weight", "glossy.weight", "layer1.0.ema_gate.weight", "classifier.weight"]
        {
            assert!(!belongs_elsewhere(name), "{name}");
        }
    }
}
