//! The steps of an epoch. They are asked for one after the other; their losses are read a few steps at a time, as a GPU
//! would wait for the next step while one is read. Nothing is saved before all losses so far were read and are finite.

use super::progress::Progress;
use super::run::Run;
use super::trainer::Trainer;
use super::{LearningRate, setup};
use crate::data::{Batch, BatchSource, Deliver, Loader, LoaderOptions};
use crate::local::{DatasetBatch, StepOptions};
use crate::ranks::{Work, while_watched};
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Which steps a reading waits for, where several stages are at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    ForAll,
    ForNone,
}

/// What steps of an epoch tell beside their losses.
struct Course<'a> {
    epoch: usize,
    /// Steps of the epoch.
    steps: usize,
    rates: &'a LearningRate,
    begin: Instant,
    /// Seconds of training in this epoch before it began, in a run that was interrupted.
    before: f64,
}

impl Course<'_> {
    /// The options of a step, by its number in the epoch and in the run.
    fn options(&self, taken: usize, step: u64) -> StepOptions {
        let r = self.rates.at_step(self.epoch, taken, self.steps);
        let (backbone, independent, cascaded) = (r.backbone as f32, r.auxiliary as f32, r.cascaded as f32);
        StepOptions { backbone, independent, cascaded, step }
    }
}

impl Trainer {
    /// Trains the rest of an epoch; false when it was stopped.
    pub(super) fn train_epoch(
        &mut self,
        run: &mut Run<'_>,
        rates: &LearningRate,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool> {
        let (epoch, before) = (run.at.epoch + 1, run.at.epoch_stats.seconds);
        let loading = self.loader_options(epoch, run.at.epoch_stats.steps);
        let mut loader = Loader::new(self.splits.train.clone(), &self.pool, loading)?;
        let steps = run.at.epoch_stats.steps + loader.remaining();
        let course = Course { epoch, steps, rates, begin: Instant::now(), before };
        // Of steps that are none of this run's.
        self.learner.reports()?;
        self.deferred.images.clear();
        self.deferred.batches.clear();
        let taken = self.steps(&mut loader, (run, stop), &course, watch);
        // What was wrong before it comes first.
        self.read_losses(run, &course, Wait::ForAll, watch)?;
        let whole = taken?;
        run.at.seconds += run.at.epoch_stats.seconds - before;
        if !whole {
            self.note_peak(run);
        }
        Ok(whole)
    }

    /// Steps until there are no more, or until it is stopped: false. Losses of the last ones may not be read yet.
    fn steps(
        &mut self,
        loader: &mut Loader,
        (run, stop): (&mut Run<'_>, &AtomicBool),
        course: &Course<'_>,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool> {
        let mut taken = run.at.epoch_stats.steps;
        loop {
            // Any rank may have been asked.
            if self.learner.world().is_some_and(|world| world.stop_asked()) {
                stop.store(true, Ordering::Relaxed);
            }
            if stop.load(Ordering::Relaxed) || self.deadline.is_over() {
                return Ok(false);
            }
            let work = Work::Other("loading a batch", Duration::ZERO);
            let next = while_watched(self.learner.world().map(Arc::as_ref), work, || loader.next());
            let Some(batch) = next else { return Ok(true) };
            let batch = match batch {
                Ok(batch) => batch,
                // Whoever asked lets images fail, too, so that nobody waits for those of a step that is not taken any more.
                Err(_) if stop.load(Ordering::Relaxed) => return Ok(false),
                Err(e) => return Err(e),
            };
            run.at.step += 1;
            taken += 1;
            self.one_step(batch, &course.options(taken, run.at.step))?;
            self.deferred.recycle(loader);
            if self.deferred.is_due(self.learner.deferrable()) {
                self.read_losses(run, course, Wait::ForNone, watch)?;
            }
        }
    }

    fn one_step(&mut self, batch: Batch, options: &StepOptions) -> Result<()> {
        let Trainer { learner, sources, recipe, deferred, .. } = self;
        let (images, batch) = (batch.len(), Arc::new(batch));
        let feed = DatasetBatch {
            sources: Arc::clone(sources),
            batch: Some(Arc::clone(&batch)),
            images,
            size: recipe.data.size,
            scale: learner.task().pixels,
        };
        learner.step_from(Arc::new(feed), options)?;
        deferred.images.push(images);
        deferred.batches.push_back(batch);
        Ok(())
    }

    /// Reads the losses of the steps since the last reading, and tells of each of these steps.
    fn read_losses(
        &mut self,
        run: &mut Run<'_>,
        course: &Course<'_>,
        wait: Wait,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        if self.deferred.images.is_empty() {
            return Ok(());
        }
        let peak = run.at.peak.max(self.peak());
        let Trainer { learner, recipe, deferred, .. } = self;
        let reports = match wait {
            Wait::ForAll => learner.reports()?,
            Wait::ForNone => learner.finished()?,
        };
        let count = reports.len();
        let (epoch_stats, &Course { epoch, steps, rates, .. }) = (&mut run.at.epoch_stats, course);
        let (from, to) = (epoch_stats.seconds, course.before + course.begin.elapsed().as_secs_f64());
        for (i, (report, images)) in reports.iter().zip(deferred.images.drain(..count)).enumerate() {
            epoch_stats.add(report, &recipe.local, images);
            if let Some((module, term, value)) = report.non_finite() {
                return Err(Error::NonFinite { module, term, value, epoch, step: epoch_stats.steps });
            }
            let left = (count - i - 1) as f64 / count as f64;
            epoch_stats.seconds = to - (to - from) * left;
            let (loss, error) = epoch_stats.classifier();
            watch(Progress::Step {
                epoch,
                step: epoch_stats.steps,
                steps,
                loss,
                error,
                images_per_second: epoch_stats.images as f64 / epoch_stats.seconds.max(1e-9),
                peak,
                lr: rates.at_step(epoch, epoch_stats.steps, steps).backbone,
                epoch_stats,
            });
        }
        if count > 0 {
            deferred.took(count, to - from);
        }
        Ok(())
    }

    fn loader_options(&self, epoch: usize, first_batch: usize) -> LoaderOptions {
        let Trainer { recipe, augment, extras, sources, .. } = self;
        LoaderOptions {
            batch: recipe.train.batch,
            frame: setup::frame(&recipe.data),
            deliver: sources.first().map_or(Deliver::Images, BatchSource::deliver),
            augment: *augment,
            extras: *extras,
            shuffle: true,
            balanced: recipe.data.sampler.is_balanced(),
            seed: recipe.seed,
            epoch,
            first_batch,
        }
    }
}
