//! How a trainer is put together: images, plan, memory and network.

use super::class_weights::class_weights;
use super::deadline::Deadline;
use super::deferred_losses::DeferredLosses;
use super::ranks::Job;
use super::setup;
use super::sizes::{sizes_of, task};
use super::trainer::Trainer;
use super::unreached::unreached;
use crate::backbone::{Backbone, Frozen};
use crate::data::{Augment, BatchSource, Extras, Fingerprint, Splits};
use crate::local::{Learner, Method, Partition, Task};
use crate::memory::Needs;
use crate::memory::limit::Limits;
use crate::plan::{Division, Plan, Sizes, balanced, plan_divided};
use crate::process::Peak;
use crate::recipe::{MeanStd, Recipe};
use crate::{Error, Result};
use mlaan_engine::ops::Padding;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Usage};
use std::sync::Arc;

/// What the parts of a trainer are made from.
struct Parts<'a> {
    /// With what was chosen.
    recipe: Recipe,
    backbone: &'a dyn Backbone,
    splits: &'a Splits,
    /// One per stage, and the first of them.
    devices: &'a [Device],
    device: &'a Device,
    /// Of several ranks, which this process leads.
    job: Option<&'a Job<'a>>,
    task: Task,
    sizes: Sizes,
    normalise: MeanStd,
    /// Of the classes, where the recipe has some.
    weights: Option<Vec<f32>>,
}

impl Trainer {
    /// Of one process in stages, or of rank 0 of a job.
    ///
    /// # Errors
    /// As [`Trainer::from_recipe_in_stages`] and [`Trainer::from_recipe_in_ranks`].
    pub(super) fn build(
        recipe: &Recipe,
        backbone: &dyn Backbone,
        splits: Splits,
        (devices, job): (&[Device], Option<&Job<'_>>),
    ) -> Result<Self> {
        let splits = setup::held_out(recipe, splits)?;
        let backbone: &dyn Backbone = &Frozen::new(backbone, &recipe.train.freeze);
        let precision = recipe.train.precision.into();
        let devices: Vec<Device> = devices.iter().map(|d| d.with_precision(precision)).collect();
        let device = devices.first().ok_or_else(|| Error::recipe("stages", "no device to compute on"))?;
        // First what is wrong with the recipe: the next may read all images.
        let weights = recipe.train.class_weights.as_ref();
        let weights = weights.map(|w| class_weights(w, splits.train.as_ref())).transpose()?;
        let normalise = setup::normalisation_on(device, &recipe.data, &splits)?;
        let fingerprint = Fingerprint::of(&splits)?;
        let augment = setup::augmentation(&recipe.data, Some(&splits))?;
        let extras = Extras { fill: setup::mean_pixel(&normalise), ..recipe.data.extras() };
        let pool = setup::loader_pool_of(&devices, splits.train.as_ref())?;
        let parts = Parts::new(recipe, (backbone, &splits), (&devices, device, job), (normalise, weights))?;
        let (plan, backpropagation) = parts.plan()?;
        let warnings = parts.warnings(&plan)?;
        let counted = parts.reserve(&plan)?;
        let learner = parts.learner(&plan)?;
        let sources = Arc::new(parts.sources(&learner, &augment, &extras)?);
        let held_source = parts.held_source()?;
        let peak = (!device.kind().has_own_memory()).then(Peak::begin);
        let (recipe, rate_batch) = (parts.recipe, recipe.train.batch.min(splits.train.len()));
        Ok(Trainer {
            recipe,
            devices,
            splits,
            augment,
            extras,
            normalise,
            fingerprint,
            learner,
            sources,
            held_source,
            pool,
            deferred: DeferredLosses::default(),
            deadline: Deadline::default(),
            plan,
            backpropagation,
            warnings,
            counted,
            peak,
            rate_batch,
            taken: None,
        })
    }
}

impl<'a> Parts<'a> {
    /// The recipe with cuts and settings chosen.
    fn new(
        recipe: &Recipe,
        (backbone, splits): (&'a dyn Backbone, &'a Splits),
        (devices, device, job): (&'a [Device], &'a Device, Option<&'a Job<'a>>),
        (normalise, weights): (MeanStd, Option<Vec<f32>>),
    ) -> Result<Self> {
        let task = task(recipe, splits, &normalise);
        let stages = job.map_or(devices.len(), |job| job.kinds.len());
        let sizes = sizes_of(recipe, splits, (devices, stages), recipe.train.batch);
        let mut recipe = recipe.clone();
        recipe.local = balanced(backbone, &recipe.local, task, sizes)?;
        recipe.data.load = setup::loaded(recipe.data.load, splits);
        recipe.data.orientation = setup::oriented(recipe.data.orientation, splits);
        if let Some(job) = job {
            job.check(&recipe.local, Partition::new(&recipe.local, backbone)?.len())?;
        }
        Ok(Parts { recipe, backbone, splits, devices, device, job, task, sizes, normalise, weights })
    }

