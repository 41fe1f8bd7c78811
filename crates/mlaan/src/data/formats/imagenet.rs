//! ImageNet (ILSVRC 2012) with its original validation images: `train/n01440764/...`, but `val/ILSVRC2012_val_*.JPEG` in one
//! folder, and the classes of these in a text file. (With one folder per class in `val/` it is an image folder.)
//!
//! Read are, in this order:
//! - `LOC_val_solution.csv`: image and WordNet id, as Kaggle has it;
//! - `imagenet_2012_validation_synset_labels.txt`: one WordNet id per image;
//! - `val.txt`: image and WordNet id, or index into the sorted WordNet ids (or into `synsets.txt`, `synset_words.txt`,
//!   `LOC_synset_mapping.txt` where one is there);
//! - `ILSVRC2012_validation_ground_truth.txt`: one `ILSVRC2012_ID` per image. These number the classes in an order of their own,
//!   which the devkit's `meta.mat` or `map_clsloc.txt` (WordNet id and number) tells.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::Known;
use super::super::is_image;
use super::super::notes::{Notes, reason};
use super::super::stored::{Images, Stored};
use super::beside::beside;
use super::folder::{Files, class_folders, entries, stored};
use super::layout::trained;
use super::meta_mat;
use super::names::text;
use super::synset::is_synset;
use super::tree::{Disk, Tree};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "ImageNet, original validation folder",
    layout: "ImageNet's `train/n01440764/...` with `val/ILSVRC2012_val_*.JPEG` and the list of their classes",
    open,
};

/// Where `train/` and `val/` may lie below what is named.
pub(super) const INSIDE: [&str; 3] = ["", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC"];
/// Where lists may lie below what is named and below the folder of `val/`.
const LISTS: [&str; 5] = ["", "val", "data", "devkit/data", "ILSVRC2012_devkit_t12/data"];
/// How validation images are called before their number.
const IMAGE: &str = "ILSVRC2012_val_";

fn open(path: &Path) -> Result<Option<Parts>> {
    for inside in INSIDE {
        let root = path.join(inside);
        let (train, val) = (root.join("train"), root.join("val"));
        if !train.is_dir() || !val.is_dir() {
            continue;
        }
        let mut notes = Notes::default();
        let images = validation(&val, &mut notes)?;
        if images.is_empty() || !class_folders(&train)?.iter().any(|(name, _)| is_synset(name)) {
            continue;
        }
        // Its test images have no labels anywhere.
        let used = |name: &str| ["train", "val", "test"].contains(&name);
        beside(&Disk, &root, &Disk.entries(&root)?, &used, &mut notes);
        let (train, _) = trained(&Disk, &train, &mut vec![Disk.real(&root)])?;
        let train = stored(train)?.with_notes(notes);
        let folders: Vec<PathBuf> =
            [path, &root].iter().flat_map(|f| LISTS.map(|list| f.join(list))).collect();
        let test = labelled(&val, images, &train.classes, &folders)?;
        return Ok(Some(Parts::new(train, test, Some(Known::Imagenet))));
    }
    Ok(None)
}

/// The validation images that lie in one folder, sorted: their numbers and files.
fn validation(folder: &Path, notes: &mut Notes) -> Result<Vec<(usize, PathBuf)>> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for (name, path) in entries(folder)? {
        match number(&name) {
            Some(number) => found.push((number, path)),
            None if is_image::by_name(&name) => others.push(path),
            None => {}
        }
    }
    found.sort();
    others.sort();
    others.iter().for_each(|path| notes.skip(reason::OUTSIDE, || path.display().to_string()));
    Ok(found)
}

/// The number of a validation image, from 1.
fn number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix(IMAGE)?.split('.').next()?;
    digits.parse().ok()
}

fn labelled(
    folder: &Path,
    images: Vec<(usize, PathBuf)>,
    classes: &[String],
    folders: &[PathBuf],
) -> Result<Stored> {
    let (list, synsets) = truth(folder, folders, classes)?;
    let index: HashMap<&str, i64> = classes.iter().map(String::as_str).zip(0..).collect();
    let mut labels = Vec::with_capacity(images.len());
    for (number, path) in &images {
        let place = || path.display().to_string();
        let synset = synsets.get(number).ok_or_else(|| {
            Error::data(place(), format!("image {number} is not in {}: get the whole list", list.display()))
        })?;
        labels.push(*index.get(synset.as_str()).ok_or_else(|| {
            let message = format!("its class {synset} (in {}) has no folder in `train/`", list.display());
            Error::data(place(), message)
        })?);
    }
    let files = Files(images.into_iter().map(|(_, path)| path).collect());
    Stored::new(folder.display().to_string(), classes.to_vec(), labels, Images::Random(Arc::new(files)))
}

/// WordNet ids by the images' numbers.
type Truth = HashMap<usize, String>;

