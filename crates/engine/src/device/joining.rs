//! The sum at the end of a residual block.

use super::Device;
use super::checks::*;
use crate::backend::Work;
use crate::memory::Purpose;
use crate::ops::{NormGrad, Operand};
use crate::{Result, Tensor};

impl Device {
    /// a + b (or a alone), rectified if asked: the end of a residual block. The result has the type of the parts.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool) -> Result<Tensor> {
        const OP: &str = "join";
        operand(OP, a)?;
        if let Some(b) = b {
            operand(OP, b)?;
            same_shape(OP, a.tensor, b.tensor)?;
        }
        let mut out = self.alloc(a.tensor.shape(), a.tensor.dtype(), Purpose::Activations)?;
        self.0.backend.join(a, b, relu, &mut out);
        Ok(out)
    }

    /// The gradient of [`Device::join`], in place: `grad` becomes the gradient with respect to the sum
    /// (`out` given: 0 where it was rectified); `parts` receive the sums of their normalisations. Operands
    /// that were themselves rectified must not be among `parts`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
    ) -> Result<()> {
        const OP: &str = "join_backward";
        floats(OP, grad)?;
        if let Some(out) = out {
            same_shape(OP, grad, out)?;
        }
        for (x, g) in parts.iter().flatten() {
            operand(OP, x)?;
            same_shape(OP, grad, x.tensor)?;
            norm_grad(OP, x, g)?;
            ensure(!x.relu, OP, || "a part was rectified before the join".into())?;
        }
        let mut scratch = self.scratch(&Work::ChannelSums { x: grad.nhwc(), sums: 4 })?;
        self.0.backend.join_backward(grad, out, parts, scratch.bytes());
        Ok(())
    }
}
