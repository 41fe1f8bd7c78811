//! Changes one key at a time: `--set key=value`, and the settings that have a flag of their own.

use super::Recipe;
use super::check::{check_table, check_value, found, not_a_table};
use super::merge::merge;
use super::place::oversized;
use super::schema::{self, EXTENDS, ValueType, join, removes};
use super::spelling::unknown_key;
use super::{coupled, optimizer_keys, renamed, schedule_keys, words};
use crate::numbers::too_large;
use crate::{Error, Result};
use toml::{Table, Value};

/// The key that lists of sources make meaningless.
const DEPTH: &str = "local.leap.depth";

impl Recipe {
    /// Applies `key=value`, as `local.cascade.span=3`.
    ///
    /// The value is TOML; a bare word is a string. A key inside an absent table creates the table with
    /// its defaults. `none` or `off` removes an optional key or table, `on` creates a table.
    ///
    /// Only the key's own range is checked, so that keys that belong together can be set one after
    /// the other; call [`Recipe::validate`] at the end, or use [`Recipe::set_all`]. A learning rate is then as it is: one that is
    /// set drops `train.lr_batch`, unless [`Recipe::set_all`] sets both.
    ///
    /// # Errors
    /// [`Error::Recipe`] for an unknown key, a wrong type or a value out of range. The recipe is then unchanged.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let mut changed = self.clone();
        changed.lay([assignment])?;
        *self = changed;
        Ok(())
    }

    /// Sets one key.
    fn assign(&mut self, assignment: &str) -> Result<()> {
        let (path, text) = split(assignment)?;
        let mut table = self.to_table()?;
        match (schema::find(path), schema::table(path)) {
            (Some(key), _) if !holds_string(key.kind) && beyond(text).is_some() => {
                return Err(oversized(path, &beyond(text).unwrap_or_default()));
            }
            (Some(key), _) => match read(key.kind, text) {
                _ if key.optional && removes(text) => remove(&mut table, path),
                value => {
                    check_value(path, key.kind, &value)?;
                    insert(&mut table, path, value)?;
                }
            },
            (None, Some(optional)) => set_table(&mut table, path, optional, text)?,
            (None, None) if path == EXTENDS => {
                let message =
                    "is read with a recipe's file; to join recipes here, write their names with + between";
                return Err(Error::recipe(path, message));
            }
            (None, None) => return Err(unknown(path)),
        }
        let before = words::of(self);
        *self = Self::from_table(table)?;
        words::follow(self, &before);
        Ok(())
    }

    /// Sets keys that stand beside each other, over those that the recipe has; the paths that were set.
    fn lay<S: AsRef<str>>(&mut self, assignments: impl IntoIterator<Item = S>) -> Result<Vec<String>> {
        let (before, mut paths) = (self.train.clone(), Vec::new());
        for assignment in assignments {
            let assignment = assignment.as_ref();
            self.assign(assignment)?;
            let (path, text) = split(assignment)?;
            match read(ValueType::Flag, text) {
                Value::Table(inner) => {
                    paths.extend(inner.keys().map(|name| renamed::today(&join(path, name)).to_owned()))
                }
                _ => paths.push(path.to_owned()),
            }
        }
        let says = |key: &str| paths.iter().any(|p| p.strip_prefix("train.") == Some(key));
        coupled::settle(&before, &mut self.train, &says)?;
        let has = |path: &str| paths.iter().any(|p| p == path);
        if has("model.init") && !has("model.init_key") {
            // The key was one of another file.
            self.model.init_key = None;
        }
        Ok(paths)
    }

    /// Applies several assignments that stand beside each other, then checks the whole.
    ///
    /// # Errors
    /// As [`Recipe::set`] and [`Recipe::validate`]; a learning rate beside others that are meant for a batch; another optimiser
    /// beside rates of the one before. The recipe is then unchanged.
    pub fn set_all<S: AsRef<str>>(&mut self, assignments: impl IntoIterator<Item = S>) -> Result<()> {
        self.set_layers([assignments])
    }

    /// As [`Recipe::set_all`] for one list after the other: each has its own learning rates.
    ///
    /// # Errors
    /// As [`Recipe::set_all`].
    pub(crate) fn set_layers<S: AsRef<str>, L: IntoIterator<Item = S>>(
        &mut self,
        layers: impl IntoIterator<Item = L>,
    ) -> Result<()> {
        let (mut changed, mut deep) = (self.clone(), false);
        for layer in layers {
            let before = changed.train.clone();
            let paths = changed.lay(layer)?;
            let says = |key: &str| paths.iter().any(|p| p.strip_prefix("train.") == Some(key));
            optimizer_keys::check(&changed.train, &says)?;
            optimizer_keys::check_rates(&before, &changed.train, &says)?;
            schedule_keys::check(&changed.train, &says)?;
            deep |= paths.iter().any(|path| path == DEPTH);
        }
        if deep && changed.local.leap.as_ref().is_some_and(|leap| leap.sources.is_some()) {
            let message = "local.leap.sources says already which blocks have EMA copies; set that to none as well, or leave this out";
            return Err(Error::recipe(DEPTH, message));
        }
        changed.validate()?;
        *self = changed;
        Ok(())
    }

    /// Sets `train.epochs`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for 0.
    pub fn set_epochs(&mut self, epochs: usize) -> Result<()> {
        self.set(&format!("train.epochs={epochs}"))
    }

    /// Sets `train.batch`, images per step.
    ///
    /// # Errors
    /// [`Error::Recipe`] for 0.
    pub fn set_batch(&mut self, images: usize) -> Result<()> {
        self.set(&format!("train.batch={images}"))
    }

    /// Sets `train.lr` as it is, for steps of any size: drops `train.lr_batch`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for a negative or infinite one; where other rates are meant for that batch.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.set(&format!("train.lr={lr:?}"))
    }

    /// Sets `seed`.
    ///
    /// # Errors
    /// [`Error::Recipe`] for 2^63 or more.
    pub fn set_seed(&mut self, seed: u64) -> Result<()> {
        self.set(&format!("seed={seed}"))
    }

    /// Sets `data.limit`, the number of training images; `None` uses all.
    ///
    /// # Errors
    /// [`Error::Recipe`] for 0.
    pub fn set_limit(&mut self, images: Option<usize>) -> Result<()> {
        match images {
            Some(n) => self.set(&format!("data.limit={n}")),
            None => self.set("data.limit=none"),
        }
    }

    /// Sets `data.source`: `builtin` or a path.
    pub fn set_source(&mut self, source: impl Into<String>) {
        self.data.source = source.into();
    }
}

