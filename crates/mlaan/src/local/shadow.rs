//! The shadow of a leap chain: a copy of a block that follows its source and has no gradients of its own (METHOD §6).
//!
//! Its weights may be kept in bfloat16. Then they are 32-bit ones only while they are computed with.

use crate::Result;
use crate::backbone::Backbone;
use crate::nn::optim::halves;
use crate::nn::{Builder, Layer, Param, Role};
use mlaan_engine::{DType, Device, MemoryCategory, Precision, Tensor};

/// See the module.
pub(super) struct Shadow {
    layer: Box<dyn Layer>,
    /// The weights as they are kept, while the layer has wide ones.
    kept: Vec<Tensor>,
}

impl Shadow {
    /// Of block `source`, with parameters named below `name`, whose weights are kept in `state`.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        backbone: &dyn Backbone,
        source: usize,
        name: &str,
        (b, state): (&Builder<'_>, Precision),
    ) -> Result<Self> {
        let still = Builder { optimizer: None, ..*b };
        let mut layer = backbone.block(source, name, &still)?;
        // What only infers has nothing to save: it goes through every weight once.
        if state == Precision::Bf16 && b.optimizer.is_some() {
            layer.visit(&mut |p| match is_weight(&p) {
                true => narrow(b.device, p.value),
                false => Ok(()),
            })?;
        }
        Ok(Shadow { layer, kept: Vec::new() })
    }

    /// The layer as it is kept: to look at, not to compute with.
    pub fn layer(&mut self) -> &mut dyn Layer {
        self.layer.as_mut()
    }

    /// Lets `f` compute with the layer.
    ///
    /// # Errors
    /// Out of memory; what `f` returns.
    pub fn with<R>(&mut self, device: &Device, f: impl FnOnce(&mut dyn Layer) -> Result<R>) -> Result<R> {
        let done = self.widen(device).and_then(|()| f(self.layer.as_mut()));
        self.narrow()?;
        done
    }

    fn widen(&mut self, device: &Device) -> Result<()> {
        let kept = &mut self.kept;
        self.layer.visit(&mut |p| {
            if p.value.dtype() == DType::Bf16 {
                let wide = halves::wide(device, p.value, MemoryCategory::Workspace)?;
                kept.push(std::mem::replace(p.value, wide));
            }
            Ok(())
        })
    }

    /// Nothing changes the weights of a shadow but its source: what was kept is right.
    fn narrow(&mut self) -> Result<()> {
        let mut kept = self.kept.drain(..);
        self.layer.visit(&mut |p| {
            if is_weight(&p)
                && let Some(was) = kept.next()
            {
                *p.value = was;
            }
            Ok(())
        })
    }
}

fn is_weight(p: &Param<'_>) -> bool {
    p.learned.as_ref().is_some_and(|l| l.role == Role::Weight)
}

fn narrow(device: &Device, t: &mut Tensor) -> Result<()> {
    let mut narrow = device.alloc(t.shape(), DType::Bf16, MemoryCategory::Parameters)?;
    device.convert(&mut narrow, t)?;
    *t = narrow;
    Ok(())
}
