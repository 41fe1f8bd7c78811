//! Image folders: `train/` and `test/` (or `val/`, `validation/`), one subfolder per class.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::decode::MAX_FILE;
use super::super::stored::{Content, Images, ReadAt, Stored};
use super::{Format, Pair};
use crate::{Error, Result};

/// See the module.
pub(super) const FORMAT: Format = Format {
    name: "image folder",
    layout: "a folder with `train/` and `test/` (or `val/`, `validation/`), one subfolder of images per class",
    open,
};

/// Names of the folder with the test images; the first that has class folders is used.
pub(super) const TEST: [&str; 3] = ["test", "val", "validation"];
/// What file managers leave beside images.
pub(super) const LEFT_BEHIND: [&str; 2] = ["Thumbs.db", "desktop.ini"];
/// How deep images may lie below their class folder; ends loops of links.
const DEPTH: usize = 8;

/// The folders of the two splits.
struct Layout {
    train: PathBuf,
    test: PathBuf,
}

/// Whether `root` is an image folder; an error when it is one with a split missing.
fn detect(root: &Path) -> Result<Option<Layout>> {
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

fn open(path: &Path) -> Result<Option<Pair>> {
    let Some(layout) = detect(path)? else {
        return Ok(None);
    };
    let (train, test) = (Split::list(&layout.train)?, Split::list(&layout.test)?);
    same_classes(&train, &test)?;
    Ok(Some(Pair { train: train.stored()?, test: test.stored()?, known: None, notes: Vec::new() }))
}

/// The files of a split and their classes.
pub(super) struct Split {
    place: String,
    classes: Vec<String>,
    files: Vec<PathBuf>,
    labels: Vec<usize>,
}

impl Split {
    /// All files of the class folders in `root`.
    ///
    /// # Errors
    /// When a class has none.
    pub fn list(root: &Path) -> Result<Self> {
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

    /// The split; images are read when needed.
    ///
    /// # Errors
    /// More classes than labels can number.
    pub fn stored(self) -> Result<Stored> {
        let labels = self.labels.into_iter().map(|l| l as i64);
        Stored::new(self.place, self.classes, labels, Images::Random(Arc::new(Files(self.files))))
    }
}

/// Images that are a file each.
pub(in crate::data) struct Files(pub Vec<PathBuf>);

impl ReadAt for Files {
    fn name(&self, index: usize) -> String {
        self.0.get(index).map_or_else(String::new, |path| path.display().to_string())
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> std::result::Result<Content, String> {
        let path = self.0.get(index).ok_or("no such image")?;
        let mut file = File::open(path).map_err(|e| e.to_string())?;
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
pub(super) fn class_folders(root: &Path) -> Result<Vec<(String, PathBuf)>> {
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
        } else if !LEFT_BEHIND.contains(&name.as_str()) {
            files.push(path);
        }
    }
    Ok(())
}

/// Entries of a folder, without hidden ones, in no order.
pub(in crate::data) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
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
