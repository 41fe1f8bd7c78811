//! The Python version: pickled dictionaries of an array of pixels and a list of labels.

use std::path::Path;

use super::super::super::Known;
use super::super::members::{Member, Place};
use super::super::records::{Blob, Part};
use super::super::{Format, Pair};
use super::{Batch, PIXELS, Set};
use crate::pickle::{Item, Limits, Pickle};
use crate::{Error, Result};

/// See the module.
pub(in super::super) const FORMAT: Format = Format {
    name: "CIFAR, Python",
    layout: "`cifar-10-python.tar.gz`, `cifar-100-python.tar.gz`, or the folder of their files (`data_batch_1`, `train`, …)",
    open,
};

/// Most names of classes that are looked at.
const MOST_CLASSES: usize = 1000;
/// Bytes of a label and of the name of a file, which stand beside an image's pixels.
const BESIDE: usize = 128;

const SETS: [Set; 2] = [
    Set {
        known: Known::Cifar10,
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: &["test_batch"],
        names: "batches.meta",
        classes: 10,
        folder: "cifar-10-batches-py",
        header: 0,
        most: PIXELS + BESIDE,
        read_names: names,
        read_batch: batch,
    },
    Set {
        known: Known::Cifar100,
        train: &["train"],
        test: &["test"],
        names: "meta",
        classes: 100,
        folder: "cifar-100-python",
        header: 0,
        most: PIXELS + BESIDE,
        read_names: names,
        read_batch: batch,
    },
];

fn open(path: &Path) -> Result<Option<Pair>> {
    for set in &SETS {
        for place in Place::at(path, &[set.folder]) {
            // CIFAR-100's names are common ones: together with its names of classes they are its own.
            let own = place.has(&[set.names])? && (place.has(set.train)? || place.has(set.test)?);
            if own {
                return set.read(&place).map(Some);
            }
        }
    }
    Ok(None)
}

/// Reads a file as a pickle and takes something out of it.
fn unpickle<T>(file: Member, take: impl FnOnce(Item<'_, '_>) -> std::result::Result<T, String>) -> Result<T> {
    let place = file.place.clone();
    let bytes = file.bytes()?;
    let pickle = Pickle::parse(&bytes, Limits::default());
    let taken = pickle.map_err(|e| e.to_string()).and_then(|pickle| take(pickle.root()));
    taken.map_err(|e| {
        Error::data(place, format!("not a batch of CIFAR as Python writes it: {e}; fetch it again"))
    })
}

/// The value of the first of `keys` that is there.
fn entry<'p, 'a>(root: Item<'p, 'a>, keys: &[&str]) -> std::result::Result<Item<'p, 'a>, String> {
    let found = keys.iter().find_map(|key| root.get(key));
    found.ok_or_else(|| format!("no `{}` in it", keys.join("` or `")))
}

fn names(file: Member) -> Result<Vec<String>> {
    unpickle(file, |root| {
        let list = entry(root, &["label_names", "fine_label_names"])?;
        let names = list.sequence().ok_or("the names of the classes are no list")?;
        if names.len() > MOST_CLASSES {
            return Err(format!("{} names of classes", names.len()));
        }
        let names: Option<Vec<String>> = names.map(|n| n.text().map(|t| t.into_owned())).collect();
        Ok(names.ok_or("a name of a class is no text")?)
    })
}

fn batch(file: Member, _: usize) -> Result<Batch> {
    let place = file.place.clone();
    let (pixels, labels) = unpickle(file, pixels_and_labels)?;
    Ok((Part { place, blob: Blob::Memory(pixels), offset: 0, records: labels.len() }, labels))
}

/// Pixels and labels of a batch.
fn pixels_and_labels(root: Item<'_, '_>) -> std::result::Result<(Vec<u8>, Vec<i64>), String> {
    let array = entry(root, &["data"])?.array()?;
    let pixels = array.unsigned_bytes().ok_or("the pixels are not bytes")?.into_owned();
    let labels = entry(root, &["fine_labels", "labels"])?;
    let labels = labels.integers().ok_or("the labels are not whole numbers")?;
    if array.shape.first() != Some(&labels.len()) || pixels.len() != labels.len() * PIXELS {
        let shape = &array.shape;
        return Err(format!(
            "pixels of shape {shape:?} for {} labels; [n, {PIXELS}] for n is expected",
            labels.len()
        ));
    }
    Ok((pixels, labels))
}
