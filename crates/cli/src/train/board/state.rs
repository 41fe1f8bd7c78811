//! What the dashboard knows of a run, fed by its progress; nothing of terminals.

use super::curve::Curve;
use crate::train::eta::Eta;
use crate::train::ranks::RankRow;
use crate::train::table::{Row, Table, accuracies};
use mlaan::train::metrics::{Epoch, Event};
use mlaan::train::{EpochStats, PeakBytes, Progress};
use std::time::{Duration, Instant};

/// Finished epochs whose lines are kept to be looked at: what the tallest terminal shows.
const KEPT: usize = 200;

/// What is shown below the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Curves, and a bar for every module.
    #[default]
    Curves,
    /// Numbers of every module.
    Modules,
    /// The lines of the finished epochs.
    Epochs,
    /// How ranks are doing, where there are several.
    Ranks,
}

/// What the run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Nothing has come yet.
    Starting,
    /// Training steps.
    Training,
    /// Classifies the test images.
    Testing,
}

/// The newest step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// From 1.
    pub epoch: usize,
    /// From 1.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Training images per second in this epoch so far.
    pub speed: f64,
    /// Bytes in use at the most so far.
    pub bytes: u64,
    /// Learning rate of the backbone.
    pub lr: f64,
}

/// Losses and accuracies (percent) of every module, and when they were taken.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    /// Mean local loss each.
    pub losses: Vec<f64>,
    /// Training accuracy each; NaN where a module does not classify.
    pub accuracies: Vec<f64>,
    /// The epoch.
    pub epoch: usize,
    /// Whether the epoch is not over.
    pub so_far: bool,
}

/// Loss and accuracy of the network's own classifier over a run; x counts epochs.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// Training loss, step by step.
    pub loss: Curve,
    /// Training accuracy, percent, step by step.
    pub accuracy: Curve,
    /// Test accuracy, percent, epoch by epoch.
    pub test: Curve,
}

/// See the module.
#[derive(Clone)]
pub struct State {
    /// What the run is called.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// Bytes that the plan says it needs.
    pub planned: u64,
    /// Time left.
    pub eta: Eta,
    /// What it does.
    pub doing: Doing,
    /// It was asked to stop.
    pub stopping: bool,
    /// The newest step.
    pub at: Step,
    /// Over time.
    pub curves: Curves,
    /// Every module.
    pub modules: Modules,
    /// Lines of finished epochs.
    pub rows: Vec<Row>,
    /// The newest validation accuracy (test accuracy, where there is no validation set), percent.
    pub test: f64,
    /// The highest of these, percent, and its epoch (0: before this process began).
    pub best: (f64, usize),
    /// How every rank is doing, where there are several.
    pub ranks: Vec<RankRow>,
    /// What is shown.
    pub view: View,
    /// Whether the keys are explained.
    pub help: bool,
    table: Table,
    testing_since: Instant,
    /// Images, sum of losses and wrong ones of this epoch so far.
    seen: (usize, f64, f64),
}

impl State {
    /// Of a run that is to begin, or goes on after the epochs in `before`. Where these are lost, its lowest test
    /// error so far is `best`.
    pub fn new(
        (name, folder): (String, String),
        planned: u64,
        eta: Eta,
        before: &[Event],
        best: f64,
    ) -> Self {
        let known = before.iter().any(|e| matches!(e, Event::Epoch(_)));
        let best = if known { f64::INFINITY } else { best };
        let mut state = State {
            name,
            folder,
            planned,
            table: Table::new(eta.epochs, best),
            eta,
            doing: Doing::Starting,
            stopping: false,
            at: Step::default(),
            curves: Curves::default(),
            modules: Modules::default(),
            rows: Vec::new(),
            test: f64::NAN,
            best: (100.0 - best, 0),
            ranks: Vec::new(),
            view: View::default(),
            help: false,
            testing_since: Instant::now(),
            seen: (0, 0.0, 0.0),
        };
        for event in before {
            let Event::Epoch(e) = event else { continue };
            let middle = e.epoch as f64 - 0.5;
            state.curves.loss.push(middle, e.train_loss);
            state.curves.accuracy.push(middle, e.train_accuracy);
            state.finished(e);
        }
        state
    }

