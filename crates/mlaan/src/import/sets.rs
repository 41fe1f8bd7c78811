//! The state dicts in what was pickled: dictionaries and lists are looked into, and what holds no named tensors is told.

use super::choice::{Elsewhere, Set, set_of};
use super::entry::{Entry, Place};
use crate::pickle::{Item, Value, shown};
use std::collections::{HashSet, VecDeque};

/// Largest pickle read; that of ResNet-152 has 200 KB.
pub(super) const MAX_PICKLE: u64 = 1 << 26;
/// Most tensors: ResNet-152 has 932, the deepest that is known here 60,000.
const MAX_TENSORS: usize = 1 << 16;
/// How deep a state dict may lie in what was saved.
const DEPTH: usize = 8;
/// Most dictionaries and lists that are looked into.
const MAX_OPEN: usize = 1 << 10;
/// Longest list of other things than tensors that is looked into.
const MOST_LISTED: usize = 64;
/// Most objects that are looked at: any of them may be referred to from everywhere.
const MAX_OBJECTS: usize = 256;
/// Longest path of keys, bytes.
const LONGEST_PATH: usize = 1 << 12;
/// Keys of a file that an error lists.
const LISTED: usize = 12;
/// How to save what is read.
const ADVICE: &str = "save the state dict: `torch.save(model.state_dict(), NEW)`";

/// What a pickle holds.
#[derive(Default)]
pub(super) struct Found {
    /// The dictionaries that hold tensors, the outermost first.
    pub sets: Vec<Set>,
    /// Other things in which weights may be looked for, the first few.
    pub elsewhere: Vec<Elsewhere>,
    /// Objects that were looked at.
    objects: usize,
}

impl Found {
    fn tell(&mut self, path: String, what: &str, advice: String, weights: bool) {
        if self.elsewhere.len() < LISTED {
            self.elsewhere.push(Elsewhere { path, what: what.to_owned(), advice, weights });
        }
    }
}

/// What is still to be looked into.
struct Open<'p, 'a> {
    at: Item<'p, 'a>,
    path: String,
    depth: usize,
}

/// Looks through what was pickled.
pub(super) fn find(root: Item<'_, '_>) -> Found {
    let mut open = VecDeque::from([Open { at: root, path: String::new(), depth: 0 }]);
    // A pickle may refer to one value from everywhere.
    let (mut seen, mut found) = (HashSet::new(), Found::default());
    while let Some(next) = open.pop_front() {
        if seen.len() >= MAX_OPEN || !seen.insert(next.at.id()) {
            continue;
        }
        let inside = match next.at.entries() {
            Some(entries) if is_optimiser(&entries) => {
                found.tell(
                    next.path,
                    "an optimizer's state",
                    format!(", not a network's weights; {ADVICE}"),
                    false,
                );
                continue;
            }
            Some(entries) => dictionary(&entries, &next.path, &mut found),
            None => list(&next, &mut found),
        };
        for (key, at) in inside {
            let path = if next.path.is_empty() { key } else { format!("{}.{key}", next.path) };
            if next.depth < DEPTH && open.len() < MAX_OPEN && path.len() <= LONGEST_PATH {
                open.push_back(Open { at, path, depth: next.depth + 1 });
            }
        }
    }
    found
}

type Entries<'p, 'a> = Vec<(Item<'p, 'a>, Item<'p, 'a>)>;

/// The tensors of a dictionary go into a set; what may hold others comes back, with its key.
fn dictionary<'p, 'a>(
    entries: &Entries<'p, 'a>,
    path: &str,
    found: &mut Found,
) -> Vec<(String, Item<'p, 'a>)> {
    let (mut set, mut inside) = (Set { path: path.to_owned(), ..set_of([]) }, Vec::new());
    for (key, value) in entries {
        let name = match key.value() {
            Value::Integer(number) => number.to_string(),
            _ => match key.text() {
                Some(text) => text.into_owned(),
                None => continue,
            },
        };
        match value.tensor() {
            // Optimisers number their tensors.
            Ok(_) if matches!(key.value(), Value::Integer(_)) => {}
            Ok(_) if set.tensors.len() >= MAX_TENSORS => {
                set.fault = Some(format!("more than {MAX_TENSORS} tensors, which no ResNet has"));
            }
            Ok(tensor) => {
                let entry = Entry { shape: tensor.shape.clone(), place: Place::Archive(tensor) };
                set.tensors.insert(name, entry);
            }
            Err(e) if value.callee().is_some_and(|(module, _)| module == "torch._utils") => {
                set.fault = Some(format!("tensor `{}`: {e}", shown(&name)));
            }
            Err(_) if value.is_dictionary() || is_list(*value) => {
                if inside.len() < MAX_OPEN {
                    inside.push((name, *value));
                }
            }
            Err(_) => {
                found.objects += usize::from(value.callee().is_some());
                if found.objects <= MAX_OBJECTS && is_network(*value) {
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    let (what, advice) = whole(*value, &path);
                    found.tell(path, &what, advice, true);
                }
            }
        }
    }
    if !set.tensors.is_empty() || set.fault.is_some() {
        found.sets.push(set);
    }
    inside
}