/// The first list that is there, and what it says.
fn truth(folder: &Path, folders: &[PathBuf], classes: &[String]) -> Result<(PathBuf, Truth)> {
    let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let read = |path: &Path| text(path).map(Option::unwrap_or_default);
    if let Some(path) = find("LOC_val_solution.csv") {
        let truth = pairs(&path, &read(&path)?, |_| None)?;
        return Ok((path, truth));
    }
    if let Some(path) = find("imagenet_2012_validation_synset_labels.txt") {
        let synset = |line: &str| is_synset(line).then(|| line.to_owned());
        let truth = lines(&path, &read(&path)?, "a WordNet id", synset)?;
        return Ok((path, truth));
    }
    if let Some(path) = find("val.txt") {
        let order =
            match ["synsets.txt", "synset_words.txt", "LOC_synset_mapping.txt"].into_iter().find_map(find) {
                Some(list) => first_words(&list, &read(&list)?)?,
                None => classes.to_vec(),
            };
        let truth = pairs(&path, &read(&path)?, |word| order.get(word.parse::<usize>().ok()?).cloned())?;
        return Ok((path, truth));
    }
    if let Some(path) = find("ILSVRC2012_validation_ground_truth.txt") {
        let (numbers, whose) = match (find("meta.mat"), find("map_clsloc.txt")) {
            (_, Some(map)) => (numbers(&map, &read(&map)?)?, "a number of map_clsloc.txt"),
            (Some(meta), None) => (meta_mat::numbers(&meta)?, "a number of meta.mat"),
            (None, None) => {
                let message = "its numbers (ILSVRC2012_ID) are in an order of their own, not that of the WordNet ids: put the \
                               devkit's `meta.mat` or `map_clsloc.txt` (lines of WordNet id and number) beside it, or \
                               `LOC_val_solution.csv`, which needs no such list";
                return Err(Error::data(path.display().to_string(), message));
            }
        };
        let synset = |line: &str| numbers.get(&line.parse().ok()?).cloned();
        let truth = lines(&path, &read(&path)?, whose, synset)?;
        return Ok((path, truth));
    }
    let message = "the validation images are here, but not their classes: put `LOC_val_solution.csv`, `val.txt`, \
                   `imagenet_2012_validation_synset_labels.txt`, or the devkit (`ILSVRC2012_validation_ground_truth.txt` with \
                   `meta.mat` or `map_clsloc.txt`) beside `val/`, or sort the images into one folder per class";
    Err(Error::data(folder.display().to_string(), message))
}

/// Lines that begin with an image and its class: a WordNet id, or what `synset` knows.
fn pairs(path: &Path, text: &str, synset: impl Fn(&str) -> Option<String>) -> Result<Truth> {
    let mut truth = Truth::new();
    for (at, line) in text.lines().enumerate() {
        let mut words = line.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        let (Some(image), class) = (words.next(), words.next()) else {
            continue;
        };
        if at == 0 && image == "ImageId" {
            continue;
        }
        let image_number = number(image.rsplit('/').next().unwrap_or(image));
        let known = class.and_then(|c| if is_synset(c) { Some(c.to_owned()) } else { synset(c) });
        let (Some(image), Some(class)) = (image_number, known) else {
            let message = format!("`{line}` is no image and class (as `{IMAGE}00000001 n01751748`)");
            return Err(line_error(path, at, &message));
        };
        truth.insert(image, class);
    }
    Ok(truth)
}

/// One class per line, in the order of the images.
fn lines(path: &Path, text: &str, what: &str, synset: impl Fn(&str) -> Option<String>) -> Result<Truth> {
    let class = |(at, line): (usize, &str)| match synset(line.trim()) {
        Some(synset) => Ok((at + 1, synset)),
        None => Err(line_error(path, at, &format!("`{}` is not {what}", line.trim()))),
    };
    text.trim_end().lines().enumerate().map(class).collect()
}

/// `map_clsloc.txt`: WordNet id and number (and name).
fn numbers(path: &Path, text: &str) -> Result<HashMap<usize, String>> {
    let pair = |(at, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        let synset = words.next().filter(|word| is_synset(word));
        match (synset, words.next().and_then(|word| word.parse().ok())) {
            (Some(synset), Some(number)) => Ok((number, synset.to_owned())),
            _ => Err(line_error(path, at, &format!("`{line}` is no WordNet id and number"))),
        }
    };
    text.trim_end().lines().enumerate().map(pair).collect()
}

fn first_words(path: &Path, text: &str) -> Result<Vec<String>> {
    let synset =
        |(at, line): (usize, &str)| match line.split_whitespace().next().filter(|word| is_synset(word)) {
            Some(synset) => Ok(synset.to_owned()),
            None => Err(line_error(path, at, &format!("`{line}` does not begin with a WordNet id"))),
        };
    text.trim_end().lines().enumerate().map(synset).collect()
}

fn line_error(path: &Path, at: usize, message: &str) -> Error {
    Error::data(format!("{}, line {}", path.display(), at + 1), message)
}
