//! Recipes: experiments as TOML.
//!
//! A recipe says everything that decides a run's result: the backbone, the local learning method, the
//! optimiser, the data and the seed. It is read from a file or from the built-in set, may extend others ([`Recipe::load`]),
//! is changed key by key ([`Recipe::set`]), and written into the run's folder with every key spelt out.

mod about;
mod builtin;
mod check;
mod class_weights;
mod coupled;
mod data;
mod describe;
mod differ;
mod experiment;
mod layer;
mod layers;
mod merge;
mod model;
mod optimizer;
mod optimizer_keys;
mod parts;
mod place;
mod renamed;
mod rules;
mod schedule;
mod schedule_keys;
mod schema;
mod set;
mod sources;
mod spelling;
mod train;
mod words;

pub use builtin::{Builtin, NETWORKS, Part, builtin, network, recipes};
pub use class_weights::{ClassRule, ClassWeights};
pub use data::{Augment, ColourJitter, Data, Load, MeanStd, Normalise, Orientation, Sampler, Statistics};
pub use describe::json_schema;
pub use differ::Difference;
pub use experiment::Recipe;
pub use model::{Backbone, Family, Model};
pub use optimizer::OptimizerKind;
pub use schedule::Schedule;
pub use schema::{EXTENDS_HELP, KEYS, Key};
pub use spelling::key_called;
pub use train::{Precision, Train};

use crate::{Error, Result, files};
use layers::Layers;
use std::path::Path;
use toml::Table;

impl Recipe {
    /// Reads a recipe from TOML; `origin` names the text in errors (a file, or a built-in recipe). What it extends is
    /// built in, or a file whose path counts from the working folder.
    ///
    /// # Errors
    /// [`Error::NoRecipe`] with line and column for what is not TOML; [`Error::Recipe`] with the full key
    /// for an unknown key, a wrong type, an impossible value, or values that contradict each other.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        Layers::of_text(text, origin)?.recipe()
    }

    /// Reads what is built in by this name ([`recipes`]), else the TOML file at this path, else what is joined by `+`: of
    /// `a+b`, the keys of `b` win, as in a recipe with `extends = ["a", "b"]`. Of a method, a network and a data set
    /// ([`Part`]) the order does not matter; without a data set it is the network's usual one.
    ///
    /// # Errors
    /// [`Error::NoRecipe`] if there is neither, with the nearest built-in names; otherwise as [`Recipe::parse`].
    pub fn load(name_or_path: &str) -> Result<Self> {
        Layers::of_name(name_or_path)?.recipe()
    }

    /// The recipe that a run, a checkpoint or a record keeps, every key spelt out. Runs from before a key was there did as
    /// its value says that is filled in: their pictures were not turned, and their warm-up took a fifth of the epochs at most.
    ///
    /// # Errors
    /// As [`Recipe::parse`].
    pub fn kept(text: &str, origin: &str) -> Result<Self> {
        let mut recipe = Layers::of_kept(text, origin)?.recipe()?;
        let table: Table = text.parse().map_err(|e: toml::de::Error| Error::recipe(origin, e.message()))?;
        if table.get("data").and_then(|data| data.get("orientation")).is_none() {
            recipe.data.orientation = Orientation::Ignore;
        }
        Ok(recipe)
    }

    /// [`Recipe::kept`] of a file.
    ///
    /// # Errors
    /// When it cannot be read; as [`Recipe::parse`].
    pub fn kept_in(path: &Path) -> Result<Self> {
        let text = files::text(path, files::RECIPE)?;
        Self::kept(&text, &path.display().to_string())
    }

    /// Reads the TOML file at `path`; what it extends counts from its folder. A path need not be UTF-8, as a name must.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; otherwise as [`Recipe::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        Layers::of_file(path)?.recipe()
    }

    /// What a name joins, in the order in which keys win: names of what is built in, and files. The data set that is
    /// usual for a network is among them where none is named.
    ///
    /// # Errors
    /// [`Error::NoRecipe`] if there is nothing of that name, or parts are missing.
    pub fn parts(name_or_path: &str) -> Result<Vec<(Part, String)>> {
        Layers::parts(name_or_path)
    }

    /// Joins what `names` name, later ones win, and changes keys as [`Recipe::set_all`] does.
    ///
    /// # Errors
    /// As [`Recipe::load`] and [`Recipe::set_all`].
    pub fn compose<S: AsRef<str>>(names: &[&str], assignments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut recipe = Self::load(&names.join("+"))?;
        recipe.set_all(assignments)?;
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_from_before_pictures_were_turned_go_on_without() {
        let text = Recipe::default().to_toml().unwrap();
        assert_eq!(Recipe::kept(&text, "run").unwrap().data.orientation, Orientation::Auto);
        let before = text.replace("orientation = \"auto\"\n", "");
        assert_ne!(before, text);
        assert_eq!(Recipe::kept(&before, "run").unwrap().data.orientation, Orientation::Ignore);
        // A recipe of one's own need not say it.
        assert_eq!(Recipe::parse(&before, "recipe").unwrap().data.orientation, Orientation::Auto);
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("recipe.toml");
        std::fs::write(&path, &before).unwrap();
        assert_eq!(Recipe::kept_in(&path).unwrap().data.orientation, Orientation::Ignore);
    }
}
