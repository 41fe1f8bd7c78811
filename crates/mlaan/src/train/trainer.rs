//! What a run is made of: network, images and memory, as a recipe says.

use super::checkpoint::Manifest;
use super::class_weights::class_weights;
use super::deadline::Deadline;
use super::deferred_losses::DeferredLosses;
use super::follower::held;
use super::peak::PeakBytes;
use super::ranks::Job;
use super::sizes::{sizes_of, task};
use super::unreached::unreached;
use super::{LearningRate, foreign, setup};
use crate::backbone::{Backbone, Frozen};
use crate::data::{Augment, BatchSource, Extras, Fingerprint, LoaderPool, Splits};
use crate::import::Taken;
use crate::local::{Learner, Method, Partition};
use crate::memory::Needs;
use crate::memory::limit::Limits;
use crate::plan::{Division, Plan, balanced, plan_divided};
use crate::process::Peak;
use crate::ranks::{Work, World};
use crate::recipe::{MeanStd, Recipe};
use crate::{Error, Result};
use mlaan_engine::ops::Padding;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Usage};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Trains a network as a recipe says.
pub struct Trainer {
    pub(super) recipe: Recipe,
    /// One per stage.
    pub(super) devices: Vec<Device>,
    pub(super) splits: Splits,
    pub(super) augment: Augment,
    pub(super) extras: Extras,
    pub(super) normalise: MeanStd,
    /// What tells the images from others.
    pub(super) fingerprint: Fingerprint,
    pub(super) learner: Learner,
    /// Of the training images, for each stage.
    pub(super) sources: Arc<Vec<BatchSource>>,
    /// Of the images that are evaluated after every epoch: for validation, or for testing where there are none.
    pub(super) held_source: BatchSource,
    pub(super) pool: LoaderPool,
    pub(super) deferred: DeferredLosses,
    pub(super) deadline: Deadline,
    pub(super) plan: Plan,
    backpropagation: Option<usize>,
    warnings: Vec<String>,
    counted: isize,
    /// Peak memory of the process, where that is what limits.
    pub(super) peak: Option<Peak>,
    /// Images of a step that the learning rates follow.
    pub(super) rate_batch: usize,
    /// Where the first values come from, when they were taken.
    taken: Option<Taken>,
}

impl Trainer {
    /// The backbone and the images that the recipe names, on `device`.
    ///
    /// # Errors
    /// What is wrong with the recipe or the data; out of memory.
    pub fn from_recipe(recipe: &Recipe, device: &Device) -> Result<Self> {
        Self::from_recipe_in_stages(recipe, std::slice::from_ref(device))
    }

    /// As [`Trainer::from_recipe`], in stages, one per device, that work side by side. What is learnt is the same to the bit.
    ///
    /// # Errors
    /// As [`Trainer::from_recipe`]; more stages than modules.
    pub fn from_recipe_in_stages(recipe: &Recipe, devices: &[Device]) -> Result<Self> {
        recipe.validate()?;
        let backbone = setup::backbone(&recipe.model)?;
        let splits = setup::open(recipe, devices.iter().map(Device::threads).sum())?;
        Self::in_stages(recipe, &backbone, splits, devices)
    }

    /// A backbone and images of one's own; the recipe says the rest, the precision too.
    ///
    /// # Errors
    /// As [`Trainer::from_recipe`].
    pub fn new(recipe: &Recipe, backbone: &dyn Backbone, splits: Splits, device: &Device) -> Result<Self> {
        Self::in_stages(recipe, backbone, splits, std::slice::from_ref(device))
    }

    /// As [`Trainer::new`], in stages ([`Trainer::from_recipe_in_stages`]).
    ///
    /// # Errors
    /// As [`Trainer::from_recipe_in_stages`].
    pub fn in_stages(
        recipe: &Recipe,
        backbone: &dyn Backbone,
        splits: Splits,
        devices: &[Device],
    ) -> Result<Self> {
        Self::build(recipe, backbone, splits, (devices, None))
    }

    /// As [`Trainer::from_recipe`] in rank 0 of a job, which leads the others ([`follow`](super::follow)). What is learnt is
    /// what one process learns, to the bit, however modules are divided.
    ///
    /// # Errors
    /// As [`Trainer::from_recipe`]; fewer modules than ranks; a rank that was started with something else.
    pub fn from_recipe_in_ranks(
        recipe: &Recipe,
        device: &Device,
        (world, division): (&Arc<World>, &Division),
    ) -> Result<Self> {
        let memory = device.clone();
        world.measures(move || held(&memory));
        world.at(Work::SetUp, || Self::leader(recipe, device, (world, division)))
    }

