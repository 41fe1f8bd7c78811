//! What a run is made of: network, images and memory, as a recipe says.

use super::checkpoint::Manifest;
use super::deadline::Deadline;
use super::deferred_losses::DeferredLosses;
use super::follower::held;
use super::peak::PeakBytes;
use super::ranks::Job;
use super::{LearningRate, foreign, setup};
use crate::backbone::Backbone;
use crate::data::{Augment, BatchSource, Extras, Fingerprint, LoaderPool, Splits};
use crate::import::Taken;
use crate::local::Learner;
use crate::plan::{Division, Plan};
use crate::process::Peak;
use crate::ranks::{Work, World};
use crate::recipe::{MeanStd, Recipe};
use crate::{Error, Result};
use mlaan_engine::{Device, MemoryCategory};
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
    pub(super) backpropagation: Option<usize>,
    pub(super) warnings: Vec<String>,
    pub(super) counted: isize,
    /// Peak memory of the process, where that is what limits.
    pub(super) peak: Option<Peak>,
    /// Images of a step that the learning rates follow.
    pub(super) rate_batch: usize,
    /// Where the first values come from, when they were taken.
    pub(super) taken: Option<Taken>,
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
