//! What a finished run achieved: `summary.json`.

use super::tested::{Tested, accuracy};
use crate::files::{self, atomic};
use crate::numbers::{missing, number, read_json};
use crate::train::peak::PeakBytes;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::io::ErrorKind;
use std::path::Path;

/// Name of the summary in a run's folder.
pub const SUMMARY: &str = "summary.json";

/// What a finished run achieved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Summary {
    /// Finished epochs.
    pub epochs: usize,
    /// Test accuracy after the last epoch, percent.
    #[serde(default = "missing", deserialize_with = "number")]
    pub test_accuracy: f64,
    /// Test error after the last epoch, percent.
    #[serde(deserialize_with = "number")]
    pub test_error: f64,
    /// Test loss after the last epoch; NaN in runs from before it was measured.
    #[serde(default = "missing", deserialize_with = "number")]
    pub test_loss: f64,
    /// Test images whose class is among the five best guesses, percent; only with more than five classes.
    #[serde(default)]
    pub test_top5_accuracy: Option<f64>,
    /// Test accuracy after the best epoch, percent: the highest, where there is no validation set to choose that epoch on.
    #[serde(default = "missing", deserialize_with = "number")]
    pub best_test_accuracy: f64,
    /// Test error after the best epoch, percent, likewise.
    #[serde(deserialize_with = "number")]
    pub best_test_error: f64,
    /// The best epoch, from 1: that with the lowest validation error, or test error.
    pub best_epoch: usize,
    /// Validation error after the last epoch, percent; none where there is no validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_error: Option<f64>,
    /// Validation error of the best epoch, percent, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_val_error: Option<f64>,
    /// Whether it ended before its last epoch, after `train.patience` epochs without improvement.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopped_early: bool,
    /// What was tested, if it is not the weights as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Seconds trained, over all resumptions.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Peak memory of the process; none where the system does not tell, and on a device with memory of its own.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// The part of it that is tensors and images, as the accountant counts them.
    #[serde(alias = "peak_bytes")]
    pub peak_allocated_bytes: u64,
    /// Values of the network, without auxiliary networks.
    pub parameters: usize,
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        Summary::serialize(self, s)
    }
}

impl<'de> Deserialize<'de> for Summary {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let read = Summary::deserialize(d)?;
        Ok(Summary {
            test_accuracy: accuracy(read.test_accuracy, read.test_error),
            best_test_accuracy: accuracy(read.best_test_accuracy, read.best_test_error),
            ..read
        })
    }
}

impl Summary {
    /// Peak memory, as far as it is known.
    pub fn peak(&self) -> PeakBytes {
        PeakBytes { memory: self.peak_memory_bytes, allocated: self.peak_allocated_bytes }
    }

    /// Writes the summary into a run's folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let path = run.join(SUMMARY);
        let failed = |e: serde_json::Error| Error::io(&path)(e.into());
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        atomic::write(&path, |out| out.write_all(&json).map_err(Error::io(&path)))
    }

    /// Reads the summary of a run's folder.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none (the run has not finished) or it cannot be read.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(SUMMARY);
        let json = files::read(&path, files::SUMMARY)?;
        read_json(&json).map_err(|e| Error::io(&path)(std::io::Error::new(ErrorKind::InvalidData, e)))
    }
}
