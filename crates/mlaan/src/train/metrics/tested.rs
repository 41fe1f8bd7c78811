//! What was tested, and how well it did.

use crate::recipe::Train;
use serde::{Deserialize, Serialize};

/// What test errors are of, and which values a checkpoint's model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tested {
    /// The EMA of the weights (`train.model_ema_decay`).
    ModelEma,
}

impl Tested {
    /// None: the weights as they are.
    pub fn of(train: &Train) -> Option<Self> {
        train.model_ema_decay.map(|_| Tested::ModelEma)
    }
}

/// Runs from before there were accuracies know their errors: the accuracy is the rest.
pub(super) fn accuracy(known: f64, error: f64) -> f64 {
    if known.is_nan() { 100.0 - error } else { known }
}