    /// The view that Tab switches to.
    pub fn next_view(&self) -> View {
        match self.view {
            View::Curves => View::Modules,
            View::Modules => View::Epochs,
            View::Epochs if !self.ranks.is_empty() => View::Ranks,
            View::Epochs | View::Ranks => View::Curves,
        }
    }

    /// The table that its lines come from.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Takes what happened; `true` where it is worth a new picture at once.
    pub fn tell(&mut self, progress: Progress<'_>, now: Instant) -> bool {
        match progress {
            Progress::Step {
                epoch, step, steps, images_per_second: speed, peak, lr, epoch_stats, ..
            } => {
                self.doing = Doing::Training;
                self.at = Step { epoch, step, steps, speed, bytes: peak.most(), lr };
                self.step(epoch_stats);
                false
            }
            Progress::Evaluating { epoch } => {
                self.doing = Doing::Testing;
                self.at.epoch = epoch;
                self.testing_since = now;
                true
            }
            Progress::Epoch(e) => {
                let testing: Duration = now.saturating_duration_since(self.testing_since);
                self.eta.testing = testing.as_secs_f64();
                self.doing = Doing::Training;
                self.finished(e);
                self.seen = (0, 0.0, 0.0);
                true
            }
            Progress::Resumed { .. } | Progress::Event(_) => false,
        }
    }

    /// Share of the epoch that is done, and of the run.
    pub fn done(&self) -> (f64, f64) {
        let epoch = self.at.step as f64 / self.at.steps.max(1) as f64;
        let run = (self.at.epoch.saturating_sub(1) as f64 + epoch) / self.eta.epochs.max(1) as f64;
        (epoch.min(1.0), run.min(1.0))
    }

    /// Seconds left of the epoch and of the run; nothing before the first step.
    pub fn seconds_left(&self) -> Option<(f64, f64)> {
        (self.at.speed > 0.0).then(|| self.eta.after(self.at.epoch, self.at.step, self.at.speed))
    }

    fn step(&mut self, epoch_stats: &EpochStats) {
        let at = self.at;
        let wrong = epoch_stats.wrong.last().copied().unwrap_or(f64::NAN);
        let (images, loss, missed) = if epoch_stats.images > self.seen.0 { self.seen } else { (0, 0.0, 0.0) };
        let n = epoch_stats.images.saturating_sub(images) as f64;
        let x = at.epoch as f64 - 1.0 + at.step as f64 / at.steps.max(1) as f64;
        self.curves.loss.push(x, (epoch_stats.loss - loss) / n);
        if wrong >= 0.0 {
            self.curves.accuracy.push(x, 100.0 - 100.0 * (wrong - missed) / n);
        }
        self.seen = (epoch_stats.images, epoch_stats.loss, wrong);
        // The first steps of an epoch say little of it: until then the epoch before stands.
        if at.step * 10 >= at.steps || self.modules.accuracies.is_empty() {
            let e = epoch_stats.epoch(at.epoch, at.lr, f64::NAN, 0.0, PeakBytes::default());
            let accuracies = accuracies(&e.module_errors);
            self.modules = Modules { losses: e.module_losses, accuracies, epoch: at.epoch, so_far: true };
        }
    }

    fn finished(&mut self, e: &Epoch) {
        let held_out = e.held_out_accuracy();
        self.curves.test.push(e.epoch as f64, held_out);
        self.test = held_out;
        let row = self.table.row(e);
        if row.is_best {
            self.best = (held_out, e.epoch);
        }
        if self.rows.len() >= KEPT {
            self.rows.remove(0);
        }
        self.rows.push(row);
        self.modules = Modules {
            losses: e.module_losses.clone(),
            accuracies: accuracies(&e.module_errors),
            epoch: e.epoch,
            so_far: false,
        };
    }
}