    fn leader(recipe: &Recipe, device: &Device, (world, division): (&Arc<World>, &Division)) -> Result<Self> {
        recipe.validate()?;
        let job = Job::gather((world, division), recipe, device)?;
        if recipe.model.init.is_some() {
            let message = "weights from elsewhere are read by one process: `mlaan train` with one, for an epoch or less, then \
                           --resume with several ranks";
            return Err(Error::recipe("model.init", message));
        }
        let backbone = setup::backbone(&recipe.model)?;
        let splits = setup::open(recipe, device.threads())?;
        Self::build(recipe, &backbone, splits, (std::slice::from_ref(device), Some(&job)))
    }

    fn build(
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
        let weights = recipe.train.class_weights.as_ref();
        let weights = weights.map(|w| class_weights(w, splits.train.as_ref())).transpose()?;
        let normalise = setup::normalisation_on(device, &recipe.data, &splits)?;
        let fingerprint = Fingerprint::of(&splits)?;
        let augment = setup::augmentation(&recipe.data, Some(&splits))?;
        let extras = Extras { fill: setup::mean_pixel(&normalise), ..recipe.data.extras() };
        let task = task(recipe, &splits, &normalise);
        let pool = setup::loader_pool_of(&devices, splits.train.as_ref())?;
        let kinds: Vec<DeviceKind> =
            job.map_or_else(|| devices.iter().map(Device::kind).collect(), |job| job.kinds.clone());
        let sizes = sizes_of(recipe, &splits, (&devices, kinds.len()), recipe.train.batch);
        let mut recipe = recipe.clone();
        recipe.local = balanced(backbone, &recipe.local, task, sizes)?;
        recipe.data.load = setup::loaded(recipe.data.load, &splits);
        recipe.data.orientation = setup::oriented(recipe.data.orientation, &splits);
        if let Some(job) = job {
            job.check(&recipe.local, Partition::new(&recipe.local, backbone)?.len())?;
        }
        let division = job.map_or(&Division::Time, |job| job.division);
        let plan = plan_divided(backbone, &recipe.local, task, sizes, (&kinds, division))?;
        let backpropagation = match (job, plan.stages.len(), plan.modules.len()) {
            (None, 1, 2..) => Some(crate::plan::plan(backbone, &Method::default(), task, sizes)?.memory()),
            _ => None,
        };
        let short = match job {
            None => check(&plan, &devices)?,
            Some(job) => job.fits(&plan, device)?,
        };
        let rate_batch = recipe.train.batch.min(splits.train.len());
        let low = unreached(&recipe.train, splits.train.len().div_ceil(recipe.train.batch));
        let slow = devices.iter().filter_map(Device::warning).map(str::to_owned);
        let warnings = [
            short,
            setup::unsuited(&recipe.data, &splits),
            setup::upscaled(&recipe, &splits),
            setup::never_drawn(&recipe.data, &splits),
            low,
        ]
        .into_iter()
        .flatten()
        .chain(slow);
        let waits = job.and_then(|job| job.waits(&recipe.local));
        let unlike = job.into_iter().flat_map(|job| job.unlike().iter().cloned());
        let warnings = warnings.chain(splits.notes.lines()).chain(waits).chain(unlike).collect();
        for (device, stage) in devices.iter().zip(&plan.stages) {
            device.pool().reserve(&stage.usage)?;
        }
        let counted = isize::try_from(sizes.data_bytes).unwrap_or(isize::MAX);
        device.pool().count(MemoryCategory::Data, counted);
        let (cuts, local) = (plan.cuts(), &recipe.local);
        let mut learner = match job {
            None => {
                Learner::in_stages((&devices, &cuts), backbone, local, task, recipe.seed, sizes.optimizer)?
            }
            Some(job) => {
                job.begin((&recipe, &plan), (task.classes, normalise), weights.as_deref())?;
                let place = (job.world, device, cuts.as_slice());
                Learner::in_ranks(place, backbone, local, task, recipe.seed, sizes.optimizer)?
            }
        };
        if let Some(weights) = weights {
            learner.weigh_classes(&weights)?;
        }
        learner.cut_batches(sizes.shards)?;
        if let Some(decay) = recipe.train.model_ema_decay {
            learner.keep_average(decay)?;
        }
        let source = |(k, device): (usize, &Device)| match (splits.train.whole(), augment.padding()) {
            (Some((side, bytes)), Some(padding)) if sizes.kept && learner.needs_images(k) => {
                BatchSource::kept(device, (splits.train.len(), side), padding, Some(bytes))
            }
            _ => Ok(BatchSource::host(&extras)),
        };
        let sources = Arc::new(devices.iter().enumerate().map(source).collect::<Result<Vec<_>>>()?);
        let held = splits.validation.as_ref().unwrap_or(&splits.test);
        let held_source = match held.whole() {
            Some((side, bytes)) if sizes.kept_test => {
                BatchSource::kept(device, (held.len(), side), Padding::NONE, Some(bytes))?
            }
            _ => BatchSource::Host,
        };
        let peak = (!device.kind().has_own_memory()).then(Peak::begin);
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

    /// What it trains with: the recipe, with the cuts and settings that were chosen.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What may go wrong: memory that is short, images that the recipe is not meant for, or that were not read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What the run needs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes that this process will need at the most: all that is planned, or of a network that ranks share this one's part.
    pub fn planned_memory(&self) -> usize {
        match (self.ranks(), self.plan.stages.first()) {
            (2.., Some(own)) => own.needs().memory(),
            _ => self.plan.memory(),
        }
    }

    /// Bytes that backpropagation would need on the same images; none where it is what trains, or where stages or ranks share
    /// the network.
    pub fn backpropagation_memory(&self) -> Option<usize> {
        self.backpropagation
    }

    /// The job of several ranks, which this process leads.
    pub fn world(&self) -> Option<&Arc<World>> {
        self.learner.world()
    }

    /// Processes that share the network.
    pub fn ranks(&self) -> usize {
        self.learner.world().map_or(1, |world| world.ranks())
    }

    /// The learning rates of every epoch, for the images that a step really takes.
    pub fn rates(&self) -> LearningRate {
        LearningRate::with_batch(&self.recipe.train, self.rate_batch)
    }

    /// Takes over what the run of a checkpoint decided when it began. A run that is resumed does it by itself: before, it
    /// lets [`Trainer::rates`] say the rates that it will have. A run that began without the set's own validation images
    /// goes on without them.
    pub fn resume_from(&mut self, manifest: &Manifest) {
        let own = self.recipe.data.validation.is_none();
        if own && manifest.val_images.is_none() && self.splits.validation.take().is_some() {
            self.held_source = BatchSource::Host;
            self.fingerprint.without_validation();
            self.warnings
                .push("the set's validation images are not used: this run began without them".into());
        }
        self.rate_batch = manifest.rate_batch.unwrap_or(self.recipe.train.batch);
    }

    /// The images.
    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// The network, as it stands.
    pub fn learner(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// Takes the first values from where the recipe says (`model.init`), once; says what was taken. A new run does it by
    /// itself: before, it finds early what does not fit.
    ///
    /// # Errors
    /// As [`import`](super::import).
    pub fn initialise(&mut self) -> Result<Option<&Taken>> {
        if let (Some(from), None) = (&self.recipe.model.init, &self.taken) {
            let key = self.recipe.model.init_key.as_deref();
            self.taken = Some(foreign::initialise(&mut self.learner, Path::new(from), key)?);
            self.learner.restart_average()?;
        }
        Ok(self.taken.as_ref())
    }

    /// Lets runs stop where no further epoch would end by then, going by the last one; within an epoch, a first one above all,
    /// when the time has come; and before the test at the end of a run with validation images where that would not end by
    /// then, going by the last validation. They can be resumed as if they had not stopped ([`Outcome::OutOfTime`](super::Outcome)).
    pub fn stop_by(&mut self, time: Option<Instant>) {
        self.deadline = Deadline { at: time, ..Deadline::default() };
    }

    /// Tells other ranks, where there are some, that all is done: no run follows.
    ///
    /// # Errors
    /// The end of the job.
    pub fn dismiss(&mut self) -> Result<()> {
        self.learner.dismiss()
    }

    /// How many steps of a run go by until their losses are read, at the most as many as fit ([`Learner::deferrable`]: one
    /// on the processor). None, as it is at first: as many as take about a second. Reading waits for the device, which
    /// then waits for the next step; it changes no value.
    pub fn read_losses_every(&mut self, steps: Option<usize>) {
        self.deferred.fixed = steps;
    }

    /// Memory at the most so far, in this process.
    pub(super) fn peak(&mut self) -> PeakBytes {
        let allocated = self.devices.iter().map(|d| d.usage().footprint as u64).sum();
        PeakBytes { memory: self.peak.as_mut().and_then(Peak::sample), allocated }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        if let Some(device) = self.devices.first() {
            device.pool().count(MemoryCategory::Data, -self.counted);
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
