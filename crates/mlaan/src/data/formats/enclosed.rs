//! Folders that lie around all classes of a split, as in `train/images/CLASS` and `seg_train/seg_train/CLASS`.

use std::collections::HashSet;
use std::path::PathBuf;

use super::class_names::class;
use super::tree::{Entry, EntryKind, Tree, class_folders, left_behind};
use crate::Result;
use crate::data::notes::Notes;

/// How many folders may lie around the classes.
const MOST: usize = 3;
/// How deep images are looked for.
const DEPTH: usize = 8;

/// The folder that holds the classes of the split `at`: itself, or what lies in it around all of them. Of a test split,
/// `keys` are the trained classes: their folders are no others.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn classes_in<T: Tree>(tree: &T, at: &T::At, keys: Option<&[String]>) -> Result<T::At> {
    Ok(around(tree, at, keys, MOST)?.unwrap_or_else(|| at.clone()))
}

/// The folder of classes in the only folder with images in `at`, where that is no class itself.
fn around<T: Tree>(tree: &T, at: &T::At, keys: Option<&[String]>, most: usize) -> Result<Option<T::At>> {
    let trained = |entry: &Entry<T::At>| keys.is_some_and(|keys| keys.contains(&class(&entry.name)));
    let folders = class_folders(tree, at, &mut Notes::default())?;
    if most == 0 || folders.iter().any(trained) {
        return Ok(None);
    }
    let with_images = with_images(tree, folders)?;
    let [only] = with_images.as_slice() else { return Ok(None) };
    if tree.entries(&only.at)?.iter().any(|entry| entry.kind == EntryKind::Image && !left_behind(&entry.name))
    {
        return Ok(None);
    }
    // A training split has several classes, a test split some of these; a class may have folders, too.
    let inside = class_folders(tree, &only.at, &mut Notes::default())?;
    let holds = match keys {
        Some(_) => inside.iter().any(trained),
        None => self::with_images(tree, inside)?.len() > 1,
    };
    if holds { Ok(Some(only.at.clone())) } else { around(tree, &only.at, keys, most - 1) }
}

/// The first two of `folders` below which an image lies.
fn with_images<T: Tree>(tree: &T, folders: Vec<Entry<T::At>>) -> Result<Vec<Entry<T::At>>> {
    let mut found = Vec::new();
    for folder in folders {
        if found.len() < 2 && has_images(tree, &folder.at)? {
            found.push(folder);
        }
    }
    Ok(found)
}

/// Whether an image lies in or below a folder.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn has_images<T: Tree>(tree: &T, at: &T::At) -> Result<bool> {
    has_image(tree, at, DEPTH, &mut HashSet::new())
}

/// [`has_images`], so many folders deep and in none that was seen.
fn has_image<T: Tree>(tree: &T, at: &T::At, depth: usize, seen: &mut HashSet<PathBuf>) -> Result<bool> {
    if !seen.insert(tree.real(at)) {
        return Ok(false);
    }
    let entries = tree.entries(at)?;
    let mut visible = entries.iter().filter(|entry| !left_behind(&entry.name));
    if visible.clone().any(|entry| entry.kind == EntryKind::Image) {
        return Ok(true);
    }
    for folder in visible.by_ref().filter(|entry| entry.kind == EntryKind::Folder && depth > 0) {
        if has_image(tree, &folder.at, depth - 1, seen)? {
            return Ok(true);
        }
    }
    Ok(false)
}
