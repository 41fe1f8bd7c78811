//! The end of a run: whether it comes early, and the test that a run with a validation set has only then.

use super::checkpoint;
use super::evaluate::evaluate_from;
use super::metrics::Summary;
use super::progress::Progress;
use super::run::{Position, Run};
use super::setup;
use super::state::restore;
use super::trainer::Trainer;
use crate::data::BatchSource;
use crate::evaluation::{Evaluation, KEPT_MISTAKES};
use crate::{Error, Result};
use std::time::Instant;

impl Trainer {
    /// Whether as many epochs went by without improvement as the recipe waits for.
    pub(super) fn ends_early(&self, at: &Position) -> bool {
        self.recipe.train.patience_used().is_some_and(|patience| at.without_improvement >= patience)
    }

    /// Images that the test at the end will classify: none where every epoch was tested.
    pub(super) fn left_to_test(&self, at: &Position) -> usize {
        let networks =
            at.last_val_error.and(at.best).map_or(0, |best| 1 + usize::from(best.epoch != at.epoch));
        networks * self.splits.test.len()
    }

    /// What the run achieved. Where epochs were validated, the test images are classified now: by the network of the last
    /// epoch, and where another was the best, by that as well. With it comes what was found of the last one.
    pub(super) fn tested(
        &mut self,
        run: &mut Run<'_>,
        watch: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(Summary, Evaluation)> {
        let Some(best) = run.at.last_val_error.and(run.at.best) else {
            // What was found before is lost where the run was killed behind its last epoch.
            let found = run.found.take().map_or_else(|| self.test(), Ok)?;
            return Ok((self.summary(&run.at, &found), found));
        };
        watch(Progress::Evaluating { epoch: run.at.epoch });
        let begin = Instant::now();
        let last = self.test()?;
        let of_best = if best.epoch == run.at.epoch { last.error } else { self.test_best(run)? };
        self.note_peak(run);
        run.at.seconds += begin.elapsed().as_secs_f64();
        let summary = Summary {
            test_error: last.error,
            best_test_error: of_best,
            best_test_accuracy: 100.0 - of_best,
            ..self.summary(&run.at, &last)
        };
        Ok((summary, last))
    }

    /// The test error of the best epoch's network; the learner then has the last one's values again.
    fn test_best(&mut self, run: &Run<'_>) -> Result<f64> {
        run.held.check()?;
        let folder = run.held.folder();
        let (_, tensors) = checkpoint::load(&checkpoint::best(folder)?)?;
        restore(&mut self.learner, &tensors, false)?;
        let error = self.test();
        let (_, tensors) = checkpoint::load(folder)?;
        restore(&mut self.learner, &tensors, true)?;
        Ok(error?.error)
    }

    /// Evaluates the network, as it stands, on the test images.
    fn test(&mut self) -> Result<Evaluation> {
        // Images that lie on the device are those that are evaluated after every epoch.
        let source = if self.splits.validation.is_some() { &BatchSource::Host } else { &self.held_source };
        let (test, sizes) =
            (&self.splits.test, (self.recipe.train.test_batch(), setup::frame(&self.recipe.data)));
        // Where an EMA of the weights is kept, that is what is tested.
        self.learner.exchange_average()?;
        let found = evaluate_from(&mut self.learner, (test, source), &self.pool, sizes, KEPT_MISTAKES);
        self.learner.exchange_average()?;
        let found = found?;
        if found.undefined == found.images {
            let module = self.learner.modules().saturating_sub(1);
            let (epoch, step) = (self.recipe.train.epochs, 0);
            return Err(Error::NonFinite { module, term: "test", value: f32::NAN, epoch, step });
        }
        Ok(found)
    }
}
