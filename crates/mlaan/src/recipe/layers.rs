//! Recipes that extend others: from a name or a text to one table.
//!
//! Every text is checked by itself, so that an error points to the file that wrote the key; then the tables are laid
//! over one another, bases first.

use super::builtin::Part;
use super::check::{check_table, found};
use super::layer::Layer;
use super::schema::EXTENDS;
use super::sources::{RecipeText, arranged, complete, file, find};
use super::{Recipe, builtin, parts, place, renamed, words};
use crate::{Error, Result};
use std::path::Path;
use toml::{Table, Value};

/// Recipes that extend one another in a row, at most.
const DEEPEST: usize = 16;
/// Recipes that one is made of, at most: lists in lists could name any number.
const MOST: usize = 128;

/// All texts of a recipe, bases first.
#[derive(Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// Who extends whom at the moment: identity and origin.
    chain: Vec<(String, String)>,
    /// Whether this is what a run keeps: there a warm-up without `full_warmup` was shortened where it is longer than a fifth.
    kept: bool,
}

impl Layers {
    /// Reads what `name` means: a built-in recipe, a file, or several of these joined by `+`.
    ///
    /// # Errors
    /// Nothing of that name, or what is wrong with the texts.
    pub(super) fn of_name(name: &str) -> Result<Self> {
        let mut layers = Layers::default();
        for source in complete(find(name, Some(Path::new("")))?, name)? {
            layers.add(source)?;
        }
        Ok(layers)
    }

