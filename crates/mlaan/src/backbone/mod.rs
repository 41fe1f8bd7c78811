//! Networks to train: a stem, blocks in stages, a classifier (METHOD §2).

mod frozen;
mod resnet;

pub use frozen::Frozen;
pub use resnet::{BlockKind, ResNet, Stem};

use crate::nn::{Builder, Layer, Sequence};
use crate::{Error, Result};

/// One block of a backbone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its name in checkpoints, as `layer1.0`.
    pub name: String,
    /// Its stage, from 1.
    pub stage: usize,
    /// Its output channels.
    pub channels: usize,
    /// Whether it changes channels or size (as the first block of a stage does).
    pub reshapes: bool,
}

/// A network that can be cut into modules. Implement it to train one of your own.
///
/// The outputs of the stem and of every block must be plain values (see [`crate::nn::Rectify`]), because several
/// others read them.
pub trait Backbone: Send + Sync {
    /// What tables call it.
    fn name(&self) -> String;
    /// Its blocks, in order.
    fn blocks(&self) -> &[BlockInfo];
    /// Output channels of the stem.
    fn stem_channels(&self) -> usize;
    /// The layers before the first block.
    ///
    /// # Errors
    /// Out of memory.
    fn stem(&self, builder: &Builder<'_>) -> Result<Sequence>;
    /// Block `index`, with parameters named below `name`: the block itself, or a mirror of it.
    ///
    /// # Errors
    /// Out of memory; no such block.
    fn block(&self, index: usize, name: &str, builder: &Builder<'_>) -> Result<Box<dyn Layer>>;
    /// As [`Backbone::block`], with `width` times its channels, inside and behind, on `input` channels. A backbone has none such
    /// unless it says so.
    ///
    /// # Errors
    /// As [`Backbone::block`]; a backbone without such blocks.
    fn scaled_block(
        &self,
        index: usize,
        name: &str,
        (input, width): (usize, f64),
        builder: &Builder<'_>,
    ) -> Result<Box<dyn Layer>> {
        let _ = (index, name, input, builder);
        let message = format!("found {width}, and {} has no blocks of another width; write 1", self.name());
        Err(Error::recipe("local.leap.width", message))
    }
    /// The layers behind the last block, down to `classes` logits.
    ///
    /// # Errors
    /// Out of memory.
    fn classifier(&self, classes: usize, builder: &Builder<'_>) -> Result<Sequence>;

    /// Output channels of the last block.
    fn features(&self) -> usize {
        self.blocks().last().map_or(self.stem_channels(), |b| b.channels)
    }

    /// What does not learn ([`Frozen`]).
    fn frozen(&self) -> &[String] {
        &[]
    }
}
