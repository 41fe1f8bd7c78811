//! A run's folder: begun or gone on with, and what is saved into it.

use super::checkpoint::{self, Best, Manifest};
use super::epoch_stats::EpochStats;
use super::lock::Lock;
use super::metrics::{Event, METRICS, Metrics, Start, Summary, Tested};
use super::peak::PeakBytes;
use super::progress::Progress;
use super::trainer::Trainer;
use super::unsaved::{clear_checkpoints, is_unsaved};
use super::{recipe_file, state};
use crate::evaluation::{Evaluated, Evaluation};
use crate::files::atomic;
use crate::import::Taken;
use crate::process::Peak;
use crate::ranks::{Work, World, while_watched};
use crate::{Error, Result};
use mlaan_engine::Device;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// To write small files of the run, for who watches.
const FILES: Work = Work::Other("writing the run's files", Duration::ZERO);

/// Means and deviations, of 1, that differ by no more are of the same images.
const NORMALIZED_ALIKE: f64 = 0.02;

/// An open run.
pub(super) struct Run<'a> {
    /// Its folder, which may be lost at any time.
    pub(super) held: &'a Lock,
    metrics: Metrics,
    pub(super) at: Position,
    /// What the evaluation after the last epoch found; none before the first epoch of this process.
    pub(super) found: Option<Evaluation>,
    /// The ranks that wait for this one while it writes.
    world: Option<Arc<World>>,
}

impl Run<'_> {
    /// Adds a line to the metrics.
    pub(super) fn note(&mut self, event: &Event) -> Result<()> {
        let (held, metrics) = (self.held, &mut self.metrics);
        while_watched(self.world.as_deref(), FILES, || held.check().and_then(|()| metrics.write(event)))
    }

    /// The summary last: it says that the run is finished.
    pub(super) fn conclude(&self, evaluated: &Evaluated, summary: &Summary) -> Result<()> {
        let write = |folder: &Path| evaluated.write(folder).and_then(|()| summary.write(folder));
        while_watched(self.world.as_deref(), FILES, || self.held.write(write))
    }
}

/// Where a run stands.
pub(super) struct Position {
    pub(super) epoch: usize,
    pub(super) step: u64,
    pub(super) epoch_stats: EpochStats,
    pub(super) best: Option<Best>,
    pub(super) last_error: f64,
    pub(super) last_val_error: Option<f64>,
    /// Epochs since the best one.
    pub(super) without_improvement: usize,
    pub(super) seconds: f64,
    pub(super) peak: PeakBytes,
}

impl Position {
    fn start() -> Self {
        let epoch_stats = EpochStats::default();
        Position {
            epoch: 0,
            step: 0,
            epoch_stats,
            best: None,
            last_error: f64::NAN,
            last_val_error: None,
            without_improvement: 0,
            seconds: 0.0,
            peak: PeakBytes::default(),
        }
    }

    fn of(m: Manifest) -> Self {
        // Runs that could not end early have not counted them.
        let since_best = m.best.map_or(0, |best| m.epoch.saturating_sub(best.epoch));
        Position {
            last_val_error: m.val_error,
            without_improvement: m.epochs_without_improvement.unwrap_or(since_best),
            epoch: m.epoch,
            step: m.step,
            epoch_stats: m.partial,
            best: m.best,
            last_error: m.test_error,
            seconds: m.seconds,
            peak: PeakBytes { memory: m.peak_memory_bytes, allocated: m.peak_bytes },
        }
    }
}

