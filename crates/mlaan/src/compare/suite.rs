//! Suites: a table of experiments as a small TOML file, methods by networks, as the paper's tables are.
//!
//! ```toml
//! title = "Test error on CIFAR-10"
//! data = "cifar10"                       # what the images are; the user says where they lie
//! set = ["train.epochs=400"]             # keys of every cell, as `--set` takes them
//! columns = [
//!     { network = "resnet32", modules = 16 },
//! ]
//! rows = [
//!     { name = "bp", title = "BP", recipe = "bp-resnet32", paper = [6.37] },
//!     { name = "dgl", title = "DGL", recipe = "dgl-resnet32-16", paper = [14.08] },
//! ]
//! ```

use super::builtin;
use super::sets::KnownSet;
use crate::numbers::{TOML_WHOLE, too_large};
use crate::recipe::Recipe;
use crate::text::nearest;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a table's numbers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Test error of trained networks, percent.
    #[default]
    Error,
    /// Memory of a training step, GB: nothing is trained.
    Memory,
}

/// A table of experiments before its cells are made.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// What `mlaan compare` calls it: the built-in name, or the file's.
    #[serde(skip)]
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where the table comes from, and under which conditions it was measured.
    #[serde(default)]
    pub source: String,
    /// The data set of every column that names none ([`SETS`](super::SETS)); without one, each recipe's own.
    pub data: Option<String>,
    /// What the paper's numbers count.
    #[serde(default)]
    pub measure: Measure,
    /// Seeds, from 0, unless the user says otherwise.
    #[serde(default = "three")]
    pub seeds: u64,
    /// The row that others are compared with: `bp` when absent, else the first of one module.
    pub against: Option<String>,
    /// Keys of every cell, as `train.epochs=15`.
    #[serde(default)]
    pub set: Vec<String>,
    /// Networks, left to right.
    #[serde(default = "one_column")]
    pub columns: Vec<Column>,
    /// Methods, from above.
    pub rows: Vec<Row>,
    /// Where relative paths of recipes begin.
    #[serde(skip)]
    folder: PathBuf,
}

/// A network and how it is cut.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Column {
    /// `model.backbone`; without one, each recipe's own.
    pub network: Option<String>,
    /// `local.modules` of the recipes that have several; without, each recipe's own.
    pub modules: Option<usize>,
    /// The data set, where it is not the suite's.
    pub data: Option<String>,
    /// For people; made from the rest when absent.
    pub title: Option<String>,
    /// Keys of its cells, stronger than the suite's.
    pub set: Vec<String>,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Begins the names of its cells.
    pub name: String,
    /// For people; the name when absent.
    pub title: Option<String>,
    /// A built-in recipe or a TOML file, whose network and number of modules become the column's. Where it holds
    /// `{network}`, this becomes `resnet32-16` in that column, and the recipe's own network, cuts and sources stay.
    pub recipe: String,
    /// The paper's number for every column; `nan` where it has none, empty where it has none at all.
    #[serde(default)]
    pub paper: Vec<f64>,
    /// Keys of its cells, stronger than the columns'.
    #[serde(default)]
    pub set: Vec<String>,
}

/// Cells of a table; the paper's tables have less than a hundred.
const MOST_CELLS: usize = 10_000;

/// Seeds of a cell.
const MOST_SEEDS: u64 = 10_000;

/// What stands for a column's network in the name of a row's recipe.
const NETWORK: &str = "{network}";

fn three() -> u64 {
    3
}

fn one_column() -> Vec<Column> {
    vec![Column::default()]
}

