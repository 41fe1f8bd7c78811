//! The exponential moving average (EMA) of a chain's weights, timm's model EMA: a second set of its parameters and of its
//! buffers, the running statistics. It is moved where the chain itself was just updated, so its bits do not depend on stages.

use crate::Result;
use crate::nn::{Chain, Layer, Param};
use mlaan_engine::{Device, MemoryCategory, Tensor};

/// See the module.
pub(super) struct Average {
    decay: f32,
    /// In the order of [`Layer::visit`].
    tensors: Vec<Tensor>,
}

impl Average {
    /// Begins at the chain's values.
    pub fn new(device: &Device, chain: &mut Chain, decay: f32) -> Result<Self> {
        let mut tensors = Vec::new();
        chain.visit(&mut |p| {
            tensors.push(device.alloc(p.value.shape(), p.value.dtype(), MemoryCategory::Parameters)?);
            Ok(())
        })?;
        let mut average = Average { decay, tensors };
        average.restart(device, chain)?;
        Ok(average)
    }

    /// Takes over the chain's values.
    pub fn restart(&mut self, device: &Device, chain: &mut Chain) -> Result<()> {
        self.each(chain, &mut |p, average| Ok(device.copy(average, p.value)?))
    }

    /// e ← d e + (1 - d) p, after the chain's update.
    pub fn follow(&mut self, device: &Device, chain: &mut Chain) -> Result<()> {
        let decay = self.decay;
        self.each(chain, &mut |p, average| Ok(device.ema(average, p.value, decay)?))
    }

    /// Gives the chain the average's values, and the average the chain's: nothing is copied.
    pub fn exchange(&mut self, chain: &mut Chain) -> Result<()> {
        self.each(chain, &mut |p, average| {
            std::mem::swap(p.value, average);
            Ok(())
        })
    }

    /// Calls `f` with every tensor of the chain and its average.
    pub fn each(
        &mut self,
        chain: &mut Chain,
        f: &mut dyn FnMut(Param<'_>, &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let mut averages = self.tensors.iter_mut();
        chain.visit(&mut |p| averages.next().map_or(Ok(()), |average| f(p, average)))
    }
}
