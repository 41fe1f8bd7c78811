//! Runs, those that differ in their seed only together.

use crate::compare::statistics::Moments;
use crate::compare::{Machine, Record};
use crate::evaluation::Evaluated;
use crate::train::metrics::{self, Epoch, Event, Start, Summary};
use crate::train::{PeakBytes, RECIPE};
use crate::{Error, Result, files};
use std::collections::BTreeMap;
use std::path::Path;

/// A run, finished or not.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What it was when it began.
    pub start: Option<Start>,
    /// What computed it, where that is known.
    pub machine: Option<Machine>,
    /// Bytes that were planned, images included, where a comparison's record has them.
    pub planned: Option<u64>,
    /// Its outcome; none before its end.
    pub summary: Option<Summary>,
    /// Finished epochs.
    pub epochs: Vec<Epoch>,
    /// What the network was found to be worth at the end of the run, class by class, where that is known.
    pub evaluated: Option<Evaluated>,
    /// Its recipe as TOML.
    pub recipe: String,
    /// Where it was found.
    pub place: String,
}

/// Runs of one experiment.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// What it is called.
    pub name: String,
    /// One per seed.
    pub runs: Vec<Run>,
}

impl Run {
    /// The run of a folder.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Data`] where its metrics or its recipe cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let events = metrics::read(folder)?;
        if events.is_empty() {
            let at = folder.join(metrics::METRICS).display().to_string();
            return Err(Error::data(at, "holds no event of a run: it is damaged, or no run's"));
        }
        let path = folder.join(RECIPE);
        let recipe = if path.exists() { files::text(&path, files::RECIPE)? } else { String::new() };
        let evaluated = Evaluated::read(folder)?;
        let mut run = Run { recipe, evaluated, place: folder.display().to_string(), ..Run::default() };
        for event in events {
            match event {
                Event::Start(start) => run.start = Some(start),
                Event::Epoch(epoch) => run.epochs.push(epoch),
                Event::End(summary) => run.summary = Some(summary),
                _ => {}
            }
        }
        Ok(run)
    }

    /// The run of a comparison's record.
    pub fn of(record: Record, place: String) -> Self {
        Run {
            start: record.start,
            machine: record.machine,
            planned: record.planned_bytes,
            summary: Some(record.summary),
            epochs: record.epochs,
            evaluated: None,
            recipe: record.recipe,
            place,
        }
    }

    /// The test error after the last epoch, percent.
    pub fn test_error(&self) -> Option<f64> {
        self.tested(|e| e.test_error, |s| s.test_error)
    }

    /// The test accuracy after the last epoch, percent.
    pub fn test_accuracy(&self) -> Option<f64> {
        self.test_error().map(|error| 100.0 - error)
    }

    /// The epoch with the lowest validation error (test error, where there is no validation set).
    pub fn best(&self) -> Option<&Epoch> {
        let evaluated = self.epochs.iter().filter(|e| e.held_out_error().is_finite());
        evaluated.min_by(|a, b| a.held_out_error().total_cmp(&b.held_out_error()))
    }

    /// The test error after the best epoch, percent; none of a run with validation images that has not ended.
    pub fn best_test_error(&self) -> Option<f64> {
        let of_epoch = self.best().map(|e| e.test_error).filter(|e| e.is_finite());
        of_epoch.or_else(|| self.summary.as_ref().map(|s| s.best_test_error)).filter(|e| e.is_finite())
    }

    /// The test accuracy after the best epoch, percent, likewise.
    pub fn best_test_accuracy(&self) -> Option<f64> {
        self.best_test_error().map(|error| 100.0 - error)
    }

    /// The test loss after the last epoch.
    pub fn test_loss(&self) -> Option<f64> {
        self.tested(|e| e.test_loss, |s| s.test_loss)
    }

    /// The top-5 test accuracy after the last epoch, percent; none with five classes or fewer.
    pub fn test_top5_accuracy(&self) -> Option<f64> {
        let or = |known: Option<f64>| known.unwrap_or(f64::NAN);
        self.tested(|e| or(e.test_top5_accuracy), |s| or(s.test_top5_accuracy))
    }

    /// What was measured on the test images after the last epoch: its line has it, or the summary of a run with validation
    /// images, which is tested at its end.
    fn tested(&self, of: impl Fn(&Epoch) -> f64, or: impl Fn(&Summary) -> f64) -> Option<f64> {
        let last = self.epochs.last().map(of).filter(|value| value.is_finite());
        last.or_else(|| self.summary.as_ref().map(or)).filter(|value| value.is_finite())
    }

    /// Seconds trained.
    pub fn seconds(&self) -> f64 {
        self.summary
            .as_ref()
            .map_or_else(|| self.epochs.iter().fold(0.0, |s, e| s + e.seconds), |s| s.seconds)
    }

    /// Bytes that were planned, images included, where that is known.
    pub fn planned_bytes(&self) -> Option<u64> {
        self.planned.or_else(|| self.start.as_ref()?.planned_bytes)
    }

    /// Bytes that backpropagation would have needed in its place, where that is known.
    pub fn backpropagation_bytes(&self) -> Option<u64> {
        self.start.as_ref()?.backpropagation_bytes
    }

    /// Peak memory, bytes.
    pub fn peak_bytes(&self) -> u64 {
        let epochs = self.epochs.iter().map(Epoch::peak);
        // The test at the end counts, too.
        let all = epochs.chain(self.summary.as_ref().map(Summary::peak));
        all.map(PeakBytes::most).max().unwrap_or(0)
    }
}

