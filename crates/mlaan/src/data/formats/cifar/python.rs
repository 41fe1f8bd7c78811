//! The Python version: pickled dictionaries of an array of pixels and a list of labels.

use std::path::Path;

use super::super::super::Known;
use super::super::members::{Member, Place};
use super::super::records::{Blob, Part};
use super::super::{Format, Parts};
use super::{Batch, MOST_IMAGES, PIXELS, SIDE, Set};
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
/// Bytes of an image: a list has two for every pixel; a label and the name of a file stand beside.
const IMAGE: usize = 2 * PIXELS + 512;
/// What a file of images may take: lists have an instruction for every pixel.
const LIMITS: Limits = Limits { steps: MOST_IMAGES * (PIXELS + 64), nodes: 1 << 20 };

const SETS: [Set; 2] = [
    Set {
        known: Known::Cifar10,
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: &["test_batch"],
        names: "batches.meta",
        classes: 10,
        folder: "cifar-10-batches-py",
        header: 0,
        most: IMAGE,
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
        most: IMAGE,
        read_names: names,
        read_batch: batch,
    },
];

fn open(path: &Path) -> Result<Option<Parts>> {
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
    let pickle = Pickle::parse(&bytes, LIMITS);
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
        if let Some(names) = list.sequence().filter(|names| names.len() > MOST_CLASSES) {
            return Err(format!("{} names of classes", names.len()));
        }
        let names = list.names(MOST_CLASSES);
        names.ok_or_else(|| format!("the names of the classes are {}, no list of text", list.describe()))
    })
}

fn batch(file: Member, _: usize) -> Result<Batch> {
    let place = file.place.clone();
    let (pixels, labels) = unpickle(file, pixels_and_labels)?;
    Ok((Part { place, blob: Blob::Memory(pixels), offset: 0, records: labels.len() }, labels))
}

/// Pixels and labels of a batch.
fn pixels_and_labels(root: Item<'_, '_>) -> std::result::Result<(Vec<u8>, Vec<i64>), String> {
    let labels = entry(root, &["fine_labels", "labels"])?;
    let labels = numbers(labels).ok_or("the labels are not whole numbers")?;
    let images = entry(root, &["data"])?;
    let (shape, pixels) = match images.sequence() {
        Some(images) if images.len() != labels.len() || images.len() > MOST_IMAGES => {
            return Err(format!("{} images for {} labels", images.len(), labels.len()));
        }
        Some(images) => {
            let mut pixels = Vec::new();
            for image in images {
                pixels.extend(one(image)?);
            }
            (vec![labels.len(), PIXELS], pixels)
        }
        None => whole(images, true)?,
    };
    if shape.first() != Some(&labels.len()) || pixels.len() != labels.len() * PIXELS {
        return Err(format!(
            "pixels of shape {shape:?} for {} labels; [n, {PIXELS}] for n is expected",
            labels.len()
        ));
    }
    Ok((pixels, labels))
}

/// Whole numbers of a list, or of an array, also one of a single column.
fn numbers(item: Item<'_, '_>) -> Option<Vec<i64>> {
    item.integers()
        .or_else(|| item.array().ok().filter(|a| a.shape.iter().skip(1).all(|n| *n == 1))?.integers())
}

/// The pixels of one image among others: an array, or a list of numbers.
fn one(image: Item<'_, '_>) -> std::result::Result<Vec<u8>, String> {
    let pixels = match image.sequence() {
        Some(pixels) if pixels.len() == PIXELS => {
            pixels.map(|value| u8::try_from(value.integer()?).ok()).collect()
        }
        Some(pixels) => return Err(format!("an image of {} numbers instead of {PIXELS}", pixels.len())),
        None => match whole(image, false)? {
            (_, pixels) if pixels.len() == PIXELS => Some(pixels),
            (shape, _) => return Err(format!("an image of shape {shape:?} instead of [{PIXELS}]")),
        },
    };
    pixels.ok_or_else(|| "a pixel is no whole number from 0 to 255".into())
}

/// The pixels of an array, colour by colour: of images one after the other where there are `many`.
fn whole(item: Item<'_, '_>, many: bool) -> std::result::Result<(Vec<usize>, Vec<u8>), String> {
    let array = item.array()?;
    let pixels = match array.unsigned_bytes() {
        Some(bytes) => bytes.into_owned(),
        None => {
            let numbers = array.integers().ok_or("the pixels are not whole numbers")?;
            let bytes: Option<Vec<u8>> = numbers.into_iter().map(|n| u8::try_from(n).ok()).collect();
            bytes.ok_or("a pixel is no whole number from 0 to 255")?
        }
    };
    let image = array.shape.get(usize::from(many)..).unwrap_or_default();
    let pixels = match image {
        [PIXELS] | [3, SIDE, SIDE] => pixels,
        [SIDE, SIDE, 3] => planes(&pixels),
        _ => {
            let shape = &array.shape;
            return Err(format!(
                "pixels of shape {shape:?}; images of [{PIXELS}], [3, {SIDE}, {SIDE}] or [{SIDE}, {SIDE}, 3] are read"
            ));
        }
    };
    Ok((array.shape, pixels))
}

/// Images whose colours lie pixel by pixel, colour by colour.
fn planes(pixels: &[u8]) -> Vec<u8> {
    let image = |image: &[u8]| {
        (0..PIXELS).map(|at| image[at % (SIDE * SIDE) * 3 + at / (SIDE * SIDE)]).collect::<Vec<u8>>()
    };
    pixels.chunks_exact(PIXELS).flat_map(image).collect()
}
