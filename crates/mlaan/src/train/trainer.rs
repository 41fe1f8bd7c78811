//! A run: epochs of steps, evaluation; interrupted and resumed without a trace.

use super::checkpoint::{Best, Manifest};
use super::class_weights::class_weights;
use super::epoch::Reading;
use super::evaluate::evaluate_from;
use super::metrics::Event;
use super::progress::{Outcome, PeakBytes, Progress};
use super::run::Run;
use super::tally::Tally;
use super::within::{sizes, task};
use super::{LearningRate, Lock, foreign, setup};
use crate::backbone::{Backbone, Frozen};
use crate::data::{Augment, Dataset, Extras, LoaderPool, Source, Splits};
use crate::import::Taken;
use crate::local::Learner;
use crate::memory::Needs;
use crate::memory::limit::Limits;
use crate::plan::{Plan, balanced, plan_in_stages};
use crate::process::Peak;
use crate::recipe::{MeanStd, Recipe};
use crate::{Error, Result};
use mlaan_engine::ops::Padding;
use mlaan_engine::{Device, Kind, Purpose};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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
    pub(super) learner: Learner,
    /// Of the training images, for each stage.
    pub(super) sources: Arc<Vec<Source>>,
    /// Of the test images.
    test_source: Source,
    pub(super) pool: LoaderPool,
    pub(super) reading: Reading,
    pub(super) plan: Plan,
    warnings: Vec<String>,
    counted: isize,
    /// Peak memory of the process, where that is what limits.
    peak: Option<Peak>,
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
        let backbone: &dyn Backbone = &Frozen::new(backbone, &recipe.train.freeze);
        let precision = recipe.train.precision.into();
        let devices: Vec<Device> = devices.iter().map(|d| d.with_precision(precision)).collect();
        let device = devices.first().ok_or_else(|| Error::recipe("stages", "no device to compute on"))?;
        let weights = recipe.train.class_weights.as_ref();
        let weights = weights.map(|w| class_weights(w, splits.train.as_ref())).transpose()?;
        let normalise = setup::normalisation(&recipe.data, &splits)?;
        let augment = setup::augmentation(&recipe.data, Some(&splits))?;
        let extras = Extras { fill: setup::mean_pixel(&normalise), ..recipe.data.extras() };
        let task = task(recipe, &splits, &normalise);
        let pool = setup::loader_pool(device, splits.train.as_ref())?;
        let sizes = sizes(recipe, &splits, &devices, recipe.train.batch);
        let mut recipe = recipe.clone();
        recipe.local = balanced(backbone, &recipe.local, task, sizes)?;
        recipe.data.load = setup::loaded(recipe.data.load, &splits);
        recipe.data.orientation = setup::oriented(recipe.data.orientation, &splits);
        let kinds: Vec<Kind> = devices.iter().map(Device::kind).collect();
        let plan = plan_in_stages(backbone, &recipe.local, task, sizes, &kinds)?;
        let short = check(&plan, &devices)?;
        let slow = devices.iter().filter_map(Device::warning).map(str::to_owned);
        let warnings = [short, setup::unsuited(&recipe.data, &splits)].into_iter().flatten().chain(slow);
        let warnings = warnings.chain(splits.notes.lines()).collect();
        for (device, stage) in devices.iter().zip(&plan.stages) {
            device.pool().reserve(&stage.usage)?;
        }
        let counted = isize::try_from(sizes.data_bytes).unwrap_or(isize::MAX);
        device.pool().count(Purpose::Data, counted);
        let (cuts, local) = (plan.cuts(), &recipe.local);
        let mut learner =
            Learner::in_stages((&devices, &cuts), backbone, local, task, recipe.seed, sizes.optimizer)?;
        if let Some(weights) = weights {
            learner.weigh_classes(&weights)?;
        }
        let source = |(k, device): (usize, &Device)| match (splits.train.whole(), augment.padding()) {
            (Some((side, bytes)), Some(padding)) if sizes.kept && learner.needs_images(k) => {
                Source::kept(device, (splits.train.len(), side), padding, Some(bytes))
            }
            _ => Ok(Source::host(&extras)),
        };
        let sources = Arc::new(devices.iter().enumerate().map(source).collect::<Result<Vec<_>>>()?);
        let test_source = match splits.test.whole() {
            Some((side, bytes)) if sizes.kept_test => {
                Source::kept(device, (splits.test.len(), side), Padding::NONE, Some(bytes))?
            }
            _ => Source::Host,
        };
        let peak = (!device.kind().has_own_memory()).then(Peak::begin);
        let rate_batch = recipe.train.batch.min(splits.train.len());
        Ok(Trainer {
            recipe,
            devices,
            splits,
            augment,
            extras,
            normalise,
            learner,
            sources,
            test_source,
            pool,
            reading: Reading::default(),
            plan,
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

    /// The learning rates of every epoch, for the images that a step really takes.
    pub fn rates(&self) -> LearningRate {
        LearningRate::with_batch(&self.recipe.train, self.rate_batch)
    }

    /// Takes over what the run of a checkpoint decided when it began. A run that is resumed does it by itself: before, it
    /// lets [`Trainer::rates`] say the rates that it will have.
    pub fn goes_on(&mut self, manifest: &Manifest) {
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
        }
        Ok(self.taken.as_ref())
    }

    /// How many steps of a run go by until their losses are read, at the most as many as fit ([`Learner::deferrable`]: one
    /// on the processor). None, as it is at first: as many as take about a second. Reading waits for the device, which
    /// then waits for the next step; it changes no value.
    pub fn read_losses_every(&mut self, steps: Option<usize>) {
        self.reading.fixed = steps;
    }

    /// Trains to the last epoch, or until `stop` is set (the steps asked for are finished, then all is saved).
    /// `folder` is created if need be and receives metrics, recipe, checkpoints and summary; `resume` goes on from the
    /// checkpoint there, if there is one.
    ///
    /// # Errors
    /// A folder that holds another run, that another process holds, or that is lost on the way ([`Lock::check`]); a loss that
    /// is not finite; anything with files, data or device.
    pub fn run(
        &mut self,
        folder: &Path,
        resume: bool,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        self.run_in(&Lock::take(folder)?, resume, stop, watch)
    }

    /// As [`Trainer::run`], in a folder that is held already.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    pub fn run_in(
        &mut self,
        held: &Lock,
        resume: bool,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome> {
        let mut run = self.open_run(held, resume, watch)?;
        let rates = self.rates();
        while run.at.epoch < self.recipe.train.epochs {
            if !self.train_epoch(&mut run, &rates, stop, watch)? {
                self.save(&run, false)?;
                let interrupted = Event::Interrupted { epoch: run.at.epoch };
                run.note(&interrupted)?;
                watch(Progress::Event(&interrupted));
                return Ok(Outcome::Interrupted { epoch: run.at.epoch, step: run.at.tally.steps });
            }
            self.finish_epoch(&mut run, &rates, watch)?;
        }
        self.look(&mut run);
        let summary = self.summary(&run.at);
        run.conclude(&summary)?;
        let end = Event::End(summary.clone());
        run.note(&end)?;
        watch(Progress::Event(&end));
        Ok(Outcome::Finished(summary))
    }

    fn finish_epoch(
        &mut self,
        run: &mut Run<'_>,
        rates: &LearningRate,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let epoch = run.at.epoch + 1;
        watch(Progress::Evaluating { epoch });
        let begin = Instant::now();
        let test: &std::sync::Arc<dyn Dataset> = &self.splits.test;
        let sizes = (self.recipe.train.batch, setup::frame(&self.recipe.data));
        let found = evaluate_from(&mut self.learner, (test, &self.test_source), &self.pool, sizes)?;
        if found.undefined == found.images {
            // The last step of the epoch may have been the one too far, which no loss has seen.
            let (module, step) = (self.learner.modules().saturating_sub(1), run.at.tally.steps);
            return Err(Error::NonFinite { module, term: "test", value: f32::NAN, epoch, step });
        }
        let evaluating = begin.elapsed().as_secs_f64();
        self.look(run);
        let at = &mut run.at;
        at.seconds += evaluating;
        let seconds = at.tally.seconds + evaluating;
        let lr = rates.at_step(epoch, at.tally.steps, at.tally.steps).backbone;
        let line = at.tally.epoch(epoch, lr, found.error, seconds, at.peak);
        let is_best = at.best.is_none_or(|b| found.error < b.error);
        if is_best {
            at.best = Some(Best { epoch, error: found.error });
        }
        at.epoch = epoch;
        at.last_error = found.error;
        at.tally = Tally::default();
        let event = Event::Epoch(line.clone());
        run.note(&event)?;
        self.save(run, is_best)?;
        watch(Progress::Epoch(&line));
        watch(Progress::Event(&event));
        Ok(())
    }

    /// Memory at the most so far, in this process.
    pub(super) fn peak(&mut self) -> PeakBytes {
        let allocated = self.devices.iter().map(|d| d.usage().footprint as u64).sum();
        PeakBytes { memory: self.peak.as_mut().and_then(Peak::look), allocated }
    }

    /// Takes note of it, asking the system in any case.
    pub(super) fn look(&mut self, run: &mut Run) {
        let memory = self.peak.as_mut().and_then(Peak::bytes);
        run.at.peak = run.at.peak.max(PeakBytes { memory, ..self.peak() });
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        if let Some(device) = self.devices.first() {
            device.pool().count(Purpose::Data, -self.counted);
        }
    }
}

/// Whether a run fits; a warning where it fits only if the system frees memory.
fn check(plan: &Plan, devices: &[Device]) -> Result<Option<String>> {
    let mut short = None;
    for (device, stage) in devices.iter().zip(&plan.stages) {
        let limits = Limits::of(device);
        if limits.device.is_none() {
            // All stages share the process's memory.
            return limits.check(&plan.needs());
        }
        short = short.or(limits.check(&Needs { usage: stage.usage, process: plan.process })?);
    }
    Ok(short)
}
