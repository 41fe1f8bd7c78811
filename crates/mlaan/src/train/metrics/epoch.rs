//! What one epoch measured.

use super::tested::{Tested, accuracy};
use crate::evaluation::Evaluation;
use crate::numbers::{missing, number, numbers};
use crate::train::peak::PeakBytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What one epoch measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Learning rate of the backbone.
    #[serde(deserialize_with = "number")]
    pub lr: f64,
    /// Mean loss of the network's own classifier over the training images.
    #[serde(deserialize_with = "number")]
    pub train_loss: f64,
    /// Accuracy of the network's own classifier over the training images, percent.
    #[serde(default = "missing", deserialize_with = "number")]
    pub train_accuracy: f64,
    /// Error of the network's own classifier over the training images, percent.
    #[serde(deserialize_with = "number")]
    pub train_error: f64,
    /// Accuracy over the validation images, percent; none where there is no validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// Error over the validation images, percent, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_error: Option<f64>,
    /// Mean cross-entropy over the validation images, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Validation images whose class is among the five best guesses, percent, likewise; only with more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_top5_accuracy: Option<f64>,
    /// Accuracy over the test images, percent; not a number, and not written, where epochs are validated instead.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_accuracy: f64,
    /// Error over the test images, percent, likewise.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_error: f64,
    /// Mean cross-entropy over the test images; NaN in runs from before it was measured.
    #[serde(default = "missing", deserialize_with = "number", skip_serializing_if = "is_not_tested")]
    pub test_loss: f64,
    /// Test images whose class is among the five best guesses, percent; only with more than five classes.
    #[serde(default)]
    pub test_top5_accuracy: Option<f64>,
    /// What was tested, if it is not the weights as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested: Option<Tested>,
    /// Mean local loss of every module over the training images.
    #[serde(deserialize_with = "numbers")]
    pub module_losses: Vec<f64>,
    /// Error of every module's classifier over the training images, percent; in cascades, of the level that trains it more.
    #[serde(deserialize_with = "numbers")]
    pub module_errors: Vec<f64>,
    /// Duration of the epoch.
    #[serde(deserialize_with = "number")]
    pub seconds: f64,
    /// Training images per second.
    #[serde(deserialize_with = "number")]
    pub images_per_second: f64,
    /// Peak memory of the process so far; none where the system does not tell, and on a device with memory of its own.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// The part of it that is tensors and images, as the accountant counts them.
    #[serde(alias = "peak_bytes")]
    pub peak_allocated_bytes: u64,
}

impl Epoch {
    /// The error that the best epoch has the lowest of, percent: over the validation images, or over the test images where
    /// there is no validation set.
    pub fn held_out_error(&self) -> f64 {
        self.val_error.unwrap_or(self.test_error)
    }

    /// The accuracy that the best epoch has the highest of, likewise.
    pub fn held_out_accuracy(&self) -> f64 {
        self.val_accuracy.unwrap_or(self.test_accuracy)
    }

    /// Takes what an evaluation behind the epoch found: of the validation images, or else of the test images.
    pub(in crate::train) fn evaluated(&mut self, found: &Evaluation, validates: bool) {
        if validates {
            (self.val_accuracy, self.val_error) = (Some(found.accuracy), Some(found.error));
            (self.val_loss, self.val_top5_accuracy) = (Some(found.loss), found.top5_accuracy);
        } else {
            (self.test_accuracy, self.test_error) = (found.accuracy, found.error);
            (self.test_loss, self.test_top5_accuracy) = (found.loss, found.top5_accuracy);
        }
    }

    /// Peak memory so far, as far as it is known.
    pub fn peak(&self) -> PeakBytes {
        PeakBytes { memory: self.peak_memory_bytes, allocated: self.peak_allocated_bytes }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_not_tested(value: &f64) -> bool {
    value.is_nan()
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        Epoch::serialize(self, s)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let read = Epoch::deserialize(d)?;
        Ok(Epoch {
            train_accuracy: accuracy(read.train_accuracy, read.train_error),
            test_accuracy: accuracy(read.test_accuracy, read.test_error),
            ..read
        })
    }
}
