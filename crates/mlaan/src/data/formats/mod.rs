//! The forms that data sets come in. A format is recognised by what lies at a path, and gives two [`Stored`] splits;
//! where their images then live is not its concern.

mod cifar;
pub(super) mod folder;
mod idx;
mod imagenet;
mod mat;
mod members;
mod names;
mod packed;
mod parquet;
mod records;
mod stl10;
mod svhn;
mod tar_folder;
mod webdataset;

use std::path::{Path, PathBuf};

use super::Known;
use super::stored::Stored;
use crate::Result;

/// A form that data sets come in.
pub(super) struct Format {
    /// What it is called.
    pub name: &'static str,
    /// How it looks on disk, for who looks for a mistake.
    pub layout: &'static str,
    /// The set at a path; `None` where there is none of this format.
    pub open: fn(&Path) -> Result<Option<Pair>>,
}

/// A set as it lies on disk. Both splits have the same classes.
pub(super) struct Pair {
    /// Training images.
    pub train: Stored,
    /// Test images.
    pub test: Stored,
    /// Which of the known sets it is, where the format says so.
    pub known: Option<Known>,
    /// What is to be said of how it was read.
    pub notes: Vec<String>,
}

/// What the form of MNIST's files is called.
pub(super) const MNIST: &str = idx::FORMAT.name;

/// All of them; the first that recognises a path reads it.
pub(super) const FORMATS: &[Format] = &[
    parquet::FORMAT,
    webdataset::FORMAT,
    imagenet::FORMAT,
    folder::FORMAT,
    cifar::BINARY,
    cifar::PYTHON,
    stl10::FORMAT,
    svhn::FORMAT,
    idx::FORMAT,
    tar_folder::FORMAT,
];

/// The set at `path`, and its format.
///
/// # Errors
/// When a format recognises it, and finds something wrong.
pub(super) fn open(path: &Path) -> Result<Option<(&'static Format, Pair)>> {
    let found = open_itself(path)?;
    match only_archive(path) {
        Some(archive) if found.is_none() => open_itself(&archive),
        _ => Ok(found),
    }
}

/// The archive in a folder, where there is one only: what a download leaves.
fn only_archive(path: &Path) -> Option<PathBuf> {
    let files = if path.is_dir() { folder::entries(path).ok()? } else { Vec::new() };
    let mut archives = files.into_iter().map(|(_, path)| path).filter(|path| packed::kind(path).is_some());
    archives.next().filter(|_| archives.next().is_none())
}

fn open_itself(path: &Path) -> Result<Option<(&'static Format, Pair)>> {
    for format in FORMATS {
        if let Some(pair) = (format.open)(path)? {
            return Ok(Some((format, pair)));
        }
    }
    Ok(None)
}
