//! A run: epochs of steps, evaluation; interrupted and resumed without a trace.

use super::checkpoint::Best;
use super::epoch_stats::EpochStats;
use super::evaluate::evaluate_from;
use super::metrics::{Event, Tested};
use super::progress::{Outcome, Progress};
use super::rank_logs::RankLogs;
use super::run::Run;
use super::trainer::Trainer;
use super::{LearningRate, Lock, setup};
use crate::evaluation::{Evaluated, KEPT_MISTAKES};
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

impl Trainer {
    /// Trains to the last epoch and tests, or until `stop` is set or its time is over ([`Trainer::stop_by`]): the steps asked for are
    /// finished, then all is saved.
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
        let world = self.learner.world().cloned();
        let _logs = world.as_ref().map(|world| RankLogs::begin(world, held.folder()));
        let mut run = || self.whole_run(held, resume, stop, watch);
        let done = match &world {
            Some(world) => world.told_of_panics(run),
            None => run(),
        };
        done.inspect_err(|e| self.blame(e))
    }

    /// Ends other ranks, where there are some, with what went wrong here, and says which rank it went wrong in.
    fn blame(&self, e: &Error) {
        let Some(world) = self.learner.world() else { return };
        let at = match e {
            Error::NonFinite { module, .. } => {
                self.plan.stages.iter().position(|s| s.modules.contains(module))
            }
            _ => None,
        };
        world.fail_at(at.unwrap_or(0), &e.to_string());
    }

    fn whole_run(
        &mut self,
        held: &Lock,
        resume: bool,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome> {
        let mut run = self.open_run(held, resume, watch)?;
        let rates = self.rates();
        while run.at.epoch < self.recipe.train.epochs && !self.ends_early(&run.at) {
            let in_time = self.deadline.leaves_an_epoch(Instant::now());
            if !in_time || !self.train_epoch(&mut run, &rates, stop, watch)? {
                return self.stopped(&mut run, stop, watch);
            }
            self.finish_epoch(&mut run, &rates, watch)?;
        }
        if !self.deadline.leaves_a_test(Instant::now(), self.left_to_test(&run.at)) {
            return self.stopped(&mut run, stop, watch);
        }
        self.note_peak(&mut run);
        let (summary, found) = self.tested(&mut run, watch)?;
        run.conclude(&Evaluated { epoch: run.at.epoch, data: self.splits.name.clone(), found }, &summary)?;
        let end = Event::End(summary.clone());
        run.note(&end)?;
        watch(Progress::Event(&end));
        Ok(Outcome::Finished(summary))
    }

    /// Saves a run that stops before its end.
    fn stopped(
        &mut self,
        run: &mut Run<'_>,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Outcome> {
        self.save(run, false)?;
        let (epoch, step) = (run.at.epoch, run.at.epoch_stats.steps);
        let interrupted = Event::Interrupted { epoch };
        run.note(&interrupted)?;
        watch(Progress::Event(&interrupted));
        let asked = stop.load(Ordering::Relaxed);
        if asked {
            return Ok(Outcome::Interrupted { epoch, step });
        }
        let trained = epoch >= self.recipe.train.epochs || self.ends_early(&run.at);
        Ok(Outcome::OutOfTime { epoch, step, trained })
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
        // Only the newest is kept, and not beside the next one.
        run.found = None;
        let (data, term) = match &self.splits.validation {
            Some(validation) => (validation, "validation"),
            None => (&self.splits.test, "test"),
        };
        let sizes = (self.recipe.train.test_batch(), setup::frame(&self.recipe.data));
        let set = (data, &self.held_source);
        // Where an EMA of the weights is kept, that is what is tested, kept and used.
        self.learner.exchange_average()?;
        let found = evaluate_from(&mut self.learner, set, &self.pool, sizes, KEPT_MISTAKES);
        self.learner.exchange_average()?;
        let found = found?;
        if found.undefined == found.images {
            // The last step of the epoch may have been the one too far, which no loss has seen.
            let (module, step) = (self.learner.modules().saturating_sub(1), run.at.epoch_stats.steps);
            return Err(Error::NonFinite { module, term, value: f32::NAN, epoch, step });
        }
        self.deadline.evaluated =
            Some(begin.elapsed() / u32::try_from(found.images.max(1)).unwrap_or(u32::MAX));
        let evaluating = begin.elapsed().as_secs_f64();
        self.note_peak(run);
        let trained = run.at.epoch_stats.seconds;
        let at = &mut run.at;
        at.seconds += evaluating;
        let seconds = at.epoch_stats.seconds + evaluating;
        let lr = rates.at_step(epoch, at.epoch_stats.steps, at.epoch_stats.steps).backbone;
        let mut line = at.epoch_stats.epoch(epoch, lr, f64::NAN, seconds, at.peak);
        line.evaluated(&found, self.splits.validation.is_some());
        line.tested = Tested::of(&self.recipe.train);
        let is_best = at.best.is_none_or(|b| found.error < b.error);
        if is_best {
            at.best = Some(Best { epoch, error: found.error });
        }
        at.without_improvement = if is_best { 0 } else { at.without_improvement + 1 };
        at.epoch = epoch;
        (at.last_error, at.last_val_error) = (line.test_error, line.val_error);
        at.epoch_stats = EpochStats::default();
        run.found = self.splits.validation.is_none().then_some(found);
        let event = Event::Epoch(line.clone());
        run.note(&event)?;
        self.save(run, is_best)?;
        let whole = Duration::try_from_secs_f64(trained).unwrap_or_default() + begin.elapsed();
        self.deadline.epoch = Some(whole);
        watch(Progress::Epoch(&line));
        watch(Progress::Event(&event));
        Ok(())
    }
}