impl Suite {
    /// Reads a suite from TOML; `origin` names the text in errors, `folder` is where relative paths begin.
    ///
    /// # Errors
    /// [`Error::NoRecipe`] with line and column for what is not TOML, an unknown key, or a missing one; for tables that
    /// contradict themselves.
    pub fn parse(text: &str, name: &str, origin: &str, folder: &Path) -> Result<Self> {
        if let Some((key, number)) = too_large(text) {
            return Err(Error::no_recipe(
                origin,
                format!("key `{key}`: found {number}, expected {TOML_WHOLE}"),
            ));
        }
        let mut suite: Suite = toml::from_str(text).map_err(|e| {
            let before = text.get(..e.span().map_or(0, |s| s.start)).unwrap_or_default();
            let (line, start) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |i| i + 1));
            let column = before.chars().count() - before.get(..start).unwrap_or_default().chars().count() + 1;
            Error::no_recipe(origin, format!("line {line}, column {column}: {}", e.message()))
        })?;
        (suite.name, suite.folder) = (name.to_owned(), folder.to_path_buf());
        suite.check().map_err(|message| Error::no_recipe(origin, message))?;
        Ok(suite)
    }

    /// Reads the built-in suite of this name, else the TOML file at this path if it holds rows; none where it is
    /// neither, as it may be a recipe.
    ///
    /// # Errors
    /// As [`Suite::parse`].
    pub fn find(name_or_path: &str) -> Result<Option<Self>> {
        if let Some((name, text)) = builtin::builtin().iter().find(|(n, _)| *n == name_or_path) {
            return Self::parse(text, name, &format!("built-in suite {name}"), Path::new("")).map(Some);
        }
        let path = Path::new(name_or_path);
        if !path.exists() || path.is_dir() {
            return Ok(None);
        }
        let text = files::text(path, files::RECIPE)?;
        // Values that it cannot hold are for the suite's own error.
        let is_suite = toml::de::DeTable::parse(&text).is_ok_and(|t| t.get_ref().contains_key("rows"));
        if !is_suite {
            return Ok(None);
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &stem(name_or_path), name_or_path, folder).map(Some)
    }

    /// Recipes side by side.
    pub fn of_recipes(recipes: &[String]) -> Self {
        let rows = recipes.iter().map(|r| Row::of_recipe(r)).collect();
        Suite {
            name: "compare".into(),
            title: recipes.iter().map(|r| stem(r)).collect::<Vec<_>>().join(", "),
            source: String::new(),
            data: None,
            measure: Measure::Error,
            seeds: three(),
            against: None,
            set: Vec::new(),
            columns: one_column(),
            rows,
            folder: PathBuf::new(),
        }
    }

    /// One more method in every column: a variant of one's own beside a built-in suite's.
    pub fn add(&mut self, recipe: &str) {
        self.rows.push(Row::of_recipe(recipe));
    }

    /// A row's recipe in a column, before keys change it.
    pub(super) fn recipe(&self, row: &Row, column: &Column) -> Result<Recipe> {
        let name = row.recipe.replace(NETWORK, &column.suffix(column.modules));
        let beside = self.folder.join(&name);
        if self.folder.as_os_str().is_empty() || !beside.is_file() {
            return Recipe::load(&name).map_err(|e| with_suites(e, &name));
        }
        Recipe::read(&beside)
    }

    /// The data set of a column.
    pub(super) fn set_of(&self, column: &Column) -> Result<Option<&'static KnownSet>> {
        column.data.as_deref().or(self.data.as_deref()).map(KnownSet::find).transpose()
    }

    /// The data sets of its columns, each once.
    ///
    /// # Errors
    /// A set of no known name.
    pub fn sets(&self) -> Result<Vec<&'static KnownSet>> {
        let mut sets: Vec<&KnownSet> = Vec::new();
        for column in &self.columns {
            sets.extend(self.set_of(column)?.filter(|set| !sets.contains(set)));
        }
        Ok(sets)
    }

    /// Whether its columns are of different data sets.
    pub(super) fn has_several_sets(&self) -> Result<bool> {
        let sets = self.columns.iter().map(|c| self.set_of(c)).collect::<Result<Vec<_>>>()?;
        Ok(sets.windows(2).any(|w| matches!(w, [a, b] if a != b)))
    }

    pub(super) fn check(&self) -> std::result::Result<(), String> {
        if self.columns.is_empty() || self.rows.is_empty() {
            return Err("a suite needs at least one column and one row".into());
        }
        let (rows, columns) = (self.rows.len(), self.columns.len());
        if rows.saturating_mul(columns) > MOST_CELLS {
            return Err(format!("{rows} rows by {columns} columns; at most {MOST_CELLS} cells are run"));
        }
        if self.seeds == 0 || self.seeds > MOST_SEEDS {
            return Err(format!("`seeds` is {}; at least one is needed, at most {MOST_SEEDS}", self.seeds));
        }
        for (i, row) in self.rows.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if row.name.is_empty() || row.name.starts_with('.') || !row.name.chars().all(plain) {
                return Err(format!(
                    "row `{}`: the name becomes that of a folder; use letters, digits, -, _ and .",
                    row.name
                ));
            }
            if self.rows.iter().take(i).any(|r| r.name == row.name) {
                return Err(format!("there are two rows called `{}`; give each its own name", row.name));
            }
            if !row.paper.is_empty() && row.paper.len() != self.columns.len() {
                return Err(format!(
                    "row `{}`: `paper` has {} numbers for {} columns; write nan where the paper has none",
                    row.name,
                    row.paper.len(),
                    self.columns.len()
                ));
            }
        }
        Ok(())
    }
}

impl Row {
    /// Whether its recipes are written for their columns' networks.
    pub(super) fn has_networks(&self) -> bool {
        self.recipe.contains(NETWORK)
    }

    fn of_recipe(recipe: &str) -> Self {
        Row { name: stem(recipe), title: None, recipe: recipe.into(), paper: Vec::new(), set: Vec::new() }
    }
}

impl Column {
    /// What its cells' names end with, without the data set: `resnet32-16`, or `resnet32` of one module.
    pub(super) fn suffix(&self, modules: Option<usize>) -> String {
        let network = self.network.clone().unwrap_or_default();
        match modules.filter(|n| *n > 1) {
            Some(n) if network.is_empty() => n.to_string(),
            Some(n) => format!("{network}-{n}"),
            None => network,
        }
    }

    /// For people, with so many modules.
    pub(super) fn title(&self, modules: Option<usize>, set: Option<&KnownSet>) -> String {
        if let Some(title) = &self.title {
            return title.clone();
        }
        let network = self.network.as_ref().map(|n| n.replace("resnet", "ResNet-"));
        let modules = modules.filter(|n| *n > 1).map(|n| format!("{n} modules"));
        let parts = [network, modules, set.map(|s| s.title.to_owned())];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Adds the suites that are spelt much like what is no recipe.
fn with_suites(e: Error, name: &str) -> Error {
    let near = nearest(name, builtin::builtin().iter().map(|(n, _)| *n), 2);
    match e {
        Error::NoRecipe { place, message } if place == name && !near.is_empty() => {
            Error::no_recipe(place, format!("{message}; did you mean the suite `{}`?", near.join("` or `")))
        }
        other => other,
    }
}

/// A recipe's name without folder and ending.
fn stem(name: &str) -> String {
    Path::new(name).file_stem().map_or_else(|| name.to_owned(), |s| s.to_string_lossy().into_owned())
}
