//! One batch: its images, or which parts of images a device shows.

/// Images and labels of one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// `n * size * size * 3` bytes: images, rows, columns, channels. None where the device has the images.
    pub bytes: Vec<u8>,
    /// `n * 4` numbers, columns of [`draw`](mlaan_engine::ops::draw), where the device has the images; else none.
    pub draws: Vec<u32>,
    /// `n` labels.
    pub labels: Vec<u32>,
    /// Which image of the set each one is.
    pub indices: Vec<usize>,
    /// `n` labels of the images mixed into these, where they are mixtures ([`Extras::mixes`](super::Extras::mixes)); else none.
    pub other: Vec<u32>,
    /// With `other`: how much of an image is its own, from a half to 1.
    pub shares: Vec<f32>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// What batches hold of their images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// The images themselves.
    Images,
    /// Which part of which image each one is, for a device that has the whole set.
    Draws,
}
