//! Image folders: `train/` and `test/` (or `val/`, `valid/`, `validation/`), one subfolder per class.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::decode::MAX_FILE;
use super::super::stored::{Content, Images, ReadAt, Stored};
use super::class_names::readable;
use super::layout::{self, Splits};
use super::listed::Listed;
use super::tree::{Disk, left_behind};
use super::{Format, Parts};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "image folder",
    layout: "a folder with `train/` and `test/` (or `val/`, `valid/`, `validation/`; also `seg_train/`, `test_set/` and the like), one \
             subfolder of images per class",
    open,
};

fn open(path: &Path) -> Result<Option<Parts>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let Some(Splits { train, test, validation }) = layout::open(&Disk, &path.to_path_buf())? else {
        return Ok(None);
    };
    let train = stored(train)?;
    let (test, validation) = (test.and_then(stored), validation.map(|split| split.and_then(stored)));
    Ok(Some(Parts { train, test, validation, known: None }))
}

/// Class folders without splits.
pub(super) fn flat(path: &Path) -> Result<Option<Parts>> {
    let found = if path.is_dir() { layout::flat(&Disk, &path.to_path_buf())? } else { None };
    let Some((train, missing)) = found else {
        return Ok(None);
    };
    Ok(Some(Parts { train: stored(train)?, test: Err(missing), validation: None, known: None }))
}

/// A split; its images are read when needed.
///
/// # Errors
/// More classes than labels can number.
pub(super) fn stored(split: Listed<PathBuf>) -> Result<Stored> {
    let images = Images::Random(Arc::new(Files(split.images)));
    Ok(Stored::new(split.place, split.classes, split.labels, images)?.with_notes(split.notes))
}

/// Images that are a file each.
pub(in crate::data) struct Files(pub Vec<PathBuf>);

impl ReadAt for Files {
    fn name(&self, index: usize) -> String {
        self.0.get(index).map_or_else(String::new, |path| path.display().to_string())
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> std::result::Result<Content, String> {
        let path = self.0.get(index).ok_or("no such image")?;
        let mut file = crate::files::open(path).map_err(|e| e.to_string())?;
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        if size > MAX_FILE {
            return Err(format!("{} MiB is too large for an image file", size >> 20));
        }
        bytes.clear();
        bytes.reserve(size as usize);
        file.by_ref().take(MAX_FILE).read_to_end(bytes).map_err(|e| e.to_string())?;
        Ok(Content::Encoded)
    }
}

/// Subfolders with their names, sorted; hidden ones do not count.
pub(super) fn class_folders(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut folders: Vec<_> = entries(root)?.into_iter().filter(|(_, p)| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// Entries of a folder, without hidden ones and what systems leave behind, in no order.
pub(in crate::data) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = readable(entry.file_name().as_encoded_bytes());
        if !left_behind(&name) {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}
