//! Whether two recipes are the same experiment.

use super::Recipe;
use crate::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A key whose values differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Dotted.
    pub key: String,
    /// Its value in the first recipe, as JSON; none where it is absent.
    pub was: Option<Value>,
    /// In the second.
    pub is: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let said = |v: &Option<Value>| v.as_ref().map_or_else(|| "none".into(), ToString::to_string);
        write!(f, "{} is {}, not {}", self.key, said(&self.was), said(&self.is))
    }
}

impl Recipe {
    /// The keys that make `other` another experiment: all that differ, but those that change no bit of a result (what
    /// is computed again, words for people) and the place of the images, which may have moved.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn differences(&self, other: &Recipe) -> Result<Vec<Difference>> {
        let (was, is) = (self.keys()?, other.keys()?);
        let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let free = |key: &str| {
            let memory = matches!(key, "local.recompute" | "local.segments" | "local.offload");
            memory || matches!(key, "description" | "data.source")
        };
        // What a recipe leaves to the run is the same as what the run chose.
        let left = |key: &str| {
            matches!(key, "data.load" | "data.orientation") && (auto(was.get(key)) || auto(is.get(key)))
        };
        // What a warm-up is shortened to decides, not why.
        let warm =
            |key: &str| key == "train.full_warmup" && self.train.warmup_used() == other.train.warmup_used();
        let same = |key: &str| free(key) || left(key) || warm(key);
        let differing = all.into_iter().filter(|k| !same(k) && was.get(*k) != is.get(*k));
        let found = differing.map(|key| Difference {
            key: key.clone(),
            was: was.get(key).cloned(),
            is: is.get(key).cloned(),
        });
        Ok(found.collect())
    }

    /// Every key with its value, as a run's folder keeps them.
    fn keys(&self) -> Result<BTreeMap<String, Value>> {
        let resolved = Recipe::parse(&self.to_toml()?, "recipe")?;
        let value = serde_json::to_value(resolved).map_err(|e| Error::recipe("recipe", e.to_string()))?;
        let mut keys = BTreeMap::new();
        flatten("", value, &mut keys);
        // The one that is not spelt out.
        // What says that there is none is the same as saying nothing; a set with a validation split of its own is told apart
        // by its numbers of images.
        let none = |key: &str| matches!(key, "train.patience" | "data.validation");
        keys.retain(|key, value| !(none(key) && value.as_f64() == Some(0.0)));
        keys.entry("train.optimizer".into()).or_insert_with(|| self.train.optimizer.word().into());
        Ok(keys)
    }
}

fn auto(value: Option<&Value>) -> bool {
    value.is_some_and(|v| v == "auto")
}

fn flatten(path: &str, value: Value, keys: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) => {
            for (name, value) in table {
                let inner = if path.is_empty() { name } else { format!("{path}.{name}") };
                flatten(&inner, value, keys);
            }
        }
        other => {
            keys.insert(path.to_owned(), other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_chose_is_no_difference_to_a_free_choice() {
        let with = |set: &[&str]| {
            let mut r = Recipe::load("quickstart").unwrap();
            r.set_all(set).unwrap();
            r
        };
        let between = |a: &str, b: &str| with(&[a]).differences(&with(&[b])).unwrap();
        assert_eq!(between("data.load=auto", "data.load=memory"), []);
        assert_eq!(between("data.load=stream", "data.load=auto"), []);
        assert_eq!(between("data.orientation=ignore", "data.orientation=auto"), []);
        assert_eq!(between("data.orientation=ignore", "data.orientation=exif").len(), 1);
        assert_eq!(between("data.validation=none", "data.validation=0"), []);
        assert_eq!(between("train.patience=0", "train.patience=none"), []);
        assert_eq!(between("data.validation=none", "data.validation=0.1").len(), 1);
        let found = between("data.load=stream", "data.load=memory");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "data.load is \"stream\", not \"memory\"");
        // Other keys that may be left open are not resolved in a run's folder: there auto is a value like others.
        assert_eq!(between("data.normalise=auto", "data.normalise=cifar10").len(), 1);
    }
}
