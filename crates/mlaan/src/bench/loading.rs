//! How fast images reach the network: read, decoded, changed and normalised, without a network behind them.

use super::median;
use crate::data::BatchSource;
use crate::data::{Dataset, Extras, Loader, LoaderOptions, LoaderPool, Splits};
use crate::recipe::Recipe;
use crate::train::setup;
use crate::{Device, Result};
use mlaan_engine::ops::PixelScale;
use std::sync::Arc;
use std::time::Instant;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The data set's name.
    pub name: String,
    /// Training images of an epoch.
    pub images: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Whether they were decoded each time.
    pub streamed: bool,
    /// Threads that loaded; as many normalised.
    pub threads: usize,
    /// What normalised, as `cpu` or `cuda:0`.
    pub device: String,
    /// Seconds to open the set: to decode it, where it then lies in memory.
    pub opening: f64,
    /// Each round's seconds of an epoch.
    pub rounds: Vec<f64>,
    /// Bytes of batches and working space of the loading threads.
    pub bytes: usize,
}

impl Loading {
    /// Seconds of an epoch: the median of the rounds.
    pub fn seconds(&self) -> f64 {
        median(&self.rounds)
    }

    /// Images a second: of the median of the rounds.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds()
    }
}

/// Times epochs over the training images of a recipe, with as many loading threads as `device` has threads: every
/// batch as a training step gets it, normalised on `device`, then dropped.
///
/// # Errors
/// What is wrong with the recipe or the images; out of memory.
pub fn loading(recipe: &Recipe, device: &Device, rounds: usize) -> Result<Loading> {
    recipe.validate()?;
    let begin = Instant::now();
    let splits = setup::open(recipe, device.threads())?;
    let opening = begin.elapsed().as_secs_f64();
    let epochs = Epochs::new(recipe, &splits, device)?;
    let rounds = (0..rounds.max(1)).map(|round| epochs.time(round + 1)).collect::<Result<_>>()?;
    let data = &splits.train;
    Ok(Loading {
        name: splits.name.clone(),
        images: data.len(),
        batch: epochs.options.batch.min(data.len()),
        streamed: data.streams(),
        threads: device.threads(),
        device: device.name().into(),
        opening,
        rounds,
        bytes: epochs.pool.buffer_bytes(&epochs.options) + device.threads() * data.work_bytes(),
    })
}

/// Epochs without a network.
struct Epochs<'a> {
    data: &'a Arc<dyn Dataset>,
    device: &'a Device,
    pool: LoaderPool,
    options: LoaderOptions,
    scale: PixelScale,
}

impl<'a> Epochs<'a> {
    fn new(recipe: &Recipe, splits: &'a Splits, device: &'a Device) -> Result<Self> {
        let normalise = setup::normalisation(&recipe.data, splits)?;
        let extras = Extras { fill: setup::mean_pixel(&normalise), ..recipe.data.extras() };
        let options = LoaderOptions {
            batch: recipe.train.batch,
            frame: setup::frame(&recipe.data),
            deliver: BatchSource::host(&extras).deliver(),
            augment: setup::augmentation(&recipe.data, Some(splits))?,
            extras,
            shuffle: true,
            balanced: recipe.data.sampler.is_balanced(),
            seed: recipe.seed,
            epoch: 1,
            first_batch: 0,
        };
        let pool = LoaderPool::new(device.threads(), LoaderPool::AHEAD)?;
        let scale = setup::pixel_scale(&normalise);
        Ok(Epochs { data: &splits.train, device, pool, options, scale })
    }

    /// Seconds of epoch `epoch`.
    fn time(&self, epoch: usize) -> Result<f64> {
        let (options, source) =
            (LoaderOptions { epoch, ..self.options }, BatchSource::host(&self.options.extras));
        let begin = Instant::now();
        let mut loader = Loader::new(Arc::clone(self.data), &self.pool, options)?;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let feed = || -> Result<()> {
                source.to_device(self.device, Some(&batch), batch.len(), options.frame.size, self.scale)?;
                Ok(())
            };
            self.device.scope(feed).unwrap_or(Ok(()))?;
            loader.recycle(batch);
        }
        self.device.synchronize()?;
        Ok(begin.elapsed().as_secs_f64())
    }
}
