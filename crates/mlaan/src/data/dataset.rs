//! What a data set is.

use std::sync::Arc;

use super::{Notes, Orientation};
use crate::Result;

/// One decoded image: RGB bytes, row by row, `height * width * 3` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageView<'a> {
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// `height * width * 3` bytes.
    pub rgb: &'a [u8],
}

/// One split of a labelled image set. Implement it to train on images of your own.
pub trait Dataset: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;
    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Names of the classes; labels index them.
    fn classes(&self) -> &[String];
    /// The label of image `index`, below `classes().len()`.
    fn label(&self, index: usize) -> usize;
    /// What image `index` is called: its file, or where in one it lies. None where the set does not know
    /// ([`OpenOptions::names`](super::OpenOptions::names)).
    fn image_name(&self, index: usize) -> Option<String> {
        let _ = index;
        None
    }
    /// The image, from memory or decoded into `scratch`.
    ///
    /// # Errors
    /// When the image cannot be read; names the file or row.
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>>;
    /// The side of the images and all their bytes, one image after the other, where all are squares of one size and lie
    /// in memory so. A device may then keep the whole set.
    fn whole(&self) -> Option<(usize, &[u8])> {
        None
    }
    /// Whether images are read and decoded each time.
    fn streams(&self) -> bool {
        false
    }
    /// Whether an image may be another one each time that it is asked for, as items of a program with random transforms.
    fn varies(&self) -> bool {
        false
    }
    /// Broken images so far in whose place another one stood.
    fn replaced(&self) -> usize {
        0
    }
    /// Bytes this set holds in memory, for the plan and the accountant.
    fn resident_bytes(&self) -> usize;
    /// Bytes that loading the set took at the most beside what stays in memory.
    fn loading_bytes(&self) -> usize {
        0
    }
    /// Bytes that every loading thread needs beside, about, to read an image.
    fn work_bytes(&self) -> usize {
        0
    }
}

/// A data set of the literature, recognised by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// CIFAR-10 (Krizhevsky 2009).
    Cifar10,
    /// CIFAR-100 (Krizhevsky 2009).
    Cifar100,
    /// SVHN, cropped digits (Netzer et al. 2011).
    Svhn,
    /// STL-10 (Coates et al. 2011).
    Stl10,
    /// ImageNet (Russakovsky et al. 2015).
    Imagenet,
}

/// A training and a test split, perhaps with one to validate on, all with the same classes.
#[derive(Clone)]
pub struct Splits {
    /// What the set is called in tables and metrics.
    pub name: String,
    /// The form it was in, for people.
    pub format: &'static str,
    /// Training images.
    pub train: Arc<dyn Dataset>,
    /// Validation images, where there are some: the best epoch is chosen on them.
    pub validation: Option<Arc<dyn Dataset>>,
    /// Test images.
    pub test: Arc<dyn Dataset>,
    /// Images skipped because they could not be decoded (`--skip-broken`).
    pub skipped: usize,
    /// Which set of the literature it is, where its form says so.
    pub known: Option<Known>,
    /// What was not read, and how the set was understood where that is not plain.
    pub notes: Notes,
    /// Whether its images were turned as their EXIF orientation says; never [`Orientation::Auto`] where that was to be
    /// decided.
    pub orientation: Orientation,
}

impl Splits {
    /// Every split.
    pub fn all(&self) -> impl Iterator<Item = &dyn Dataset> {
        [&self.train, &self.test].into_iter().chain(&self.validation).map(AsRef::as_ref)
    }
}
