//! Image files to classify: found, and read when their turn comes.

use crate::data::{Dataset, ImageView, dimensions, read_image, spread};
use crate::files::{self, Visited};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How deep images may lie below a folder.
const DEPTH: usize = 32;
/// Files whose sizes are looked at.
const SAMPLE: usize = 16;
/// What image files are called.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Files named by `paths`: a file stands for itself, whatever it is called, a folder for all images in and below it (by
/// their names, hidden ones apart), sorted. Links are followed, but no folder is visited twice.
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
        let images = Walk::of(path)?;
        if images.is_empty() {
            let message = format!("there is no image in or below this folder ({})", EXTENSIONS.join(", "));
            return Err(Error::data(path.display().to_string(), message));
        }
        found.extend(images);
    }
    Ok(found)
}

/// A walk through a folder.
struct Walk {
    visited: Visited,
    /// Links to folders and how deep it may go there: they wait, so that what lies here is found here.
    links: Vec<(PathBuf, usize)>,
    images: Vec<PathBuf>,
}

impl Walk {
    /// All images in and below `folder`, sorted.
    fn of(folder: &Path) -> Result<Vec<PathBuf>> {
        let visited = Visited::below(folder).map_err(Error::io(folder))?;
        let mut walk = Walk { visited, links: vec![(folder.to_owned(), DEPTH)], images: Vec::new() };
        while !walk.links.is_empty() {
            let mut links = std::mem::take(&mut walk.links);
            links.sort();
            links.iter().try_for_each(|(link, depth)| walk.below(link, *depth))?;
        }
        walk.images.sort();
        Ok(walk.images)
    }

    fn below(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if !self.visited.is_new(folder).map_err(Error::io(folder))? {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            let hidden = path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'));
            let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
            match path.is_dir() {
                _ if hidden => {}
                true if depth == 0 => {}
                true if path.is_symlink() => self.links.push((path, depth - 1)),
                true => self.below(&path, depth - 1)?,
                false if extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) => {
                    self.images.push(path)
                }
                false => {}
            }
        }
        Ok(())
    }
}

/// Bytes that reading a file takes: as stored and decoded, the largest of a fixed few.
pub(super) fn work_bytes(paths: &[PathBuf]) -> usize {
    let bytes = spread(paths, SAMPLE).filter_map(|path| {
        let encoded = files::read(path, files::IMAGE).ok()?;
        let (height, width) = dimensions(&encoded).ok()?;
        Some(encoded.len() + height * width * 3)
    });
    bytes.max().unwrap_or(0)
}

/// Files as a set without labels.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    classes: Vec<String>,
    short_side: usize,
    /// Why some are no images.
    failures: Mutex<BTreeMap<usize, String>>,
}

impl Files {
    pub(super) fn new(paths: Vec<PathBuf>, classes: Vec<String>, short_side: usize) -> Self {
        Files { paths, classes, short_side, failures: Mutex::default() }
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
        let (height, width) = match read_image(self.path(index), self.short_side) {
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
