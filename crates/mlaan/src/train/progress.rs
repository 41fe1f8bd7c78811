//! What a run tells while it goes on, and how it ends.

use super::epoch_stats::EpochStats;
use super::metrics::{Epoch, Event, Summary};
use super::peak::PeakBytes;

/// What a run tells while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// It goes on after a checkpoint: finished epochs, and steps of the next one.
    Resumed {
        /// Finished epochs.
        epoch: usize,
        /// Steps of the next epoch.
        step: usize,
    },
    /// A step is done.
    Step {
        /// From 1.
        epoch: usize,
        /// From 1.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Mean loss of the classifier in this epoch so far.
        loss: f64,
        /// Its error so far, percent.
        error: f64,
        /// Images per second in this epoch so far.
        images_per_second: f64,
        /// Memory at the most so far.
        peak: PeakBytes,
        /// Learning rate of the backbone.
        lr: f64,
        /// Sums of this epoch so far, of every module.
        epoch_stats: &'a EpochStats,
    },
    /// The test images are being classified.
    Evaluating {
        /// From 1.
        epoch: usize,
    },
    /// An epoch is finished, tested and saved.
    Epoch(&'a Epoch),
    /// A line of the metrics file was written (an epoch's: and its checkpoint saved).
    Event(&'a Event),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All epochs are done.
    Finished(Summary),
    /// It was asked to stop; what it had is saved.
    Interrupted {
        /// Finished epochs.
        epoch: usize,
        /// Steps of the next one.
        step: usize,
    },
    /// No further epoch, or no test at the end, would have ended in its time, or this epoch did not; what it had is saved.
    OutOfTime {
        /// Finished epochs.
        epoch: usize,
        /// Steps of the next one.
        step: usize,
        /// Whether all epochs are trained, and only the test at the end of a run with validation images is left.
        trained: bool,
    },
}
