//! Recipes: experiments as TOML.
//!
//! A recipe says everything that decides a run's result: the backbone, the local learning method, the
//! optimiser, the data and the seed. It is read from a file or from the built-in set, changed key by
//! key ([`Recipe::set`]), and written into the run's folder with every key spelt out.

mod builtin;
mod check;
mod data;
mod model;
mod rules;
mod schema;
mod set;
mod spelling;
mod train;

pub use builtin::builtin;
pub use data::{Augment, Data, MeanStd, Normalise, Statistics};
pub use model::{Backbone, Family, Model};
pub use schema::{KEYS, Key};
pub use train::{Precision, Schedule, Train};

use crate::local::Method;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Table;
use toml::de::{DeTable, DeValue};

/// One experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What this experiment is, for lists and tables.
    pub description: String,
    /// Seed of everything random, below 2^63.
    pub seed: u64,
    /// The backbone.
    pub model: Model,
    /// The local learning method.
    pub local: Method,
    /// The optimiser and its schedule.
    pub train: Train,
    /// The images.
    pub data: Data,
}

impl Recipe {
    /// Reads a recipe from TOML; `origin` names the text in errors (a file, or a built-in recipe).
    ///
    /// # Errors
    /// [`Error::Data`] with line and column for what is not TOML; [`Error::Recipe`] with the full key
    /// for an unknown key, a wrong type, an impossible value, or values that contradict each other.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let table: Table = toml::from_str(text).map_err(|e| syntax_error(text, origin, &e))?;
        check::check_table("", &table)
            .and_then(|()| Self::from_table(table))
            .and_then(|recipe| recipe.validate().map(|()| recipe))
            .map_err(|e| locate(e, text, origin))
    }

    /// Reads the built-in recipe of this name, else the TOML file at this path.
    ///
    /// # Errors
    /// [`Error::Data`] if there is neither, with the nearest built-in names; otherwise as [`Recipe::parse`].
    pub fn load(name_or_path: &str) -> Result<Self> {
        if let Some((name, text)) = builtin().iter().find(|(n, _)| *n == name_or_path) {
            return Self::parse(text, &format!("built-in recipe {name}"));
        }
        let path = Path::new(name_or_path);
        if path.is_dir() {
            let message = "this is a folder, not a recipe: name images with `--data`, a run with `--out`";
            return Err(Error::data(name_or_path, message));
        }
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, name_or_path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(unknown_recipe(name_or_path)),
            Err(e) => Err(Error::io(path)(e)),
        }
    }

    /// The recipe as TOML: every key with its value, also those left at their default. Reading it again
    /// gives the same recipe. Optional keys that are absent (as `train.lr_auxiliary`, which then follows
    /// `train.lr`) stay absent, apart from `model.width`, which is written out.
    ///
    /// # Errors
    /// [`Error::Recipe`] if a value cannot be written, as a seed of 2^63 or more.
    pub fn to_toml(&self) -> Result<String> {
        self.validate()?;
        let mut full = self.clone();
        full.model.width = Some(self.model.width());
        toml::to_string(&full).map_err(|e| Error::recipe("recipe", e.to_string()))
    }

    pub(super) fn from_table(table: Table) -> Result<Self> {
        // The checks come first, so this only fails if they have a gap.
        table.try_into().map_err(|e: toml::de::Error| Error::recipe("recipe", e.message()))
    }

    fn to_table(&self) -> Result<Table> {
        Table::try_from(self).map_err(|e| Error::recipe("recipe", e.to_string()))
    }
}

fn unknown_recipe(name: &str) -> Error {
    let names = || builtin().iter().map(|(n, _)| *n);
    let near = spelling::nearest(name, names(), 3);
    let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
    Error::data(
        name,
        format!(
            "neither a built-in recipe nor a file.{hint} Built-in recipes: {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    )
}

fn syntax_error(text: &str, origin: &str, e: &toml::de::Error) -> Error {
    let at = e.span().map_or(0, |s| s.start);
    let (line, column) = position(text, at);
    Error::data(format!("{origin}, line {line}, column {column}"), format!("not valid TOML: {}", e.message()))
}

/// Line and column (1-based, in characters) of byte `at`.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    let column = before.get(start..).map_or(0, |s| s.chars().count()) + 1;
    (line, column)
}

/// Adds the file, and the line where one can be found, to a recipe error.
fn locate(e: Error, text: &str, origin: &str) -> Error {
    match e {
        Error::Recipe { key, message } => {
            let place = match line_of(text, &key) {
                Some(line) => format!("{origin}, line {line}"),
                None => origin.to_owned(),
            };
            let message = format!("{message} ({place})");
            Error::Recipe { key, message }
        }
        other => other,
    }
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut names = key.split('.').peekable();
    while let Some(name) = names.next() {
        let (found, value) = table.iter().find(|(k, _)| k.get_ref() == name)?;
        if names.peek().is_none() {
            return Some(position(text, found.span().start).0);
        }
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return None,
        }
    }
    None
}
