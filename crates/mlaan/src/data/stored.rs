//! A split as it lies on disk: what every format gives, and what memory and streams are made from.

use std::sync::Arc;

use super::memory::label_error;
use super::notes::Notes;
use super::told_apart;
use crate::Result;

/// One split: its labels are known, its images are read when they are needed.
pub(super) struct Stored {
    /// What messages call the split: its folder or file.
    pub place: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The label of every image, below the number of classes.
    pub labels: Vec<u32>,
    /// The images.
    pub images: Images,
    /// What is to be said of it.
    pub notes: Notes,
}

/// How the images of a split can be read.
pub(super) enum Images {
    /// Each by itself, in any order and by any thread.
    Random(Arc<dyn ReadAt>),
    /// Only one after the other without great cost: compressed files.
    Ordered(Arc<dyn Scan>),
}

/// Images that can be read in any order.
pub(super) trait ReadAt: Send + Sync {
    /// How messages name an image: its file, with row or offset where the file holds several.
    fn name(&self, index: usize) -> String;
    /// Reads an image; `bytes` is cleared first.
    ///
    /// # Errors
    /// What is wrong, without the image's name.
    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> std::result::Result<Content, String>;
}

/// Images that are read in order.
pub(super) trait Scan: Send + Sync {
    /// How messages name an image.
    fn name(&self, index: usize) -> String;
    /// Bytes that reading took so far beside the images, at the most.
    fn work_bytes(&self) -> usize {
        0
    }
    /// Reads the images `indices` (ascending) and hands them to `each` in that order, at most [`CHUNK`] at a time,
    /// and about [`CHUNK_BYTES`].
    ///
    /// # Errors
    /// When the files are damaged beyond single images; from `each`.
    fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()>;
}

/// Images that lie in memory at a time, encoded or decoded, before they are put in place.
pub(super) const CHUNK: usize = 128;
/// Bytes of them, encoded, but for the last few images: photographs may have many megabytes each.
pub(super) const CHUNK_BYTES: usize = 64 << 20;

/// What the bytes of an image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A file of any format that is read.
    Encoded,
    /// `height * width * 3` bytes, row by row.
    Rgb {
        /// Pixels per column.
        height: usize,
        /// Pixels per row.
        width: usize,
    },
}

/// An image as it was read.
pub(super) struct Raw {
    /// Which one of the split.
    pub index: usize,
    /// What it is, or why it cannot be read.
    pub content: std::result::Result<Content, String>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Stored {
    /// A split whose labels are checked; `name` says which image has a wrong one. Classes that would look the same are told apart.
    ///
    /// # Errors
    /// A label that names no class; more classes than labels can number.
    pub fn new(
        place: impl Into<String>,
        classes: Vec<String>,
        labels: impl IntoIterator<Item = i64>,
        images: Images,
    ) -> Result<Self> {
        let checked = |(index, label): (usize, i64)| {
            let valid = u32::try_from(label).ok().filter(|l| (*l as usize) < classes.len());
            valid.ok_or_else(|| label_error(&images.name(index), label, classes.len()))
        };
        let labels = labels.into_iter().enumerate().map(checked).collect::<Result<_>>()?;
        let classes = told_apart(classes);
        Ok(Stored { place: place.into(), classes, labels, images, notes: Notes::default() })
    }

    /// The split, of which more is to be said.
    pub fn with_notes(mut self, notes: Notes) -> Self {
        self.notes.append(notes);
        self
    }
}

impl Images {
    /// How messages name an image.
    pub fn name(&self, index: usize) -> String {
        match self {
            Images::Random(images) => images.name(index),
            Images::Ordered(images) => images.name(index),
        }
    }
}
