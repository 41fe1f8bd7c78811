//! What the user says, beside which the rest is chosen.

use crate::data::OpenOptions;

/// What the user says already: choices that depend on it follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// `data.size`.
    pub size: Option<usize>,
    /// `train.batch`.
    pub batch: Option<usize>,
    /// `data.limit`.
    pub limit: Option<usize>,
    /// `data.test`.
    pub test: Option<f64>,
    /// `data.validation`.
    pub validation: Option<f64>,
    /// Whether the network is to be cut into modules, or memory is to be saved.
    pub local: bool,
    /// Seed of the images that a limit keeps.
    pub seed: u64,
    /// `model.init`: weights to start from, whose network it then is.
    pub init: Option<String>,
    /// `model.init_key`.
    pub init_key: Option<String>,
}

impl Wishes {
    /// How images are opened to be looked at.
    pub fn open(&self) -> OpenOptions {
        OpenOptions { limit: self.limit, seed: self.seed, ..OpenOptions::default() }
    }
}
