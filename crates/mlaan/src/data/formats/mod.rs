//! The forms that data sets come in. A format is recognised by what lies at a path, and gives two [`Stored`] splits;
//! where their images then live is not its concern.

mod archive;
mod beside;
mod blocks;
mod cifar;
pub(super) mod class_names;
mod enclosed;
mod file_names;
pub(super) mod folder;
mod format;
mod idx;
mod imagenet;
mod layout;
mod listed;
mod mat;
mod members;
mod meta_mat;
mod names;
mod packed;
mod parquet;
mod records;
mod sparse;
pub(super) mod split_folders;
pub(super) mod splits;
mod stl10;
mod svhn;
mod synset;
mod tar_folder;
pub(super) mod tree;
mod unpacked;
mod val_annotations;
pub(super) mod webdataset;

use std::path::{Path, PathBuf};

use super::Orientation;
use crate::Result;
use tree::Disk;

pub(super) use format::{Format, Parts};
pub(super) use names::from_one;

/// What the form of MNIST's files is called.
pub(super) const MNIST: &str = idx::FORMAT.name;

/// Where images lie in class folders, these formats go first: what was unpacked counts, not the archives that are left beside it.
const OF_FOLDERS: [&str; 2] = [imagenet::FORMAT.name, folder::FORMAT.name];

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
pub(super) fn open(path: &Path) -> Result<Option<(&'static Format, Parts)>> {
    let found = open_itself(path)?;
    match only_archive(path) {
        Some(archive) if found.is_none() => open_itself(&archive),
        _ => Ok(found),
    }
}

/// Class folders without splits at `path`, and the format that they would have with these.
///
/// # Errors
/// A class without images; what cannot be read.
pub(super) fn flat(path: &Path) -> Result<Option<(&'static Format, Parts)>> {
    if let Some(parts) = folder::flat(path)? {
        return Ok(Some((&folder::FORMAT, parts)));
    }
    let archive = only_archive(path);
    let parts = tar_folder::flat(archive.as_deref().unwrap_or(path))?;
    Ok(parts.map(|parts| (&tar_folder::FORMAT, parts)))
}

/// Whether images are turned, once a set is known. Pictures of one's own are as viewers show them; what is published,
/// ImageNet's classes in folders too, is as everybody else reads it.
pub(super) fn orientation(asked: Orientation, format: &Format, pair: &Parts) -> Orientation {
    let own = [folder::FORMAT.name, tar_folder::FORMAT.name, webdataset::FORMAT.name].contains(&format.name);
    let published = pair.known.is_some() || pair.train.classes.iter().all(|class| synset::is_synset(class));
    match asked {
        Orientation::Auto if own && !published => Orientation::Exif,
        Orientation::Auto => Orientation::Ignore,
        asked => asked,
    }
}

/// The archive in a folder, where there is one only: what a download leaves.
fn only_archive(path: &Path) -> Option<PathBuf> {
    let files = if path.is_dir() { folder::entries(path).ok()? } else { Vec::new() };
    let mut archives = files.into_iter().map(|(_, path)| path).filter(|path| packed::kind(path).is_some());
    archives.next().filter(|_| archives.next().is_none())
}

fn open_itself(path: &Path) -> Result<Option<(&'static Format, Parts)>> {
    let folders = imagenet::INSIDE.iter().any(|inside| layout::has_images(&Disk, &path.join(inside)));
    let of_folders = |format: &&Format| OF_FOLDERS.contains(&format.name);
    let first = FORMATS.iter().filter(|format| folders && of_folders(format));
    for format in first.chain(FORMATS.iter().filter(|format| !(folders && of_folders(format)))) {
        if let Some(pair) = (format.open)(path)? {
            return Ok(Some((format, pair)));
        }
    }
    Ok(None)
}
