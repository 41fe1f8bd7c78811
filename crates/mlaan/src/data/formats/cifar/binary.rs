//! The binary version: records of one label (CIFAR-100: a coarse and a fine one) and 3,072 pixel values.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::super::Known;
use super::super::super::at::read_exact_at;
use super::super::super::stored::{Images, Stored};
use super::super::members::{Member, Place};
use super::super::records::{Blob, Part, Records};
use super::super::{Format, Pair};
use super::{MOST_IMAGES, MOST_NAMES, PIXELS, Set, form, numbers};
use crate::{Error, Result};

/// See the module.
pub(in super::super) const FORMAT: Format = Format {
    name: "CIFAR, binary",
    layout: "`cifar-10-binary.tar.gz`, `cifar-100-binary.tar.gz`, or the folder of their files (`data_batch_1.bin`, `train.bin`, …)",
    open,
};

const SETS: [Set; 2] = [
    Set {
        known: Known::Cifar10,
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: &["test_batch.bin"],
        names: "batches.meta.txt",
        classes: 10,
        folder: "cifar-10-batches-bin",
    },
    Set {
        known: Known::Cifar100,
        train: &["train.bin"],
        test: &["test.bin"],
        names: "fine_label_names.txt",
        classes: 100,
        folder: "cifar-100-binary",
    },
];

/// Bytes before the pixels; the last of them is the label.
fn header(set: &Set) -> usize {
    if set.known == Known::Cifar100 { 2 } else { 1 }
}

fn open(path: &Path) -> Result<Option<Pair>> {
    for set in &SETS {
        for place in Place::at(path, &[set.folder]) {
            if place.has(&[set.train, set.test].concat())? {
                return read(set, &place).map(Some);
            }
        }
    }
    Ok(None)
}

fn read(set: &Set, place: &Place) -> Result<Pair> {
    let most = MOST_IMAGES * (header(set) + PIXELS) as u64;
    let limit = |name: &'static str| (name, if name == set.names { MOST_NAMES } else { most });
    let wanted: Vec<_> = set.files().into_iter().map(limit).collect();
    let mut files = place.files(&wanted, &set.files())?;
    let classes = match files.remove(set.names) {
        Some(file) => names(file, set.classes)?,
        None => numbers(set.classes),
    };
    let mut split = |names: &[&str]| split(set, place, names, &classes, &mut files);
    let (train, test) = (split(set.train)?, split(set.test)?);
    Ok(Pair { train, test, known: Some(set.known) })
}

fn names(file: Member, classes: usize) -> Result<Vec<String>> {
    let place = file.place.clone();
    let text = String::from_utf8_lossy(&file.bytes()?).into_owned();
    let names: Vec<String> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(Into::into).collect();
    if names.len() != classes {
        let message = format!("{} class names, one a line, where there must be {classes}", names.len());
        return Err(Error::data(place, message));
    }
    Ok(names)
}

fn split(
    set: &Set,
    place: &Place,
    names: &[&str],
    classes: &[String],
    files: &mut BTreeMap<String, Member>,
) -> Result<Stored> {
    let (mut parts, mut labels) = (Vec::new(), Vec::new());
    for name in names {
        let Some(file) = files.remove(*name) else {
            let message = format!("`{name}` is missing: the set is incomplete; fetch it again");
            return Err(Error::data(place.path().display().to_string(), message));
        };
        let record = header(set) + PIXELS;
        let records = file.size as usize / record;
        if records == 0 || records * record != file.size as usize {
            let message = format!(
                "{} bytes, which is no whole number of records of {record} bytes: it is cut off or another file; fetch it again",
                file.size
            );
            return Err(Error::data(file.place, message));
        }
        labels.extend(labels_of(&file, records, record, header(set) - 1)?);
        parts.push(Part { place: file.place, blob: file.blob, offset: 0, records });
    }
    let images = Images::Random(Arc::new(Records::new(form(header(set)), parts)));
    Stored::new(place.path().display().to_string(), classes.to_vec(), labels, images)
}

/// The label byte of every record, which lies at `at` in it.
fn labels_of(file: &Member, records: usize, record: usize, at: usize) -> Result<Vec<i64>> {
    let one = |index: usize| {
        let offset = index * record + at;
        match &file.blob {
            Blob::Memory(bytes) => Ok(i64::from(bytes[offset])),
            Blob::File(open) => {
                let mut byte = [0];
                read_exact_at(open, &mut byte, offset as u64).map_err(Error::io(&file.place))?;
                Ok(i64::from(byte[0]))
            }
        }
    };
    (0..records).map(one).collect()
}
