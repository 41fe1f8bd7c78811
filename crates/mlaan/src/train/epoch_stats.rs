//! Sums of an epoch's losses and errors.

use super::metrics::Epoch;
use super::peak::PeakBytes;
use crate::local::{Branch, Method, StepReport};
use serde::{Deserialize, Serialize};

/// Sums over the images of an epoch so far; part of a checkpoint written within an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochStats {
    /// Steps taken.
    pub steps: usize,
    /// Images seen.
    pub images: usize,
    /// Seconds spent in training steps.
    pub seconds: f64,
    /// Per module: loss times images; negative where the module is frozen and not trained.
    pub losses: Vec<f64>,
    /// Per module: images classified wrongly; negative where the loss does not classify.
    pub wrong: Vec<f64>,
    /// Loss of the network's own classifier times images.
    pub loss: f64,
}

impl EpochStats {
    /// Adds a step over `images` images.
    pub fn add(&mut self, report: &StepReport, method: &Method, images: usize) {
        let n = report.modules.len();
        self.losses.resize(n, 0.0);
        self.wrong.resize(n, 0.0);
        self.steps += 1;
        self.images += images;
        let (w_ind, w_cas) = (method.weight(Branch::Independent), method.weight(Branch::Cascaded));
        for (j, pair) in report.modules.iter().enumerate() {
            if pair.iter().all(Option::is_none) {
                (self.losses[j], self.wrong[j]) = (-1.0, -1.0);
                continue;
            }
            let loss = |b: usize, w: f64| pair[b].map_or(0.0, |l| w * f64::from(l.loss));
            self.losses[j] += images as f64 * (loss(0, w_ind) + loss(1, w_cas));
            // The branch that trains the module more speaks for it.
            let speaker = if w_cas > w_ind { pair[1].or(pair[0]) } else { pair[0] };
            match speaker.and_then(|l| l.wrong) {
                Some(wrong) => self.wrong[j] += f64::from(wrong),
                None => self.wrong[j] = -1.0,
            }
        }
        let own = report.modules.last().and_then(|p| p[0]);
        self.loss += images as f64 * own.map_or(f64::NAN, |l| f64::from(l.loss));
    }

    /// Loss and error (percent) of the network's own classifier so far.
    pub fn classifier(&self) -> (f64, f64) {
        let n = self.images.max(1) as f64;
        (self.loss / n, 100.0 * self.wrong.last().copied().unwrap_or(0.0) / n)
    }

    /// As the line of a finished epoch.
    pub fn epoch(&self, epoch: usize, lr: f64, test_error: f64, seconds: f64, peak: PeakBytes) -> Epoch {
        let n = self.images.max(1) as f64;
        let (train_loss, train_error) = self.classifier();
        let loss = |&l: &f64| if l < 0.0 { f64::NAN } else { l / n };
        let error = |&w: &f64| if w < 0.0 { f64::NAN } else { 100.0 * w / n };
        Epoch {
            tested: None,
            epoch,
            lr,
            train_loss,
            train_accuracy: 100.0 * (n - self.wrong.last().copied().unwrap_or(n)) / n,
            train_error,
            val_accuracy: None,
            val_error: None,
            val_loss: None,
            val_top5_accuracy: None,
            test_accuracy: 100.0 - test_error,
            test_error,
            test_loss: f64::NAN,
            test_top5_accuracy: None,
            module_losses: self.losses.iter().map(loss).collect(),
            module_errors: self.wrong.iter().map(error).collect(),
            seconds,
            images_per_second: self.images as f64 / self.seconds.max(1e-9),
            peak_memory_bytes: peak.memory,
            peak_allocated_bytes: peak.allocated,
        }
    }
}
