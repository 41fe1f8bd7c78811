//! Recipes that extend others: from a name or a text to one table.
//!
//! Every text is checked by itself, so that an error points to the file that wrote the key; then the tables are laid
//! over one another, bases first.

use super::builtin::builtin;
use super::check::{check_table, found};
use super::merge::merge;
use super::{Recipe, place, spelling};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The key that names what a recipe extends.
pub(super) const EXTENDS: &str = "extends";
/// What joins several names to one.
const AND: char = '+';
/// Recipes that extend one another in a row, at most.
const DEEPEST: usize = 16;
/// Recipes that one is made of, at most: lists in lists could name any number.
const MOST: usize = 128;

/// One text, checked, without `extends`.
struct Layer {
    origin: String,
    text: String,
    table: Table,
}

/// A recipe's text and where it is from.
pub(super) struct Source {
    /// What errors call it.
    pub(super) origin: String,
    /// The text.
    pub(super) text: String,
    /// The folder that its `extends` counts from; none for what is built in.
    pub(super) folder: Option<PathBuf>,
    /// What tells it from others: a built-in name, or the file's full path.
    id: String,
}

/// All texts of a recipe, bases first.
#[derive(Default)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// Who extends whom at the moment: identity and origin.
    chain: Vec<(String, String)>,
}

impl Layers {
    /// Reads what `name` means: a built-in recipe, a file, or several of these joined by `+`.
    ///
    /// # Errors
    /// Nothing of that name, or what is wrong with the texts.
    pub(super) fn of_name(name: &str) -> Result<Self> {
        let mut layers = Layers::default();
        for source in find(name, Some(Path::new("")))? {
            layers.add(source)?;
        }
        Ok(layers)
    }

    /// Reads a text; what it extends is built in, or counts from the working folder.
    ///
    /// # Errors
    /// What is wrong with it, or with what it extends.
    pub(super) fn of_text(text: &str, origin: &str) -> Result<Self> {
        let mut layers = Layers::default();
        let folder = Some(PathBuf::new());
        layers.add(Source { origin: origin.into(), text: text.into(), folder, id: String::new() })?;
        Ok(layers)
    }

    /// The recipe that they make.
    ///
    /// # Errors
    /// Values that contradict each other, with the place where the last of them was written.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        let mut all = Table::new();
        for layer in &self.layers {
            merge("", &mut all, &layer.table);
        }
        Recipe::from_table(all)
            .and_then(|recipe| recipe.validate().map(|()| recipe))
            .map_err(|e| self.locate(e))
    }

    fn add(&mut self, source: Source) -> Result<()> {
        let Source { origin, text, folder, id } = source;
        let mut table: Table = toml::from_str(&text).map_err(|e| place::syntax_error(&text, &origin, &e))?;
        let here = |e: Error| match &e {
            Error::Recipe { key, .. } => {
                let place = place::place(&text, &origin, key);
                place::at(e, &place)
            }
            _ => e,
        };
        let bases = table.remove(EXTENDS).map_or_else(|| Ok(Vec::new()), |v| names(&v)).map_err(here)?;
        check_table("", &table).map_err(here)?;
        self.chain.push((id, origin.clone()));
        for base in &bases {
            for source in find(base, folder.as_deref()).map_err(as_key).map_err(here)? {
                self.refuse_endless(&source).map_err(here)?;
                self.add(source)?;
            }
        }
        self.chain.pop();
        if self.layers.len() >= MOST {
            return Err(here(Error::recipe(EXTENDS, format!("more than {MOST} recipes make this one"))));
        }
        self.layers.push(Layer { origin, text, table });
        Ok(())
    }

    /// Refuses a recipe that would extend itself, and a chain that is too long.
    fn refuse_endless(&self, next: &Source) -> Result<()> {
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

/// What `name` means, in this order: what is built in, a file (its path counts from `folder`), several names joined by
/// `+`.
///
/// # Errors
/// [`Error::Data`]: nothing of that name; a file that cannot be read.
pub(super) fn find(name: &str, folder: Option<&Path>) -> Result<Vec<Source>> {
    if let Some((name, text)) = builtin().iter().find(|(n, _)| *n == name) {
        let origin = format!("built-in recipe {name}");
        return Ok(vec![Source { origin, text: (*text).into(), folder: None, id: (*name).into() }]);
    }
    let path = folder.map(|f| f.join(name));
    if let Some(path) = path.as_deref().filter(|p| p.exists() && !p.is_dir()) {
        return Ok(vec![file(path)?]);
    }
    if name.contains(AND) {
        let parts = name.split(AND).map(|part| find(part.trim(), folder));
        return Ok(parts.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect());
    }
    if path.is_some_and(|p| p.is_dir()) && !name.is_empty() {
        let message = "this is a folder, not a recipe: name images with `--data`, a run with `--out`";
        return Err(Error::data(name, message));
    }
    Err(unknown(name))
}

fn file(path: &Path) -> Result<Source> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    let full = path.canonicalize().map_err(Error::io(path))?;
    Ok(Source {
        origin: path.display().to_string(),
        text,
        folder: Some(path.parent().map_or_else(PathBuf::new, Path::to_path_buf)),
        id: full.display().to_string(),
    })
}

/// What went wrong with a base, as a mistake in `extends`.
fn as_key(e: Error) -> Error {
    match e {
        Error::Data { place, message } => Error::recipe(EXTENDS, format!("{place}: {message}")),
        Error::Io { .. } => Error::recipe(EXTENDS, e.to_string()),
        other => other,
    }
}

fn unknown(name: &str) -> Error {
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
