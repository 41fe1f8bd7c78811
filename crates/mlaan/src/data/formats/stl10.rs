//! STL-10's binary files: images channel by channel and column by column, labels from 1.

use std::path::Path;
use std::sync::Arc;

use super::super::Known;
use super::super::stored::{Images, Stored};
use super::members::{Member, Place};
use super::records::{Form, Part, Pixels, Records};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "STL-10, binary",
    layout: "`stl10_binary.tar.gz`, or the folder of its files (`train_X.bin`, `train_y.bin`, `test_X.bin`, `test_y.bin`)",
    open,
};

const FORM: Form = Form { header: 0, height: 96, width: 96, pixels: Pixels::Columns };
const FILES: [&str; 4] = ["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"];
/// Its classes; the file of names lies behind 2.6 GB of images without labels.
const CLASSES: [&str; 10] =
    ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"];
/// Most images of a split: all that have labels.
const MOST_IMAGES: usize = 13_000;

fn open(path: &Path) -> Result<Option<Parts>> {
    for place in Place::at(path, &["stl10_binary"]) {
        if place.has(&FILES)? {
            return read(&place).map(Some);
        }
    }
    Ok(None)
}

fn read(place: &Place) -> Result<Parts> {
    let most = |name: &'static str| {
        let each = if name.ends_with("_X.bin") { FORM.bytes() } else { 1 };
        (name, (MOST_IMAGES * each) as u64)
    };
    let mut files = place.files(&FILES.map(most), &FILES)?;
    let mut take = |name: &str| {
        files.remove(name).ok_or_else(|| {
            let message = format!("`{name}` is missing: the set is incomplete; fetch it again");
            Error::data(place.path().display().to_string(), message)
        })
    };
    let mut split = |name: &str| -> Result<Stored> {
        let (images, labels) = (take(&format!("{name}_X.bin"))?, take(&format!("{name}_y.bin"))?);
        stored(place, images, labels)
    };
    Ok(Parts::new(split("train")?, split("test")?, Some(Known::Stl10)))
}

fn stored(place: &Place, images: Member, labels: Member) -> Result<Stored> {
    let (pixels, records) = (FORM.bytes() as u64, labels.size);
    if records == 0 || images.size != records * pixels {
        let message = format!(
            "{} bytes, where {records} labels need {}: one of the two files is cut off; fetch the set again",
            images.size,
            records * pixels
        );
        return Err(Error::data(images.place, message));
    }
    // From 1 on disk. A 0 becomes -1, which is out of range as it should be.
    let labels: Vec<i64> = labels.bytes()?.into_iter().map(|l| i64::from(l) - 1).collect();
    let part = Part { place: images.place, blob: images.blob, offset: 0, records: labels.len() };
    let images = Images::Random(Arc::new(Records::new(FORM, vec![part])));
    Stored::new(place.path().display().to_string(), CLASSES.map(Into::into).to_vec(), labels, images)
}
