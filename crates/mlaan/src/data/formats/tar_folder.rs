//! An image folder inside one tar archive, perhaps below one or two folders more. It is read without being unpacked, and is
//! what it would be if it were.

use std::path::Path;
use std::sync::Arc;

use super::super::stored::{Images, Stored};
use super::archive::{Archive, At};
use super::layout::{self, Splits};
use super::listed::Listed;
use super::packed::{Packed, kind};
use super::{Format, Parts};
use crate::Result;

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "image folder in an archive",
    layout: "a `.tar`, `.tar.gz` or `.tgz` of an image folder",
    open,
};

/// Folders that may lie around `train/`.
const MOST_OUTER: usize = 2;

fn open(path: &Path) -> Result<Option<Parts>> {
    let Some(compressed) = kind(path).filter(|_| path.is_file()) else {
        return Ok(None);
    };
    let archive = Archive::read(path)?;
    let mut first: Option<Result<Splits<At>>> = None;
    let mut folders = vec![At::default()];
    for _ in 0..=MOST_OUTER {
        for folder in &folders {
            match layout::open(&archive, folder) {
                Ok(Some(splits)) if splits.test.is_ok() => {
                    return parts(&archive, splits, compressed).map(Some);
                }
                // A whole set may lie deeper.
                found => first = first.or(found.transpose()),
            }
        }
        folders = folders.iter().flat_map(|folder| archive.folders(folder)).collect();
    }
    first.map(|splits| parts(&archive, splits?, compressed)).transpose()
}

/// Class folders without splits, perhaps below one or two folders more.
pub(super) fn flat(path: &Path) -> Result<Option<Parts>> {
    let Some(compressed) = kind(path).filter(|_| path.is_file()) else {
        return Ok(None);
    };
    let archive = Archive::read(path)?;
    let Some((train, missing)) = layout::flat(&archive, &At::default())? else {
        return Ok(None);
    };
    parts(&archive, Splits { train, test: Err(missing), validation: None }, compressed).map(Some)
}

fn parts(archive: &Archive, splits: Splits<At>, compressed: bool) -> Result<Parts> {
    let split = |listed| stored(archive, listed, compressed);
    let train = split(splits.train)?.with_notes(archive.notes.clone());
    let (test, validation) =
        (splits.test.and_then(split), splits.validation.map(|listed| listed.and_then(split)));
    Ok(Parts { train, test, validation, known: None })
}

/// Images in the order in which the unpacked folder has them, where the archive can be read in any order.
fn stored(archive: &Archive, split: Listed<At>, compressed: bool) -> Result<Stored> {
    let mut found: Vec<_> = split
        .images
        .iter()
        .zip(split.labels)
        .filter_map(|(at, label)| Some((archive.item(at)?, label)))
        .collect();
    if compressed {
        found.sort_by_key(|(item, _)| item.offset);
    }
    let (items, labels): (Vec<_>, Vec<i64>) = found.into_iter().unzip();
    let packed = Arc::new(Packed { archives: vec![archive.path().into()], items });
    let images = if compressed { Images::Ordered(packed) } else { Images::Random(packed) };
    Ok(Stored::new(split.place, split.classes, labels, images)?.with_notes(split.notes))
}
