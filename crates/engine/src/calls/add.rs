//! The sum at the end of a residual block.

use crate::ops::{Add, AddBackward, NormGrad, Operand};
use crate::{Device, Result, Tensor};

impl Device {
    /// a + b (or a alone), rectified if asked: the end of a residual block. The result has the type of the parts.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn add(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool) -> Result<Tensor> {
        self.run(Add { a: *a, b: b.copied(), relu })
    }

    /// The gradient of [`Device::add`], in place: `grad` becomes the gradient with respect to the sum
    /// (`out` given: 0 where it was rectified); `parts` receive the sums of their normalisations. Operands
    /// that were themselves rectified must not be among `parts`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn add_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
    ) -> Result<()> {
        self.run(AddBackward { grad, out, parts })
    }
}