    /// The plan, and the bytes that backpropagation would need where one process trains modules.
    fn plan(&self) -> Result<(Plan, Option<usize>)> {
        let (backbone, task, sizes) = (self.backbone, self.task, self.sizes);
        let own = || self.devices.iter().map(Device::kind).collect();
        let kinds: Vec<DeviceKind> = self.job.map_or_else(own, |job| job.kinds.clone());
        let division = self.job.map_or(&Division::Time, |job| job.division);
        let plan = plan_divided(backbone, &self.recipe.local, task, sizes, (&kinds, division))?;
        let backpropagation = match (self.job, plan.stages.len(), plan.modules.len()) {
            (None, 1, 2..) => Some(crate::plan::plan(backbone, &Method::default(), task, sizes)?.memory()),
            _ => None,
        };
        Ok((plan, backpropagation))
    }

    /// What may go wrong.
    ///
    /// # Errors
    /// More memory than there is.
    fn warnings(&self, plan: &Plan) -> Result<Vec<String>> {
        let (recipe, splits, job) = (&self.recipe, self.splits, self.job);
        let short = match job {
            Some(job) => job.fits(plan, self.device)?,
            None => check(plan, self.devices)?,
        };
        let slow = self.devices.iter().filter_map(Device::warning).map(str::to_owned);
        let found = [
            short,
            setup::unsuited(&recipe.data, splits),
            setup::upscaled(recipe, splits),
            setup::never_drawn(&recipe.data, splits),
            unreached(&recipe.train, splits.train.len().div_ceil(recipe.train.batch)),
        ];
        let waits = job.and_then(|job| job.waits(&recipe.local));
        let unlike = job.into_iter().flat_map(|job| job.unlike().iter().cloned());
        Ok(found
            .into_iter()
            .flatten()
            .chain(slow)
            .chain(splits.notes.lines())
            .chain(waits)
            .chain(unlike)
            .collect())
    }

    /// Reserves what is planned; bytes of images that are counted with it.
    fn reserve(&self, plan: &Plan) -> Result<isize> {
        for (device, stage) in self.devices.iter().zip(&plan.stages) {
            device.pool().reserve(&stage.usage)?;
        }
        let counted = isize::try_from(self.sizes.data_bytes).unwrap_or(isize::MAX);
        self.device.pool().count(MemoryCategory::Data, counted);
        Ok(counted)
    }

    /// The network with its method; of several ranks this one's part, when the others have been told theirs.
    fn learner(&self, plan: &Plan) -> Result<Learner> {
        let (recipe, backbone, task) = (&self.recipe, self.backbone, self.task);
        let (local, seed, optimizer) = (&recipe.local, recipe.seed, self.sizes.optimizer);
        let cuts = plan.cuts();
        let mut learner = match self.job {
            Some(job) => {
                job.begin((recipe, plan), (task.classes, self.normalise), self.weights.as_deref())?;
                Learner::in_ranks((job.world, self.device, &cuts), backbone, local, task, seed, optimizer)?
            }
            None => Learner::in_stages((self.devices, &cuts), backbone, local, task, seed, optimizer)?,
        };
        if let Some(weights) = &self.weights {
            learner.weigh_classes(weights)?;
        }
        learner.cut_batches(self.sizes.shards)?;
        if let Some(decay) = recipe.train.model_ema_decay {
            learner.keep_average(decay)?;
        }
        Ok(learner)
    }

    /// Where each stage has its training images from.
    fn sources(&self, learner: &Learner, augment: &Augment, extras: &Extras) -> Result<Vec<BatchSource>> {
        let train = &self.splits.train;
        let source = |(k, device): (usize, &Device)| match (train.whole(), augment.padding()) {
            (Some((side, bytes)), Some(padding)) if self.sizes.kept && learner.needs_images(k) => {
                BatchSource::kept(device, (train.len(), side), padding, Some(bytes))
            }
            _ => Ok(BatchSource::host(extras)),
        };
        self.devices.iter().enumerate().map(source).collect()
    }

    /// Where the images come from that are evaluated after every epoch.
    fn held_source(&self) -> Result<BatchSource> {
        let held = self.splits.validation.as_ref().unwrap_or(&self.splits.test);
        match held.whole() {
            Some((side, bytes)) if self.sizes.kept_test => {
                BatchSource::kept(self.device, (held.len(), side), Padding::NONE, Some(bytes))
            }
            _ => Ok(BatchSource::Host),
        }
    }
}

/// Whether a run fits; a warning where it fits only if the system frees memory.
fn check(plan: &Plan, devices: &[Device]) -> Result<Option<String>> {
    let mut checked = Vec::new();
    for device in devices {
        let limits = Limits::of(device);
        if limits.device.is_none() {
            // All stages share the process's memory.
            return limits.check(&plan.needs());
        }
        if checked.contains(&device.name()) {
            continue;
        }
        checked.push(device.name());
        // Stages on one GPU share its memory.
        let here = devices.iter().zip(&plan.stages).filter(|(other, _)| other.name() == device.name());
        let usage = here.fold(Usage::default(), |sum, (_, stage)| Usage {
            footprint: sum.footprint + stage.usage.footprint,
            held: sum.held + stage.usage.held,
            ..sum
        });
        limits.check_on_device(&Needs { usage, ..Needs::default() })?;
    }
    // And all share the host's.
    Limits::of_this_process().check_on_host(&plan.needs())
}