impl Group {
    /// Mean and spread of what its runs have.
    pub fn moments(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<Moments> {
        let values: Vec<f64> = self.runs.iter().filter_map(of).collect();
        Moments::of(&values)
    }

    /// A value by epoch, the mean over the runs that have it. Epochs count as what they are called, so only those that
    /// are there are looked at.
    pub fn curve(&self, of: impl Fn(&Epoch) -> f64) -> Vec<(f64, f64)> {
        let mean = |(epoch, values): (usize, Vec<f64>)| Some((epoch as f64, Moments::of(&values)?.mean));
        self.by_epoch(of).into_iter().filter_map(mean).collect()
    }

    /// The values of every epoch.
    fn by_epoch(&self, of: impl Fn(&Epoch) -> f64) -> BTreeMap<usize, Vec<f64>> {
        // By those that are there: files may claim any number.
        let mut values: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for epoch in self.runs.iter().flat_map(|r| &r.epochs) {
            let value = of(epoch);
            if epoch.epoch > 0 && value.is_finite() {
                values.entry(epoch.epoch).or_default().push(value);
            }
        }
        values
    }

    /// As [`Group::curve`], mean minus and plus one standard deviation; epochs of one run have none.
    pub fn band(&self, of: impl Fn(&Epoch) -> f64) -> Vec<(f64, f64, f64)> {
        let spread = |(epoch, values): (usize, Vec<f64>)| {
            let Moments { mean, sd, .. } = Moments::of(&values)?;
            sd.map(|sd| (epoch as f64, mean - sd, mean + sd))
        };
        self.by_epoch(of).into_iter().filter_map(spread).collect()
    }

    /// Training accuracies of the modules in the last epoch, means over the runs.
    pub fn modules(&self) -> Vec<(f64, f64)> {
        let last: Vec<&Epoch> = self.runs.iter().filter_map(|r| r.epochs.last()).collect();
        let n = last.iter().map(|e| e.module_errors.len()).max().unwrap_or(0);
        let at = |k: usize| {
            let all = last.iter().filter_map(|e| e.module_errors.get(k).copied());
            let values: Vec<f64> = all.filter(|v| v.is_finite()).collect();
            Moments::of(&values).map(|m| (k as f64, 100.0 - m.mean))
        };
        (0..n).filter_map(at).collect()
    }
}