/// A list's dictionaries and lists come back, with their places; one of tensors is told.
fn list<'p, 'a>(open: &Open<'p, 'a>, found: &mut Found) -> Vec<(String, Item<'p, 'a>)> {
    let Some(elements) = open.at.sequence() else { return Vec::new() };
    let count = elements.len();
    let first: Vec<Item<'p, 'a>> = elements.take(MOST_LISTED).collect();
    if first.first().is_some_and(|item| item.tensor().is_ok()) {
        let what = format!("a list of {count} tensors without names");
        found.tell(open.path.clone(), &what, nameless(&open.path), true);
        return Vec::new();
    }
    if count > MOST_LISTED {
        return Vec::new();
    }
    let numbered = first.into_iter().enumerate().map(|(i, item)| (i.to_string(), item));
    numbered.filter(|(_, item)| item.is_dictionary() || is_list(*item)).collect()
}

fn is_list(item: Item<'_, '_>) -> bool {
    matches!(item.value(), Value::List(_) | Value::Tuple(_))
}

/// As `torch.optim`'s are.
fn is_optimiser(entries: &Entries<'_, '_>) -> bool {
    let has = |name: &str| entries.iter().any(|(key, _)| key.text().is_some_and(|key| key == name));
    has("param_groups") && has("state")
}

/// Whether an object is a pickled module, not a value of a library.
fn is_network(item: Item<'_, '_>) -> bool {
    let modules = |at: Item<'_, '_>| at.state().is_some_and(|state| state.get("_modules").is_some());
    item.callee().is_some_and(|(module, _)| module != "collections") && modules(item)
}

/// What to do with a list of tensors.
fn nameless(path: &str) -> String {
    match path.rsplit('.').next().unwrap_or_default() {
        "shadow_params" | "collected_params" => ", as torch_ema's ExponentialMovingAverage keeps an average: only the network's \
             Python code knows which is which. Load both there (`ema.load_state_dict(…)`), and save the average by name: \
             `ema.copy_to(model.parameters())`, then `torch.save(model.state_dict(), NEW)`"
            .into(),
        _ => format!(", so nothing says which is which; {ADVICE}"),
    }
}

/// What is said of a pickled network, and what to do with it.
fn whole(network: Item<'_, '_>, path: &str) -> (String, String) {
    let keys: String =
        path.split('.').filter(|key| !key.is_empty()).map(|key| format!("[{key:?}]")).collect();
    let advice = format!(
        ", which needs its Python code; save its state dict where that code is: \
         `torch.save(torch.load(FILE, map_location=\"cpu\", weights_only=False){keys}.state_dict(), NEW)`"
    );
    (format!("a whole network ({})", network.describe()), advice)
}

/// What a file without tensors holds instead, and what to do.
pub(super) fn nothing(root: Item<'_, '_>, found: &Found) -> String {
    let object = |at: Item<'_, '_>| at.callee().is_some_and(|(module, _)| module != "collections");
    if let Ok(tensor) = root.tensor() {
        return format!("one tensor of shape {:?}, not a state dict; {ADVICE}", tensor.shape);
    }
    if is_network(root) || (object(root) && root.state().is_some() && root.array().is_err()) {
        let (what, advice) = whole(root, "");
        return format!("{what}{advice}");
    }
    // Weights are likelier meant than an optimiser's state.
    let other = found.elsewhere.iter().find(|e| e.weights).or(found.elsewhere.first());
    if let Some(other) = other {
        let at = if other.path.is_empty() {
            String::new()
        } else {
            format!("no state dict, but `{}`: ", other.path)
        };
        return format!("{at}{}{}", other.what, other.advice);
    }
    let entries = root.entries().unwrap_or_default();
    if let Some((path, name)) = array(root, "", DEPTH) {
        let at = if path.is_empty() { String::new() } else { format!(" under `{path}`") };
        return format!(
            "arrays of NumPy{at} (`{}`), not tensors; save them as tensors: `torch.save({{k: torch.from_numpy(v) for k, v in \
             weights.items()}}, NEW)`",
            shown(&name)
        );
    }
    let told = |(key, value): &(Item<'_, '_>, Item<'_, '_>)| {
        Some(format!("{} ({})", shown(&key.text()?), value.describe()))
    };
    let keys: Vec<String> = entries.iter().take(LISTED).filter_map(told).collect();
    let more = if entries.len() > LISTED { ", …" } else { "" };
    let keys =
        if keys.is_empty() { String::new() } else { format!(" with the keys {}{more}", keys.join(", ")) };
    format!("no state dict, but {}{keys}; {ADVICE}", root.describe())
}

/// The first array of NumPy with sizes that the first few entries lead to: the keys to it, and its name.
fn array(at: Item<'_, '_>, path: &str, depth: usize) -> Option<(String, String)> {
    let entries = at.entries().filter(|_| depth > 0)?;
    for (key, value) in entries.into_iter().take(LISTED) {
        let Some(name) = key.text() else { continue };
        if value.array().is_ok_and(|array| !array.shape.is_empty()) {
            return Some((path.to_owned(), name.into_owned()));
        }
        let below = if path.is_empty() { name.into_owned() } else { format!("{path}.{name}") };
        // One branch only: entries may lead back.
        if value.is_dictionary() {
            return array(value, &below, depth - 1);
        }
    }
    None
}