    /// Reads the file at `path`, whatever it is called.
    ///
    /// # Errors
    /// As [`Layers::of_name`].
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let mut layers = Layers::default();
        layers.add(file(path)?)?;
        Ok(layers)
    }

    /// Reads a text; what it extends is built in, or counts from the working folder.
    ///
    /// # Errors
    /// What is wrong with it, or with what it extends.
    pub(super) fn of_text(text: &str, origin: &str) -> Result<Self> {
        let mut layers = Layers::default();
        layers.add(RecipeText::of_text(text, origin))?;
        Ok(layers)
    }

    /// As [`Layers::of_text`], of the text that a run, a checkpoint or a record keeps.
    ///
    /// # Errors
    /// As [`Layers::of_text`].
    pub(super) fn of_kept(text: &str, origin: &str) -> Result<Self> {
        Ok(Layers { kept: true, ..Self::of_text(text, origin)? })
    }

    /// The names and files that `name` joins, in the order in which their keys win.
    ///
    /// # Errors
    /// As [`Layers::of_name`].
    pub(super) fn parts(name: &str) -> Result<Vec<(Part, String)>> {
        let sources = complete(find(name, Some(Path::new("")))?, name)?;
        let named = |s: RecipeText| (s.part, if s.folder.is_some() { s.origin } else { s.id });
        Ok(sources.into_iter().map(named).collect())
    }

    /// The recipe that they make.
    ///
    /// # Errors
    /// Values that contradict each other, with the place where the last of them was written.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        let mut all = Table::new();
        for layer in &self.layers {
            layer.lay_over(&mut all, self.kept).map_err(|e| self.locate(e))?;
        }
        parts::check(&self.layers, &all).map_err(|e| self.locate(e))?;
        if let Some(description) = self.description() {
            all.insert("description".into(), Value::String(description));
        }
        Recipe::from_table(all)
            .and_then(|recipe| recipe.validate().map(|()| recipe))
            .map(|recipe| self.described(recipe))
            .map_err(|e| self.locate(e))
    }

    /// With the network in its description that later keys have made of the one by rule.
    fn described(&self, mut recipe: Recipe) -> Recipe {
        let by_rule = |l: &&Layer| l.part == Part::Network && builtin::network(&l.origin).is_some();
        let network = self.layers.iter().rev().find(by_rule);
        if let Some(before) = network.and_then(Layer::description) {
            words::follow(&mut recipe, before);
        }
        recipe
    }

    fn add(&mut self, source: RecipeText) -> Result<()> {
        let RecipeText { part, origin, text, folder, id, .. } = source;
        let mut table: Table = toml::from_str(&text).map_err(|e| place::unreadable(&text, &origin, &e))?;
        let here = |e: Error| match &e {
            Error::Recipe { key, .. } => {
                let place = place::place(&text, &origin, key);
                place::at(e, &place)
            }
            _ => e,
        };
        let bases = table.remove(EXTENDS).map_or_else(|| Ok(Vec::new()), |v| names(&v)).map_err(here)?;
        renamed::rename("", &mut table).map_err(here)?;
        check_table("", &table).map_err(here)?;
        // Before they are read: a name is short, and what it names may be long.
        if bases.len() > MOST {
            return Err(here(Error::recipe(EXTENDS, format!("more than {MOST} recipes make this one"))));
        }
        self.chain.push((id, origin.clone()));
        let found = bases.iter().map(|base| find(base, folder.as_deref()).map_err(as_key).map_err(here));
        for source in arranged(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()) {
            self.refuse_endless(&source).map_err(here)?;
            self.add(source)?;
        }
        self.chain.pop();
        if self.layers.len() >= MOST {
            return Err(here(Error::recipe(EXTENDS, format!("more than {MOST} recipes make this one"))));
        }
        self.layers.push(Layer { part, origin, text, table, own: folder.is_some() });
        Ok(())
    }

    /// What parts call the whole, and what of it others have said since.
    fn description(&self) -> Option<String> {
        let of = |l: &Layer| l.description().map(str::to_owned);
        let whole = self.layers.iter().rposition(|l| l.part == Part::Recipe && l.description().is_some());
        let after = self.layers.iter().skip(whole.map_or(0, |i| i + 1));
        let last = |part: Part| after.clone().filter(|l| l.part == part).filter_map(of).next_back();
        let parts = [Part::Method, Part::Network, Part::Data].into_iter().filter_map(last);
        let said = whole.and_then(|i| self.layers.get(i)).and_then(of).into_iter().chain(parts);
        Some(said.collect::<Vec<_>>().join(", ")).filter(|d| !d.is_empty())
    }

    /// Refuses a recipe that would extend itself, and a chain that is too long.
    fn refuse_endless(&self, next: &RecipeText) -> Result<()> {
        let said = |from: usize| {
            let chain = self.chain.iter().skip(from).map(|(_, origin)| origin.as_str());
            chain.chain([next.origin.as_str()]).collect::<Vec<_>>().join(" -> ")
        };
        if let Some(from) = self.chain.iter().position(|(id, _)| *id == next.id) {
            return Err(Error::recipe(EXTENDS, format!("a recipe cannot extend itself: {}", said(from))));
        }
        if self.chain.len() >= DEEPEST {
            let message = format!("more than {DEEPEST} recipes extend one another: {}", said(0));
            return Err(Error::recipe(EXTENDS, message));
        }
        Ok(())
    }

    /// Adds the place of the last text that wrote the key of an error.
    fn locate(&self, e: Error) -> Error {
        let Error::Recipe { key, .. } = &e else { return e };
        let Some(top) = self.layers.last() else { return e };
        let wrote = self.layers.iter().rev().find(|l| place::line_of(&l.text, key).is_some()).unwrap_or(top);
        let mut place = place::place(&wrote.text, &wrote.origin, key);
        if !std::ptr::eq(wrote, top) {
            place = format!("{place}; used by {}", top.origin);
        }
        place::at(e, &place)
    }
}

/// The names in the value of `extends`.
fn names(value: &Value) -> Result<Vec<String>> {
    let texts = match value {
        Value::String(_) => Some(std::slice::from_ref(value)),
        Value::Array(list) => Some(list.as_slice()),
        _ => None,
    };
    let names: Option<Vec<_>> =
        texts.map(|t| t.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    match names {
        Some(names) if texts.is_some_and(|t| t.len() == names.len()) => Ok(names),
        _ => Err(Error::recipe(
            EXTENDS,
            format!("found {}, expected the name or path of a recipe, or a list of them", found(value)),
        )),
    }
}

/// What went wrong with a base, as a mistake in `extends`.
fn as_key(e: Error) -> Error {
    match e {
        Error::NoRecipe { place, message } | Error::Data { place, message } => {
            Error::recipe(EXTENDS, format!("{place}: {message}"))
        }
        Error::Io { .. } => Error::recipe(EXTENDS, e.to_string()),
        other => other,
    }
}
