//! What a data set is called, and how it is read.

use super::Orientation;

/// The name of the built-in set.
pub const BUILTIN: &str = "builtin";

/// How a data set is read.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOptions {
    /// Keep at most so many training images and at most so many test images. Of each class as many as of
    /// the others, as far as there are; which ones depends on `seed` alone (the built-in set keeps its
    /// first ones). Only these are decoded, so a small limit is quick.
    pub limit: Option<usize>,
    /// The share of the training images that is held out to validate on, where the set has no validation split beside its
    /// test split: of those that would train without it, behind `limit` and `test`; stratified, as scikit-learn's
    /// `train_test_split` does it. Which ones depends on `seed`. `Some(0.0)` also does without the set's own.
    pub validation: Option<f64>,
    /// The share of every class that is held out to test on, where the set has no test split, or no splits at all: rounded,
    /// but at least one image and not all; whatever the seed.
    pub test: Option<f64>,
    /// Where images live.
    pub load: Load,
    /// Scale larger images in memory down so that their shorter side has so many pixels; 0 keeps every size.
    pub short_side: usize,
    /// Whether pictures are turned as their EXIF orientation says.
    pub orientation: Orientation,
    /// Leave broken images out (and count them) instead of stopping.
    pub skip_broken: bool,
    /// Of which images in memory it is remembered what they are called ([`Dataset::image_name`](super::Dataset::image_name));
    /// those on disk are known by their names anyway.
    pub names: Names,
    /// Chooses the images that `limit` keeps and those that `validation` holds out.
    pub seed: u64,
    /// Threads that decode; 0 for one per core.
    pub threads: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            limit: None,
            validation: None,
            test: None,
            load: Load::Auto,
            short_side: 256,
            orientation: Orientation::Auto,
            skip_broken: false,
            names: Names::None,
            seed: 0,
            threads: 0,
        }
    }
}

/// Which images are remembered by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// None.
    #[default]
    None,
    /// Test images, which a run lists among its mistakes.
    Test,
    /// All.
    All,
}

/// Where images live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// In memory where both splits need at most [`Load::MOST`] bytes, else on disk.
    #[default]
    Auto,
    /// Decoded once, scaled down to [`OpenOptions::short_side`].
    Memory,
    /// On disk: decoded when they are needed, in their own size.
    Stream,
}

impl Load {
    /// Bytes of decoded images that `auto` keeps in memory, at the most.
    pub const MOST: u64 = 2 << 30;

    /// Images whose sizes are looked at, to know how many bytes all would need.
    pub(super) const SAMPLE: usize = 64;
}
