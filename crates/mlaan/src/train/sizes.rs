//! What a run's memory depends on.

use super::setup;
use crate::data::{BatchSource, LoaderPool, Splits};
use crate::local::Task;
use crate::nn::ImageShape;
use crate::plan::{Sizes, in_flight};
use crate::recipe::{MeanStd, Recipe};
use mlaan_engine::{Device, DeviceKind};

/// What is learnt from the images.
pub(super) fn task(recipe: &Recipe, splits: &Splits, normalise: &MeanStd) -> Task {
    let (size, classes) = (recipe.data.size, splits.train.classes().len());
    Task { image: ImageShape::square(size, 3), classes, pixels: setup::pixel_scale(normalise) }
}

/// Bytes of the images.
pub(super) fn resident(splits: &Splits) -> usize {
    splits.all().map(|data| data.resident_bytes()).sum()
}

/// Bytes that the images take at one moment while they are loaded.
pub fn loading(splits: &Splits) -> usize {
    resident(splits) + splits.all().map(|data| data.loading_bytes()).max().unwrap_or(0)
}

/// What the memory of a recipe's steps depends on, without its images.
pub fn step_sizes(recipe: &Recipe, batch: usize, kind: DeviceKind) -> Sizes {
    let train = &recipe.train;
    Sizes {
        precision: train.precision.into(),
        shards: train.shards_used(),
        model_ema: train.model_ema_decay.is_some(),
        ..Sizes::of_steps(batch, setup::optimizer(train), kind)
    }
}

/// What memory depends on, with batches of `batch` images, in a stage on each of `devices`, which may be dry ones.
pub fn sizes(recipe: &Recipe, splits: &Splits, devices: &[Device], batch: usize) -> Sizes {
    sizes_of(recipe, splits, (devices, devices.len()), batch)
}

/// As [`sizes`], the stages of other processes counted.
pub(super) fn sizes_of(
    recipe: &Recipe,
    splits: &Splits,
    (devices, stages): (&[Device], usize),
    batch: usize,
) -> Sizes {
    let kind = devices.first().map_or(DeviceKind::Cpu { threads: None }, Device::kind);
    let ahead = LoaderPool::AHEAD + in_flight(stages);
    let (train, test, size) = (splits.train.len(), splits.test.len(), recipe.data.size);
    let (augment, extras) = (setup::augmentation(&recipe.data, Some(splits)), recipe.data.extras());
    let keeps = |a| BatchSource::keeps(kind, splits.train.as_ref(), (&a, &extras), size);
    let validation = splits.validation.as_ref().map(|data| data.len());
    // What is evaluated after every epoch.
    let held = splits.validation.as_ref().unwrap_or(&splits.test);
    // What lies on a device cannot be sent to other ranks, which only decoders ask for.
    let sent = stages > devices.len() && recipe.local.reconstruct.iter().any(|&l| l > 0.0);
    let (kept, mixed) = (!sent && augment.is_ok_and(keeps), extras.mixes());
    let kept_test = kept && BatchSource::keeps_test(kind, [splits.train.as_ref(), held.as_ref()], size);
    // No batch is larger than the set that it is taken from.
    let made = |images: usize, mixed| LoaderPool::bytes(ahead, batch.min(images), size, mixed);
    let drawn = |images: usize| LoaderPool::draw_bytes(ahead, batch.min(images));
    // The buffers of training also serve the evaluation, those of draws beside its images.
    let (held, at_the_end) = (held.len(), validation.map(|_| test));
    let from_host = at_the_end.into_iter().chain((!kept_test).then_some(held)).max();
    let buffers = match kept {
        true => {
            let kept = if kept_test { train.max(held) } else { train };
            drawn(kept) + from_host.map_or(0, |images| made(images, false))
        }
        false => made(train.max(held).max(test), mixed),
    };
    let threads = setup::loader_threads_of(devices, splits.train.as_ref());
    let work = threads * splits.all().map(|data| data.work_bytes()).max().unwrap_or(0);
    Sizes {
        train: Some(train),
        kept,
        kept_test,
        mixed,
        test: Some(test),
        validation,
        data_bytes: resident(splits) + buffers + work,
        loading_bytes: loading(splits),
        ..step_sizes(recipe, batch, kind)
    }
}
