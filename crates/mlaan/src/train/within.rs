//! Runs within a given memory, and what a run's memory depends on.

use super::{Trainer, setup};
use crate::backbone::{Backbone, Frozen};
use crate::data::Source;
use crate::data::{LoaderPool, Splits};
use crate::local::Task;
use crate::nn::Extent;
use crate::plan::search::{Fit, Learning, Request, candidates, search};
use crate::plan::{Sizes, in_flight};
use crate::recipe::{MeanStd, Recipe};
use crate::{Error, Result};
use mlaan_engine::Device;

impl Trainer {
    /// As [`Trainer::from_recipe`], in at most `memory` bytes, images included: the recipe as it is where it fits, else
    /// with recomputation, else with activations in bf16, else with a smaller batch as well. Says what was chosen. The
    /// method stays the recipe's.
    ///
    /// # Errors
    /// When nothing fits: says the least memory that would do. As [`Trainer::from_recipe`].
    pub fn from_recipe_within(recipe: &Recipe, device: &Device, memory: usize) -> Result<(Self, Fit)> {
        recipe.validate()?;
        let backbone = setup::backbone(&recipe.model)?;
        let splits = setup::open(recipe, device.threads())?;
        Self::within(recipe, &backbone, splits, device, memory)
    }

    /// As [`Trainer::new`], within `memory` bytes (see [`Trainer::from_recipe_within`]).
    ///
    /// # Errors
    /// As [`Trainer::from_recipe_within`].
    pub fn within(
        recipe: &Recipe,
        backbone: &dyn Backbone,
        splits: Splits,
        device: &Device,
        memory: usize,
    ) -> Result<(Self, Fit)> {
        let normalise = setup::normalisation(&recipe.data, &splits)?;
        let frozen = Frozen::new(backbone, &recipe.train.freeze);
        let request = Request {
            backbone: &frozen,
            method: &recipe.local,
            task: task(recipe, &splits, &normalise),
            batch: recipe.train.batch,
            sizes: &|batch| sizes(recipe, &splits, std::slice::from_ref(device), batch),
            memory,
        };
        let own: Vec<_> =
            candidates(&request).into_iter().filter(|c| c.learning == Learning::Recipe).collect();
        let found = search(&request, &own)?.into_iter().next();
        let fit = found.ok_or_else(|| Error::recipe("local", "no settings to choose from"))?;
        let mut chosen = recipe.clone();
        (chosen.local, chosen.train.batch) = (fit.candidate.method.clone(), fit.batch);
        chosen.train.precision = fit.candidate.precision.into();
        Ok((Self::new(&chosen, backbone, splits, device)?, fit))
    }
}

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
        kind: device.kind(),
    }
}
