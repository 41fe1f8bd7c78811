//! A run: epochs of steps, evaluation; interrupted and resumed without a trace.

use super::checkpoint::Best;
use super::evaluate::evaluate_from;
use super::metrics::{Epoch, Event};
use super::progress::{Outcome, Progress};
use super::run::Run;
use super::tally::Tally;
use super::trainer::Trainer;
use super::{LearningRate, Lock, setup};
use crate::data::Dataset;
use crate::evaluation::{Evaluated, Evaluation, KEPT_MISTAKES};
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

impl Trainer {
    /// Trains to the last epoch, or until `stop` is set or its time is over ([`Trainer::stop_by`]): the steps asked for are
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
        let mut run = self.open_run(held, resume, watch)?;
        let rates = self.rates();
        while run.at.epoch < self.recipe.train.epochs {
            let in_time = self.deadline.leaves_an_epoch(Instant::now());
            if !in_time || !self.train_epoch(&mut run, &rates, stop, watch)? {
                return self.stopped(&mut run, stop, watch);
            }
            self.finish_epoch(&mut run, &rates, watch)?;
        }
        // What was found before is lost where the run was killed behind its last epoch.
        let found = match run.found.take() {
            Some(found) => found,
            None => self.test()?,
        };
        self.look(&mut run);
        let summary = self.summary(&run.at, &found);
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
        let (epoch, step) = (run.at.epoch, run.at.tally.steps);
        let interrupted = Event::Interrupted { epoch };
        run.note(&interrupted)?;
        watch(Progress::Event(&interrupted));
        let asked = stop.load(Ordering::Relaxed);
        Ok(if asked { Outcome::Interrupted { epoch, step } } else { Outcome::OutOfTime { epoch, step } })
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
        let found = self.test()?;
        if found.undefined == found.images {
            // The last step of the epoch may have been the one too far, which no loss has seen.
            let (module, step) = (self.learner.modules().saturating_sub(1), run.at.tally.steps);
            return Err(Error::NonFinite { module, term: "test", value: f32::NAN, epoch, step });
        }
        let evaluating = begin.elapsed().as_secs_f64();
        self.look(run);
        let trained = run.at.tally.seconds;
        let at = &mut run.at;
        at.seconds += evaluating;
        let seconds = at.tally.seconds + evaluating;
        let lr = rates.at_step(epoch, at.tally.steps, at.tally.steps).backbone;
        let line = Epoch {
            test_accuracy: found.accuracy,
            test_loss: found.loss,
            test_top5_accuracy: found.top5_accuracy,
            ..at.tally.epoch(epoch, lr, found.error, seconds, at.peak)
        };
        let is_best = at.best.is_none_or(|b| found.error < b.error);
        if is_best {
            at.best = Some(Best { epoch, error: found.error });
        }
        at.epoch = epoch;
        at.last_error = found.error;
        at.tally = Tally::default();
        run.found = Some(found);
        let event = Event::Epoch(line.clone());
        run.note(&event)?;
        self.save(run, is_best)?;
        let whole = Duration::try_from_secs_f64(trained).unwrap_or_default() + begin.elapsed();
        self.deadline.epoch = Some(whole);
        watch(Progress::Epoch(&line));
        watch(Progress::Event(&event));
        Ok(())
    }

    /// Evaluates the network, as it stands, on the test images.
    fn test(&mut self) -> Result<Evaluation> {
        let test: &std::sync::Arc<dyn Dataset> = &self.splits.test;
        let sizes = (self.recipe.train.batch, setup::frame(&self.recipe.data));
        evaluate_from(&mut self.learner, (test, &self.test_source), &self.pool, sizes, KEPT_MISTAKES)
    }
}
