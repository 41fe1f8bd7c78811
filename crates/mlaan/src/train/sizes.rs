//! What a run's memory depends on.

use super::setup;
use crate::data::{LoaderPool, Source, Splits};
use crate::local::Task;
use crate::nn::Extent;
use crate::plan::{Sizes, in_flight};
use crate::recipe::{MeanStd, Recipe};
use mlaan_engine::Device;

/// What is learnt from the images.
pub(super) fn task(recipe: &Recipe, splits: &Splits, normalise: &MeanStd) -> Task {
    let (size, classes) = (recipe.data.size, splits.train.classes().len());
    Task { image: Extent::square(size, 3), classes, pixels: setup::pixel_scale(normalise) }
}

/// Bytes of the images.
pub(super) fn resident(splits: &Splits) -> usize {
    splits.train.resident_bytes() + splits.test.resident_bytes()
}

/// Bytes that the images take at one moment while they are loaded.
pub fn loading(splits: &Splits) -> usize {
    resident(splits) + splits.train.loading_bytes().max(splits.test.loading_bytes())
}

/// What memory depends on, with batches of `batch` images.
pub(super) fn sizes(recipe: &Recipe, splits: &Splits, devices: &[Device], batch: usize) -> Sizes {
    let device = &devices[0];
    let ahead = LoaderPool::AHEAD + in_flight(devices.len());
    let (train, test, size) = (splits.train.len(), splits.test.len(), recipe.data.size);
    let (augment, extras) = (setup::augmentation(&recipe.data, Some(splits)), recipe.data.extras());
    let keeps = |a| Source::keeps(device.kind(), splits.train.as_ref(), (&a, &extras), size);
    let (kept, mixed) = (augment.is_ok_and(keeps), extras.mixup.is_some());
    let kept_test =
        kept && Source::keeps_test(device.kind(), [splits.train.as_ref(), splits.test.as_ref()], size);
    // No batch is larger than the set that it is taken from.
    let made = |images: usize, mixed| LoaderPool::bytes(ahead, batch.min(images), size, mixed);
    let drawn = |images: usize| LoaderPool::draw_bytes(ahead, batch.min(images));
    // The buffers of training also serve the evaluation, those of draws beside its images.
    let buffers = match (kept, kept_test) {
        (true, true) => drawn(train.max(test)),
        (true, false) => made(test, false) + drawn(train),
        _ => made(train.max(test), mixed),
    };
    let threads = setup::loader_threads(device, splits.train.as_ref());
    let work = threads * splits.train.work_bytes().max(splits.test.work_bytes());
    Sizes {
        batch,
        train: Some(train),
        kept,
        kept_test,
        mixed,
        test: Some(test),
        data_bytes: resident(splits) + buffers + work,
        loading_bytes: loading(splits),
        precision: recipe.train.precision.into(),
        optimizer: setup::optimizer(&recipe.train),
        shards: recipe.train.shards_used(),
        model_ema: recipe.train.model_ema_decay.is_some(),
        kind: device.kind(),
    }
}
