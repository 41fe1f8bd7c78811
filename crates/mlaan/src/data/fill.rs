//! Makes batches: which images, and how they are changed.

use mlaan_engine::ops::draw;
use rayon::prelude::*;

use super::augment::Scratch;
use super::batch::{Batch, Deliver};
use super::extras::mix;
use super::memory::label_error;
use super::sampler::image;
use super::{Augment, Dataset, Extras, Frame, ImageView};
use crate::{Error, Result};

/// What a [`Loader`](super::Loader) delivers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoaderOptions {
    /// Images per batch; the last batch of an epoch may have fewer.
    pub batch: usize,
    /// The size of the images delivered, and what is seen of larger and smaller ones.
    pub frame: Frame,
    /// What is made on the host.
    pub deliver: Deliver,
    /// Random changes.
    pub augment: Augment,
    /// More of them; only of images made on the host.
    pub extras: Extras,
    /// Whether the order is drawn from `(seed, epoch)`; otherwise it is that of the set.
    pub shuffle: bool,
    /// Whether a shuffled epoch draws its images with replacement, each class as often as any other, instead of showing each
    /// image once.
    pub balanced: bool,
    /// The run's seed.
    pub seed: u64,
    /// The epoch, which chooses the order and the augmentation.
    pub epoch: usize,
    /// Batches to leave out at the start, when a run resumes within an epoch.
    pub first_batch: usize,
}

impl LoaderOptions {
    /// What an evaluation sees: every image in the set's order, nothing random.
    pub fn evaluation(batch: usize, frame: Frame) -> Self {
        LoaderOptions {
            batch,
            frame,
            deliver: Deliver::Images,
            augment: Augment::None,
            extras: Extras::default(),
            shuffle: false,
            balanced: false,
            seed: 0,
            epoch: 0,
            first_batch: 0,
        }
    }
}

thread_local! {
    /// Work space of a worker: what a data set decodes into, and the augmentation's.
    static WORK: std::cell::RefCell<(Vec<u8>, Scratch)> = std::cell::RefCell::default();
}

/// Makes the batch of `samples` ([`sampler`](super::sampler)), on the current pool.
pub(super) fn fill(
    batch: &mut Batch,
    data: &dyn Dataset,
    samples: &[usize],
    options: &LoaderOptions,
) -> Result<()> {
    batch.indices.clear();
    batch.indices.extend(samples.iter().map(|&sample| image(sample, data)));
    batch.labels.clear();
    for &index in &batch.indices {
        let label = data.label(index);
        if label >= data.classes().len() {
            let place = format!("image {index}");
            return Err(label_error(&place, label as i64, data.classes().len()));
        }
        batch.labels.push(label as u32);
    }
    batch.draws.clear();
    batch.other.clear();
    batch.shares.clear();
    match options.deliver {
        Deliver::Images => {
            fill_images(batch, data, samples, options)?;
            mix(batch, samples, options.frame.size, &options.extras, (options.seed, options.epoch));
            Ok(())
        }
        Deliver::Draws => {
            batch.bytes.clear();
            batch.draws.reserve_exact(options.batch * draw::COLUMNS);
            for (&sample, &index) in samples.iter().zip(&batch.indices) {
                let mut row = options.augment.draw((options.seed, options.epoch, sample));
                row[draw::INDEX] = index as u32;
                batch.draws.extend(row);
            }
            Ok(())
        }
    }
}

/// Whether the numbers of draws can name every image.
pub(super) fn numbered(data: &dyn Dataset) -> bool {
    u32::try_from(data.len()).is_ok()
}

/// Makes the images of `samples`, on the current pool.
fn fill_images(
    batch: &mut Batch,
    data: &dyn Dataset,
    samples: &[usize],
    options: &LoaderOptions,
) -> Result<()> {
    let image_bytes = options.frame.bytes();
    // Room for a full batch, so that a short last batch does not make the next one allocate.
    let full = options.batch * image_bytes;
    batch.bytes.reserve_exact(full.saturating_sub(batch.bytes.len()));
    batch.bytes.resize(samples.len() * image_bytes, 0);
    let images = batch.bytes.par_chunks_exact_mut(image_bytes);
    images.zip(samples).try_for_each(|(out, &sample)| {
        let index = image(sample, data);
        // Taken out rather than borrowed: a data set that itself uses rayon may come back here.
        let (mut decoded, mut scratch) = WORK.take();
        let found = data.image(index, &mut decoded).and_then(|image| checked(image, index));
        let found = found.map(|image| {
            let draw = (options.seed, options.epoch, sample);
            options.augment.apply(image, options.frame, draw, out, &mut scratch);
            options.extras.apply(out, options.frame.size, draw);
        });
        WORK.set((decoded, scratch));
        found
    })
}

/// Data sets from outside may hand out views that do not fit together.
fn checked(image: ImageView<'_>, index: usize) -> Result<ImageView<'_>> {
    let (h, w, n) = (image.height, image.width, image.rgb.len());
    if n == 0 || h.checked_mul(w).and_then(|p| p.checked_mul(3)) != Some(n) {
        let message = format!("{w}x{h} RGB with {n} bytes: the bytes must be height * width * 3, above 0");
        return Err(Error::data(format!("image {index}"), message));
    }
    Ok(image)
}