/// Key and value of an assignment.
fn split(assignment: &str) -> Result<(&str, &str)> {
    let (path, text) = assignment
        .split_once('=')
        .ok_or_else(|| Error::recipe(assignment, "expected key=value, as local.cascade.span=3"))?;
    Ok((renamed::today(path.trim()), text.trim()))
}

/// The value of `text`: TOML if it is one value, else a string. Keys that hold strings take anything
/// that is not a quoted string as it stands, so that a folder may be called `2024`.
fn read(kind: ValueType, text: &str) -> Value {
    let bare = || Value::String(text.to_owned());
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    // A line break in the text could smuggle in a second key.
    let value = parsed.filter(|t| t.len() == 1).and_then(|mut t| t.remove("value")).unwrap_or_else(bare);
    if holds_string(kind) && !value.is_str() {
        return bare();
    }
    value
}

fn holds_string(kind: ValueType) -> bool {
    matches!(kind, ValueType::Text | ValueType::Word(_) | ValueType::Backbone | ValueType::Head)
}

/// A number in a value that TOML does not hold.
fn beyond(text: &str) -> Option<String> {
    too_large(&format!("value = {text}")).map(|(_, number)| number)
}

fn set_table(table: &mut Table, path: &str, optional: bool, text: &str) -> Result<()> {
    if optional && removes(text) {
        remove(table, path);
        return Ok(());
    }
    let mut value = match text {
        "on" => Value::Table(Table::new()),
        _ => read(ValueType::Flag, text),
    };
    let Value::Table(inner) = &mut value else {
        return Err(Error::recipe(path, not_a_table(path, optional, &value)));
    };
    renamed::rename(path, inner)?;
    check_table(path, inner)?;
    // Words that remove keys are for the merging.
    let mut clean = Table::new();
    merge(path, &mut clean, inner);
    insert(table, path, Value::Table(clean))
}

fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => {
            table.remove(path);
        }
        Some((first, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

fn insert(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let next = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    match next {
        Value::Table(inner) => insert(inner, rest, value),
        other => Err(Error::recipe(path, format!("`{first}` is {}, not a table", found(other)))),
    }
}

/// The error for a key that is in no table, hinting within the deepest table that exists.
fn unknown(path: &str) -> Error {
    let (mut table, mut name) = ("", path);
    for (i, _) in path.match_indices('.') {
        let parent = path.get(..i).unwrap_or_default();
        let rest = path.get(i + 1..).unwrap_or_default();
        if schema::find(parent).is_some() {
            return Error::recipe(
                path,
                format!("`{parent}` has no keys inside; set it as a whole, as {parent}=..."),
            );
        }
        if schema::table(parent).is_some() {
            (table, name) = (parent, rest);
        }
    }
    Error::recipe(path, unknown_key(table, name))
}
