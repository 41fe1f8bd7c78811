//! A run: epochs of steps, evaluation; interrupted and resumed without a trace.

use super::checkpoint::Best;
use super::evaluate::evaluate_from;
use super::metrics::{Epoch, Event, Tested};
use super::progress::{Outcome, Progress};
use super::run::Run;
use super::tally::Tally;
use super::trainer::Trainer;
use super::{LearningRate, Lock, setup};
use crate::data::Dataset;
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

impl Trainer {
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
        let sizes = (self.recipe.train.test_batch(), setup::frame(&self.recipe.data));
        // Where an EMA of the weights is kept, that is what is tested, kept and used.
        self.learner.exchange_average()?;
        let found = evaluate_from(&mut self.learner, (test, &self.test_source), &self.pool, sizes);
        self.learner.exchange_average()?;
        let found = found?;
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
        let line = Epoch { tested: Tested::of(&self.recipe.train), ..line };
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
}
