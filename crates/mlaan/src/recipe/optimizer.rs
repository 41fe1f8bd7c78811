//! The optimisers of a recipe.

use serde::{Deserialize, Serialize};

/// The rule of updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum, the paper's.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay.
    AdamW,
    /// SGD whose step of a weight tensor goes by the tensor's norm.
    Lars,
}

impl OptimizerKind {
    /// Their words in recipes.
    pub const WORDS: &[&str] = &["sgd", "adamw", "lars"];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            OptimizerKind::Sgd => "sgd",
            OptimizerKind::AdamW => "adamw",
            OptimizerKind::Lars => "lars",
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
