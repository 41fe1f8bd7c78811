//! The binary version: records of one label (CIFAR-100: a coarse and a fine one) and 3,072 pixel values.

use std::path::Path;

use super::super::super::Known;
use super::super::super::at::read_exact_at;
use super::super::members::{Member, Place};
use super::super::names::unmarked;
use super::super::records::{Blob, Part};
use super::super::{Format, Parts};
use super::{Batch, PIXELS, Set};
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
        header: 1,
        most: 1 + PIXELS,
        read_names: names,
        read_batch: batch,
    },
    Set {
        known: Known::Cifar100,
        train: &["train.bin"],
        test: &["test.bin"],
        names: "fine_label_names.txt",
        classes: 100,
        folder: "cifar-100-binary",
        header: 2,
        most: 2 + PIXELS,
        read_names: names,
        read_batch: batch,
    },
];

fn open(path: &Path) -> Result<Option<Parts>> {
    for set in &SETS {
        for place in Place::at(path, &[set.folder]) {
            if place.has(&[set.train, set.test].concat())? {
                return set.read(&place).map(Some);
            }
        }
    }
    Ok(None)
}

/// One name a line.
fn names(file: Member) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(&file.bytes()?).into_owned();
    Ok(unmarked(&text).lines().map(str::trim).filter(|l| !l.is_empty()).map(Into::into).collect())
}

/// Whole records of a header, whose last byte is the label, and pixels.
fn batch(file: Member, header: usize) -> Result<Batch> {
    let record = header + PIXELS;
    let records = file.size as usize / record;
    if records == 0 || records * record != file.size as usize {
        let message = format!(
            "{} bytes, which is no whole number of records of {record} bytes: it is cut off or another file; fetch it again",
            file.size
        );
        return Err(Error::data(file.place, message));
    }
    let labels = labels_of(&file, records, record, header - 1)?;
    Ok((Part { place: file.place, blob: file.blob, offset: 0, records }, labels))
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
