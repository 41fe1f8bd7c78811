//! Tiny ImageNet's validation images: `val/images/val_0.JPEG`, and their classes in `val/val_annotations.txt`, lines of image,
//! WordNet id and a box, with tabs between.

use std::collections::HashMap;

use super::super::notes::{Notes, reason};
use super::listed::Listed;
use super::tree::{Entry, EntryKind, Tree, left_behind};
use crate::{Error, Result};

/// What the list is called.
const LIST: &str = "val_annotations.txt";
/// The folder of the images, beside the list.
const IMAGES: &str = "images";

/// The list in a folder.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn list<T: Tree>(tree: &T, folder: &T::At) -> Result<Option<T::At>> {
    Ok(tree.entries(folder)?.into_iter().find(|e| e.kind == EntryKind::File && e.name == LIST).map(|e| e.at))
}

/// The images in and beside `images/`, with the classes that the list says.
///
/// # Errors
/// An image that is not in the list, or a listed one that is not there; a class that is not trained.
pub(super) fn read<T: Tree>(
    tree: &T,
    (folder, list): (&T::At, &T::At),
    (keys, train): (&[String], &Listed<T::At>),
) -> Result<Listed<T::At>> {
    let place = tree.place(list);
    let text = tree.text(list)?;
    let mut truth: HashMap<&str, &str> = HashMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(image), Some(class)) = (words.next(), words.next()) else {
            let message = format!("`{line}` is no image and class (as `val_0.JPEG n01443537`)");
            return Err(Error::data(format!("{place}, line {}", at + 1), message));
        };
        truth.insert(image, class);
    }
    let mut notes = Notes::default();
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for entry in below(tree, folder, &mut notes)? {
        let wrong = |message: String| Error::data(tree.place(&entry.at), message);
        let class = truth.remove(entry.name.as_str());
        let class =
            class.ok_or_else(|| wrong(format!("this image is not in {place}: get the whole list")))?;
        let label = keys.iter().position(|key| key == class).ok_or_else(|| {
            wrong(format!("its class {class} (in {place}) has no folder in {}", train.place))
        })?;
        labels.push(label as i64);
        images.push(entry.at);
    }
    if let Some(image) = truth.keys().min() {
        let more = truth.len();
        let message = format!("{more} of its images are not there, as `{image}`: get the whole set again");
        return Err(Error::data(place, message));
    }
    Ok(Listed { place: tree.place(folder), classes: train.classes.clone(), images, labels, notes })
}

fn below<T: Tree>(tree: &T, folder: &T::At, notes: &mut Notes) -> Result<Vec<Entry<T::At>>> {
    let mut images = Vec::new();
    for entry in tree.entries(folder)? {
        match entry.kind {
            _ if left_behind(&entry.name) => notes.skip(reason::LEFT_BEHIND, || tree.place(&entry.at)),
            EntryKind::Folder if entry.name == IMAGES => images.extend(below(tree, &entry.at, notes)?),
            EntryKind::Image => images.push(entry),
            EntryKind::File if entry.name == LIST => {}
            EntryKind::File | EntryKind::Folder => notes.skip(reason::NO_IMAGE, || tree.place(&entry.at)),
            EntryKind::Other(why) => notes.skip(why, || tree.place(&entry.at)),
        }
    }
    Ok(images)
}
