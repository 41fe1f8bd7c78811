//! From names to texts: what is built in, files, and several of them joined.

use super::builtin::{self, Part};
use crate::text::nearest;
use crate::{Error, Result, files};
use std::path::{Path, PathBuf};

/// What joins several names to one.
const AND: char = '+';

/// A recipe's text and where it is from.
pub(super) struct RecipeText {
    /// What it stands for; a file is a recipe.
    pub(super) part: Part,
    /// Whether nobody named it: the usual data set of a network.
    implied: bool,
    /// What errors call it.
    pub(super) origin: String,
    /// The text.
    pub(super) text: String,
    /// The folder that its `extends` counts from; none for what is built in.
    pub(super) folder: Option<PathBuf>,
    /// What tells it from others: a built-in name, or the file's full path.
    pub(super) id: String,
}

impl RecipeText {
    /// A text; what it extends counts from the working folder.
    pub(super) fn of_text(text: &str, origin: &str) -> Self {
        let (origin, text, folder) = (origin.into(), text.into(), Some(PathBuf::new()));
        RecipeText { part: Part::Recipe, implied: false, origin, text, folder, id: String::new() }
    }
}

/// Parts in the order in which their keys win: a method, a network, a data set. Anything else stays as it is written.
pub(super) fn arranged(mut sources: Vec<RecipeText>) -> Vec<RecipeText> {
    if sources.iter().all(|s| s.part != Part::Recipe) {
        // What is named is stronger than what is usual.
        sources.sort_by_key(|s| (s.part, !s.implied));
    }
    sources
}

/// Parts that make a recipe: with the network's usual data set if none is named.
///
/// # Errors
/// No method or no network among them.
pub(super) fn complete(mut sources: Vec<RecipeText>, name: &str) -> Result<Vec<RecipeText>> {
    let has = |part: Part| sources.iter().any(|s| s.part == part);
    if has(Part::Recipe) {
        return Ok(sources);
    }
    if !has(Part::Method) || !has(Part::Network) {
        let what = if has(Part::Method) { "network" } else { "method" };
        let message = format!(
            "names no {what}; join one to it with +, as dgl+resnet32-16+svhn (`mlaan recipes` lists methods, networks and data sets)"
        );
        return Err(Error::no_recipe(name, message));
    }
    if !has(Part::Data) {
        let network = sources.iter().rfind(|s| s.part == Part::Network).map_or("", |s| &s.id);
        sources.extend(usual_data(network));
    }
    Ok(arranged(sources))
}

/// What `name` means, in this order: a built-in file or network, `METHOD-NETWORK`, a file (its path counts from
/// `folder`), several names joined by `+`.
///
/// # Errors
/// [`Error::NoRecipe`]: nothing of that name; [`Error::Io`]: a file that cannot be read.
pub(super) fn find(name: &str, folder: Option<&Path>) -> Result<Vec<RecipeText>> {
    if let Some(source) = part(name) {
        return Ok(vec![source]);
    }
    if let Some((method, network)) = builtin::cell(name) {
        return Ok([Some(built_in(method)), part(network), usual_data(network)]
            .into_iter()
            .flatten()
            .collect());
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
        return Err(Error::no_recipe(name, message));
    }
    Err(unknown(name))
}

fn usual_data(network: &str) -> Option<RecipeText> {
    builtin::file(builtin::usual_data(network)).map(|file| RecipeText { implied: true, ..built_in(file) })
}

/// A built-in file, or a network by rule.
fn part(name: &str) -> Option<RecipeText> {
    builtin::file(name).map(built_in).or_else(|| {
        let (origin, id) = (name.to_owned(), name.to_owned());
        builtin::network(name).map(|text| RecipeText {
            part: Part::Network,
            implied: false,
            origin,
            text,
            folder: None,
            id,
        })
    })
}

fn built_in(file: &builtin::Builtin) -> RecipeText {
    let origin = match file.part {
        Part::Recipe => format!("built-in recipe {}", file.name),
        _ => file.name.to_owned(),
    };
    RecipeText {
        part: file.part,
        implied: false,
        origin,
        text: file.text.into(),
        folder: None,
        id: file.name.into(),
    }
}

/// The file at `path`, which need not be UTF-8 and is no name.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub(super) fn file(path: &Path) -> Result<RecipeText> {
    let text = files::text(path, files::RECIPE).map_err(|e| match e {
        Error::Data { place, message } => Error::NoRecipe { place, message },
        e => e,
    })?;
    let full = path.canonicalize().map_err(Error::io(path))?;
    Ok(RecipeText {
        part: Part::Recipe,
        implied: false,
        origin: path.display().to_string(),
        text,
        folder: Some(path.parent().map_or_else(PathBuf::new, Path::to_path_buf)),
        id: full.display().to_string(),
    })
}

fn unknown(name: &str) -> Error {
    let parts = builtin::builtin().iter().filter(|f| f.part != Part::Recipe).map(|f| f.name.to_owned());
    let names: Vec<String> = parts.chain(builtin::recipes()).collect();
    let near = nearest(name, names.iter().map(String::as_str), 3);
    let hint = if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(" or ")) };
    let message = format!(
        "neither a built-in recipe nor a file.{hint} Built in are demo, quickstart and a method on a network, as \
         mlaan-released-resnet32-16; `mlaan recipes` lists them"
    );
    Error::no_recipe(name, message)
}
