//! Image folders: `train/` and `test/` (or `val/`, `validation/`), one subfolder per class.

use std::fs;
use std::path::{Path, PathBuf};

use super::collect::{Collector, Encoded};
use super::limit::choose;
use super::{Memory, OpenOptions};
use crate::{Error, Result};

/// Names of the folder with the test images; the first that has class folders is used.
const TEST: [&str; 3] = ["test", "val", "validation"];
/// Largest file read as an image.
const MAX_FILE: u64 = 1 << 30;
/// How deep images may lie below their class folder; ends loops of links.
const DEPTH: usize = 8;

/// The folders of the two splits.
pub(super) struct Layout {
    train: PathBuf,
    test: PathBuf,
}

/// Whether `root` is an image folder; an error when it is one with a split missing.
pub(super) fn detect(root: &Path) -> Result<Option<Layout>> {
    let with_classes = |name: &str| -> Result<Option<PathBuf>> {
        let path = root.join(name);
        Ok((path.is_dir() && !class_folders(&path)?.is_empty()).then_some(path))
    };
    let train = with_classes("train")?;
    let mut test = None;
    for name in TEST {
        if test.is_none() {
            test = with_classes(name)?;
        }
    }
    let missing = |found: &Path, wanted: &str| {
        let found = found.display();
        let message = format!(
            "found class folders in {found}, but none in {wanted}: an image folder needs both, with one subfolder per class"
        );
        Err(Error::data(root.display().to_string(), message))
    };
    match (train, test) {
        (Some(train), Some(test)) => Ok(Some(Layout { train, test })),
        (Some(train), None) => missing(&train, "`test/`, `val/` or `validation/`"),
        (None, Some(test)) => missing(&test, "`train/`"),
        (None, None) => Ok(None),
    }
}

/// Both splits, and how many images were skipped.
///
/// # Errors
/// When the splits' classes differ, a class has no image, or an image is broken (unless skipped).
pub(super) fn load(layout: &Layout, options: &OpenOptions) -> Result<(Memory, Memory, usize)> {
    let train = Split::list(&layout.train)?;
    let test = Split::list(&layout.test)?;
    same_classes(&train, &test)?;
    let (train, skipped) = train.decode(options, 0)?;
    let (test, more) = test.decode(options, 1)?;
    Ok((train, test, skipped + more))
}

struct Split {
    place: String,
    classes: Vec<String>,
    files: Vec<PathBuf>,
    labels: Vec<usize>,
}

impl Split {
    fn list(root: &Path) -> Result<Self> {
        let mut split = Split {
            place: root.display().to_string(),
            classes: Vec::new(),
            files: Vec::new(),
            labels: Vec::new(),
        };
        for (name, path) in class_folders(root)? {
            let before = split.files.len();
            list_files(&path, DEPTH, &mut split.files)?;
            if split.files.len() == before {
                let message = "this class folder has no files: add images or remove the folder";
                return Err(Error::data(path.display().to_string(), message));
            }
            split.labels.resize(split.files.len(), split.classes.len());
            split.classes.push(name);
        }
        Ok(split)
    }

    fn decode(self, options: &OpenOptions, split: u64) -> Result<(Memory, usize)> {
        let chosen = choose(&self.labels, options.limit, options.seed, split);
        let mut collector = Collector::new(self.classes, chosen.len(), options);
        let read = |&i: &usize| Encoded { bytes: read_file(&self.files[i]), label: self.labels[i] };
        collector.add(&chosen, read, |&i| self.files[i].display().to_string())?;
        collector.finish(&self.place)
    }
}

fn read_file(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("{} MiB is too large for an image file", size >> 20));
    }
    fs::read(path).map_err(|e| e.to_string())
}

fn same_classes(train: &Split, test: &Split) -> Result<()> {
    let missing = |from: &Split, of: &Split| {
        let lost = |c: &&String| !from.classes.contains(c);
        of.classes.iter().find(lost).map(|class| {
            let message = format!(
                "class folder `{class}` is in {} but not here: both splits need the same classes",
                of.place
            );
            Error::data(from.place.clone(), message)
        })
    };
    match missing(test, train).or_else(|| missing(train, test)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Subfolders with their names, sorted; hidden ones do not count.
fn class_folders(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut folders: Vec<_> = entries(root)?.into_iter().filter(|(_, p)| p.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

/// Appends all files below `folder`, sorted; hidden ones and what file managers leave do not count.
fn list_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut found = entries(folder)?;
    found.sort();
    for (name, path) in found {
        if path.is_dir() {
            if depth > 0 {
                list_files(&path, depth - 1, files)?;
            }
        } else if !["Thumbs.db", "desktop.ini"].contains(&name.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// Entries of a folder, without hidden ones, in no order.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}
