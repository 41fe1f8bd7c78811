//! One gradient-isolated module: its layers, and what a batch keeps of it.

use super::average::Average;
use crate::Result;
use crate::nn::{Activation, Chain, Grad, ImageShape};
use mlaan_engine::{Device, MemoryCategory, Tensor};

/// One gradient-isolated module.
pub(super) struct Module {
    /// The stem (module 0) and the blocks.
    pub chain: Chain,
    /// The EMA of its weights, where one is kept.
    pub average: Option<Average>,
    /// Layers before the first block.
    pub stem: usize,
    /// Its input, once it is nobody else's: what another stage sent, or the output of a module that is updated.
    pub input: Option<Activation>,
    /// Its output, until it is updated.
    pub output: Option<Activation>,
    /// Sum of the gradients that reached its output so far.
    pub total: Option<Tensor>,
    /// Shape of its output.
    pub extent: ImageShape,
    /// What it is cut from.
    pub blocks: BlockRange,
}

/// Blocks in a row.
#[derive(Clone, Debug)]
pub struct BlockRange {
    /// Names of the first and the last one: `stem` where there is none before or behind that.
    pub first: String,
    pub last: String,
    /// How many, the stem not counted.
    pub count: usize,
}

impl Module {
    /// Adds a gradient that reached the output; takes it over when it is the first.
    pub fn add_total(&mut self, device: &Device, grad: Tensor) -> Result<()> {
        match &mut self.total {
            Some(t) => Ok(device.add_assign(t, &grad)?),
            None => {
                self.total = Some(grad);
                Ok(())
            }
        }
    }

    /// As [`Module::add_total`], keeping the gradient.
    pub fn add_copy(&mut self, device: &Device, grad: &Grad) -> Result<()> {
        if let Some(t) = &mut self.total {
            return Ok(device.add_assign(t, &grad.tensor)?);
        }
        let mut copy = device.alloc(grad.tensor.shape(), grad.tensor.dtype(), MemoryCategory::Gradients)?;
        device.copy(&mut copy, &grad.tensor)?;
        self.total = Some(copy);
        Ok(())
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        self.chain.release();
        (self.input, self.output, self.total) = (None, None, None);
    }
}
