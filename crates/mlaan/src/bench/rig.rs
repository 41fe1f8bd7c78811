//! Training steps of a recipe without its images.

use crate::data::Batch;
use crate::data::BatchSource;
use crate::local::{DatasetBatch, Learner, StepOptions, Task};
use crate::nn::ImageShape;
use crate::plan::{Sizes, balanced};
use crate::recipe::Recipe;
use crate::train::{setup, step_sizes};
use crate::{Device, Result};
use mlaan_engine::ops::PixelScale;
use std::sync::Arc;

/// Images larger than this are taken for ImageNet's, with a thousand classes.
const SMALL: usize = 96;

/// A network and one batch, from where a run has its images, to be trained on again and again.
pub(super) struct Rig {
    device: Device,
    learner: Learner,
    sources: Arc<Vec<BatchSource>>,
    /// None where nothing is computed.
    images: Option<Arc<Batch>>,
    options: StepOptions,
    batch: usize,
    task: Task,
}

impl Rig {
    pub(super) fn new(device: &Device, recipe: &Recipe) -> Result<Self> {
        let (size, batch) = (recipe.data.size, recipe.train.batch);
        let classes = if size > SMALL { 1000 } else { 10 };
        let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
        let task = Task { image: ImageShape::square(size, 3), classes, pixels };
        let backbone = setup::network(recipe)?;
        let sizes = Sizes { precision: device.precision(), ..step_sizes(recipe, batch, device.kind()) };
        let method = balanced(&backbone, &recipe.local, task, sizes)?;
        let mut learner = Learner::new(device, &backbone, &method, task, recipe.seed, sizes.optimizer)?;
        learner.cut_batches(sizes.shards)?;
        if let Some(decay) = recipe.train.model_ema_decay {
            learner.keep_average(decay)?;
        }
        // Small enough that values stay finite however long it runs.
        let options = StepOptions::uniform(1e-3, 1);
        let (source, images) = made_up(device, recipe, classes)?;
        let (sources, images) = (Arc::new(vec![source]), images.map(Arc::new));
        Ok(Rig { device: device.clone(), learner, sources, images, options, batch, task })
    }

    /// One training step, from bytes on the host to new parameters. Losses stay on a GPU until as many are there as fit.
    pub(super) fn step(&mut self) -> Result<()> {
        let Rig { learner, sources, images, options, batch, task, .. } = self;
        let (sources, batch) = (Arc::clone(sources), (images.clone(), *batch));
        let feed = DatasetBatch {
            sources,
            batch: batch.0,
            images: batch.1,
            size: task.image.height,
            scale: task.pixels,
        };
        learner.step_from(Arc::new(feed), options)?;
        options.step += 1;
        // As a run does.
        if learner.unread() == learner.deferrable() {
            learner.reports()?;
        }
        Ok(())
    }

    /// Steps after which their work repeats itself.
    pub(super) fn period(&self) -> usize {
        self.learner.period()
    }

    /// Steps between two readings of losses, at the most.
    pub(super) fn deferrable(&self) -> usize {
        self.learner.deferrable()
    }

    /// The batch classified as testing does it.
    pub(super) fn infer(&mut self) -> Result<()> {
        let Rig { device, learner, sources, images, batch, task, .. } = self;
        let input =
            sources[0].to_device(device, images.as_deref(), *batch, task.image.height, task.pixels)?;
        learner.infer(input.images).map(|_| ())
    }

    /// Waits until the steps so far are done.
    pub(super) fn synchronize(&self) -> Result<()> {
        Ok(self.device.synchronize()?)
    }

    pub(super) fn modules(&self) -> usize {
        self.learner.modules()
    }

    pub(super) fn classes(&self) -> usize {
        self.task.classes
    }
}

/// Pixels without meaning, every class in turn, from where a run has its images; no batch where nothing is computed.
fn made_up(device: &Device, recipe: &Recipe, classes: usize) -> Result<(BatchSource, Option<Batch>)> {
    let (n, size, augment) = (recipe.train.batch, recipe.data.size, setup::augmentation(&recipe.data, None)?);
    let extras = recipe.data.extras();
    let length = n * size * size * 3;
    let bytes = || -> Vec<u8> { (0..length).map(|i| (i * 7919 % 251) as u8).collect() };
    let labels = |from: usize| (from..from + n).map(|i| (i % classes) as u32).collect::<Vec<_>>();
    let (other, shares) = if extras.mixes() { (labels(1), vec![0.75; n]) } else { Default::default() };
    let indices = (0..n).collect();
    let batch = |bytes, draws| Batch { bytes, draws, labels: labels(0), indices, other, shares };
    let computes = device.computes();
    Ok(match BatchSource::border(device.kind(), (&augment, &extras), length) {
        Some(padding) => {
            let draws = || (0..n).flat_map(|i| augment.draw((recipe.seed, 0, i))).collect();
            let set = computes.then(bytes);
            let source = BatchSource::kept(device, (n, size), padding, set.as_deref())?;
            (source, computes.then(|| batch(Vec::new(), draws())))
        }
        None => (BatchSource::host(&extras), computes.then(|| batch(bytes(), Vec::new()))),
    })
}
