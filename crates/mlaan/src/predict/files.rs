//! Image files to classify: found, and read when their turn comes.

use crate::data::{
    Dataset, ImageView, Notes, Orientation, files_below, is_image, read_with_orientation, spread,
};
use crate::files;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How deep images may lie below a folder.
const DEPTH: usize = 32;
/// Files whose sizes are looked at.
const SAMPLE: usize = 16;

/// Files named by `paths`: a file stands for itself, whatever it is called, a folder for all images in and below it, as a
/// data set's class folder does, sorted. With what in folders is no image. Links are followed, but no folder is visited twice.
///
/// # Errors
/// A path that does not exist, a folder that cannot be read or has no image.
pub fn find(paths: &[PathBuf]) -> Result<(Vec<PathBuf>, Notes)> {
    let (mut found, mut notes) = (Vec::new(), Notes::default());
    for path in paths {
        if !path.is_dir() {
            // A file that is missing is one more that cannot be read, and stops nothing.
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        let mut skipped = Notes::default();
        files_below(path, DEPTH, (&mut found, &mut skipped))?;
        if found.len() == before {
            let lines: Vec<String> = skipped.lines().into_iter().map(|line| format!("; {line}")).collect();
            let endings = is_image::ENDINGS.join(", ");
            let message = format!("there is no image in or below this folder ({endings}){}", lines.concat());
            return Err(Error::data(path.display().to_string(), message));
        }
        notes.append(skipped);
    }
    Ok((found, notes))
}

/// Bytes that reading a file takes, with the image that is made of it: of the largest files and of a few others.
pub(super) fn work_bytes(paths: &[PathBuf]) -> usize {
    let mut by_size: Vec<(u64, &PathBuf)> =
        paths.iter().map(|path| (std::fs::metadata(path).map_or(0, |m| m.len()), path)).collect();
    by_size.sort_unstable_by(|a, b| b.cmp(a));
    let largest = by_size.into_iter().take(SAMPLE).map(|(_, path)| path);
    let bytes = largest.chain(spread(paths, SAMPLE)).filter_map(|path| {
        let encoded = files::read(path, files::IMAGE).ok()?;
        crate::data::work_bytes(&encoded)
    });
    bytes.max().unwrap_or(0)
}

/// Files as a set without labels.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    classes: Vec<String>,
    short_side: usize,
    orientation: Orientation,
    /// Why some are no images.
    failures: Mutex<BTreeMap<usize, String>>,
    /// Those whose orientation was ignored.
    ignored: Mutex<BTreeSet<usize>>,
}

impl Files {
    pub(super) fn new(
        paths: Vec<PathBuf>,
        classes: Vec<String>,
        short_side: usize,
        orientation: Orientation,
    ) -> Self {
        Files {
            paths,
            classes,
            short_side,
            orientation,
            failures: Mutex::default(),
            ignored: Mutex::default(),
        }
    }

    pub(super) fn path(&self, index: usize) -> &Path {
        self.paths.get(index).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Why the file is no image.
    pub(super) fn failure(&self, index: usize) -> Option<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned()
    }

    /// Whether the image has an orientation that was ignored.
    pub(super) fn ignored(&self, index: usize) -> bool {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner).contains(&index)
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
        let (height, width) = match read_with_orientation(self.path(index), self.short_side, self.orientation)
        {
            Ok((image, ignored)) => {
                if ignored {
                    self.ignored.lock().unwrap_or_else(PoisonError::into_inner).insert(index);
                }
                *scratch = image.rgb;
                (image.height, image.width)
            }
            Err(e) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let message = match e {
                    // The caller knows the place.
                    Error::Data { message, .. } => message,
                    Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
                        "there is no such file".into()
                    }
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