/// Names of classes, the first of many.
fn listed(classes: &[String]) -> String {
    let most = 10;
    let more = classes.len().saturating_sub(most);
    let shown = classes.iter().take(most).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Removes what a killed process left half done in a run's folder.
fn tidy(folder: &Path) -> Result<()> {
    atomic::remove_stale(folder)?;
    checkpoint::tidy(&folder.join(checkpoint::FOLDER))
}

impl Trainer {
    pub(super) fn open_run<'a>(
        &mut self,
        held: &'a Lock,
        resume: bool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Run<'a>> {
        held.check()?;
        let folder = held.folder();
        if !resume && folder.join(METRICS).exists() {
            let message = "holds a run already; pass --resume to go on with it, or another --out";
            return Err(Error::data(folder.display().to_string(), message));
        }
        let world = self.learner.world().cloned();
        if resume && checkpoint::exists(folder) {
            let work = self.checkpoint_work();
            let load = || {
                let (manifest, tensors) = checkpoint::load(folder)?;
                self.resume_from(&manifest);
                self.check_same_run(folder, &manifest)?;
                state::restore(&mut self.learner, &tensors, true)?;
                Ok::<_, Error>(manifest)
            };
            let manifest = while_watched(world.as_deref(), work, load)?;
            let metrics = while_watched(world.as_deref(), FILES, || {
                held.write(|folder| tidy(folder).and_then(|()| self.write_recipe(folder)))?;
                Metrics::resume(folder, manifest.epoch)
            })?;
            let at = Position::of(manifest);
            watch(Progress::Resumed { epoch: at.epoch, step: at.epoch_stats.steps });
            watch(Progress::Event(&Event::Resume { epoch: at.epoch }));
            return Ok(Run { held, metrics, at, found: None, world });
        }
        let init = self.initialise()?.cloned();
        let metrics = while_watched(world.as_deref(), FILES, || {
            if is_unsaved(folder) {
                held.write(clear_checkpoints)?;
            }
            held.write(tidy)?;
            // The metrics first: by them the folder is known as a run's from now on, whenever it is killed.
            let metrics = if resume { Metrics::resume(folder, 0)? } else { Metrics::create(folder)? };
            held.write(|folder| self.write_recipe(folder))?;
            Ok::<_, Error>(metrics)
        })?;
        let start = Event::Start(self.start(init));
        let mut run = Run { held, metrics, at: Position::start(), found: None, world };
        run.note(&start)?;
        watch(Progress::Event(&start));
        Ok(run)
    }

    fn write_recipe(&self, folder: &Path) -> Result<()> {
        recipe_file::write(folder, &self.recipe.to_toml()?)
    }

    fn check_same_run(&self, folder: &Path, m: &Manifest) -> Result<()> {
        self.check_same_images(folder, m)?;
        let differs = |what: &str, theirs: String, ours: String| {
            let message =
                format!("it was trained with {what} {theirs}, and this run has {ours}; use another --out");
            Err(Error::Checkpoint { path: folder.to_path_buf(), message })
        };
        if m.size != self.recipe.data.size {
            return differs("images of size", m.size.to_string(), self.recipe.data.size.to_string());
        }
        if m.seed != self.recipe.seed {
            return differs("seed", m.seed.to_string(), self.recipe.seed.to_string());
        }
        // Of images that are known again by their fingerprint it may be measured otherwise: by another decoder, or of items that vary.
        let rounding = if m.fingerprint.is_some() { NORMALIZED_ALIKE } else { 0.0 };
        if m.normalise.farthest(&self.normalise) > rounding {
            return differs("normalization", m.normalise.to_string(), self.normalise.to_string());
        }
        Ok(())
    }

    fn check_same_images(&self, folder: &Path, m: &Manifest) -> Result<()> {
        let other = |difference: String| {
            let message = format!(
                "it was trained on other images: {difference}. Give the images that it was trained on, or use another --out"
            );
            Err(Error::data(folder.display().to_string(), message))
        };
        let classes = self.splits.train.classes();
        if m.classes != classes {
            return other(format!("their classes are {}, and not {}", listed(&m.classes), listed(classes)));
        }
        let images = [self.splits.train.len(), self.splits.test.len()];
        if m.images != images {
            let said = |[train, test]: [usize; 2]| format!("{train} for training and {test} for testing");
            return other(format!("{}, and not {}", said(m.images), said(images)));
        }
        let validation = self.splits.validation.as_ref().map(|data| data.len());
        if m.val_images != validation {
            let said = |n: Option<usize>| format!("{} for validation", n.unwrap_or(0));
            return other(format!("{}, and not {}", said(m.val_images), said(validation)));
        }
        let theirs = m.fingerprint.as_ref();
        match theirs.and_then(|theirs| theirs.difference(&self.splits, &self.fingerprint)) {
            None => Ok(()),
            Some(difference) => other(format!("these are {difference}")),
        }
    }

    pub(super) fn save(&mut self, run: &Run<'_>, is_best: bool) -> Result<()> {
        let at = &run.at;
        let manifest = Manifest {
            epoch: at.epoch,
            step: at.step,
            seed: self.recipe.seed,
            recipe: self.recipe.to_toml()?,
            classes: self.splits.train.classes().to_vec(),
            images: [self.splits.train.len(), self.splits.test.len()],
            val_images: self.splits.validation.as_ref().map(|data| data.len()),
            fingerprint: Some(self.fingerprint.clone()),
            normalise: self.normalise,
            size: self.recipe.data.size,
            best: at.best,
            test_error: at.last_error,
            val_error: at.last_val_error,
            epochs_without_improvement: self.recipe.train.patience_used().map(|_| at.without_improvement),
            seconds: at.seconds,
            peak_bytes: at.peak.allocated,
            peak_memory_bytes: at.peak.memory,
            partial: at.epoch_stats.clone(),
            rate_batch: Some(self.rate_batch).filter(|n| *n != self.recipe.train.batch),
        };
        let (work, learner) = (self.checkpoint_work(), &mut self.learner);
        let save =
            |folder: &Path| checkpoint::save(&folder.join(checkpoint::FOLDER), &manifest, learner, is_best);
        while_watched(run.world.as_deref(), work, || run.held.write(save))
    }

    /// To write or read the network, for who watches: with what the optimiser keeps, and the best of them a second time.
    fn checkpoint_work(&self) -> Work {
        let parameters = self.plan.parameters() + self.plan.auxiliary_parameters();
        Work::of_bytes("a checkpoint", 8 * size_of::<f32>() * parameters)
    }

    /// Takes note of the memory at the most so far, asking the system in any case.
    pub(super) fn note_peak(&mut self, run: &mut Run<'_>) {
        let memory = self.peak.as_mut().and_then(Peak::bytes);
        run.at.peak = run.at.peak.max(PeakBytes { memory, ..self.peak() });
    }

    fn start(&self, init: Option<Taken>) -> Start {
        Start {
            description: self.recipe.description.clone(),
            seed: self.recipe.seed,
            data: self.splits.name.clone(),
            train_images: self.splits.train.len(),
            val_images: self.splits.validation.as_ref().map(|data| data.len()),
            test_images: self.splits.test.len(),
            device: names(&self.devices),
            precision: self.recipe.train.precision,
            recompute: self.recipe.local.recompute,
            host_bytes: self.plan.host(),
            moved_bytes: self.plan.moved(),
            planned_bytes: Some(self.planned_memory() as u64),
            backpropagation_bytes: self.backpropagation_memory().map(|bytes| bytes as u64),
            modules: self.learner.modules(),
            parameters: self.plan.parameters(),
            init,
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }

    pub(super) fn summary(&self, at: &Position, found: &Evaluation) -> Summary {
        Summary {
            epochs: at.epoch,
            test_accuracy: found.accuracy,
            test_error: at.last_error,
            test_loss: found.loss,
            test_top5_accuracy: found.top5_accuracy,
            best_test_accuracy: at.best.map_or(f64::NAN, |b| 100.0 - b.error),
            best_test_error: at.best.map_or(f64::NAN, |b| b.error),
            best_epoch: at.best.map_or(0, |b| b.epoch),
            val_error: at.last_val_error,
            best_val_error: at.last_val_error.and(at.best).map(|b| b.error),
            stopped_early: at.epoch < self.recipe.train.epochs,
            tested: Tested::of(&self.recipe.train),
            seconds: at.seconds,
            peak_memory_bytes: at.peak.memory,
            peak_allocated_bytes: at.peak.allocated,
            parameters: self.plan.parameters(),
        }
    }
}

/// The names of devices, each once.
fn names(devices: &[Device]) -> String {
    let mut names: Vec<&str> = devices.iter().map(Device::name).collect();
    names.dedup();
    names.join(", ")
}
