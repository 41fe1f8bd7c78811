//! The courses of learning rates.

use serde::{Deserialize, Serialize};

/// The learning rate's course after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine from the peak to the least rate.
    Cosine,
    /// The peak throughout.
    Constant,
    /// Cut every so many epochs, as `torch.optim.lr_scheduler.StepLR`.
    Step,
    /// Cut after given epochs, as `torch.optim.lr_scheduler.MultiStepLR`.
    #[serde(rename = "multistep")]
    MultiStep,
    /// A line from the peak to the least rate.
    Linear,
    /// Warm-up, stable, decay: the peak, then a line to the least rate (Hu et al. 2024).
    Wsd,
}

impl Schedule {
    /// Their words in recipes.
    pub const WORDS: &[&str] = &["cosine", "constant", "step", "multistep", "linear", "wsd"];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Schedule::Cosine => "cosine",
            Schedule::Constant => "constant",
            Schedule::Step => "step",
            Schedule::MultiStep => "multistep",
            Schedule::Linear => "linear",
            Schedule::Wsd => "wsd",
        }
    }
}
