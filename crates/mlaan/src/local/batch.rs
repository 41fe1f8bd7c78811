//! A batch as a stage sees it.

use super::link::broken;
use super::options::StepOptions;
use super::shards::Shard;
use super::targets::Targets;
use crate::Result;
use crate::nn::Activation;

/// See the module.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Counted from the beginning of the work.
    pub number: u64,
    /// Normalised images, where the stage has the stem or a decoder.
    pub images: Option<&'a Activation>,
    /// None where no loss is left to be taken.
    pub targets: Option<&'a dyn Targets>,
    /// None: gradients stay in the parameters.
    pub options: Option<&'a StepOptions>,
    /// Which part of a step's batch it is.
    pub shard: Shard,
}

impl<'a> Batch<'a> {
    /// How parameters are updated behind it; none where they are not.
    pub fn update(&self) -> Option<&'a StepOptions> {
        self.options.filter(|_| self.shard.is_last())
    }

    pub fn targets(&self) -> Result<&'a dyn Targets> {
        self.targets.ok_or_else(|| broken("a batch has no targets".into()))
    }
}
