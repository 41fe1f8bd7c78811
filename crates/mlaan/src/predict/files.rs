//! Image files to classify: found, and read when their turn comes.

use crate::data::{Dataset, IMAGE_ENDINGS, ImageView, Orientation, has_image_ending, read_image};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How deep images may lie below a folder; ends loops of links.
const DEPTH: usize = 32;

/// Files named by `paths`: a file stands for itself, whatever it is called, a folder for all images in and below it (by
/// their names, hidden ones apart), sorted.
///
/// # Errors
/// A path that does not exist, a folder that cannot be read or has no image.
pub fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            // A file that is missing is one more that cannot be read, and stops nothing.
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        below(path, DEPTH, &mut found)?;
        if found.len() == before {
            let message = format!("there is no image in or below this folder ({})", IMAGE_ENDINGS.join(", "));
            return Err(Error::data(path.display().to_string(), message));
        }
    }
    Ok(found)
}

fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        entries.push(entry.map_err(Error::io(folder))?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                below(&path, depth - 1, found)?;
            }
        } else if path.file_name().is_some_and(|name| has_image_ending(&name.to_string_lossy())) {
            found.push(path);
        }
    }
    Ok(())
}

/// Files as a set without labels.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    classes: Vec<String>,
    short_side: usize,
    orientation: Orientation,
    /// Why some are no images.
    failures: Mutex<BTreeMap<usize, String>>,
}

impl Files {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        classes: Vec<String>,
        short_side: usize,
        orientation: Orientation,
    ) -> Self {
        Files { paths, classes, short_side, orientation, failures: Mutex::default() }
    }

    pub(super) fn path(&self, index: usize) -> &Path {
        self.paths.get(index).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Why the file is no image.
    pub(super) fn failure(&self, index: usize) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }
}

impl Dataset for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, _: usize) -> usize {
        0
    }

    /// The image, or a black one in its place, so that the others of its batch can be classified.
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        let (height, width) = match read_image(self.path(index), self.short_side, self.orientation) {
            Ok(image) => {
                *scratch = image.rgb;
                (image.height, image.width)
            }
            Err(e) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let message = match e {
                    // The caller knows the place.
                    Error::Data { message, .. } => message,
                    Error::Io { source, .. } => source.to_string(),
                    other => other.to_string(),
                };
                failures.insert(index, message);
                *scratch = vec![0; 3];
                (1, 1)
            }
        };
        Ok(ImageView { height, width, rgb: scratch })
    }

    fn resident_bytes(&self) -> usize {
        0
    }
}
