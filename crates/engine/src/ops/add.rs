//! The sum at the end of a residual block.

use super::checks::*;
use super::traffic::{loaded, norm_written, of, size};
use super::{Label, NormGrad, Operand, Operation};
use crate::{DType, Result, Shape, Tensor};

/// See [`Device::add`](crate::Device::add).
pub(crate) struct Add<'a> {
    pub(crate) a: Operand<'a>,
    pub(crate) b: Option<Operand<'a>>,
    pub(crate) relu: bool,
}

impl Operation for Add<'_> {
    const NAME: &'static str = "add";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        operand(Self::NAME, &self.a)?;
        if let Some(b) = &self.b {
            operand(Self::NAME, b)?;
            same_shape(Self::NAME, self.a.tensor, b.tensor)?;
        }
        Ok((self.a.tensor.shape(), self.a.tensor.dtype()))
    }

    fn bytes(&self) -> usize {
        loaded(&self.a) + self.b.as_ref().map_or(0, loaded)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.a.tensor.shape())
    }
}

/// See [`Device::add_backward`](crate::Device::add_backward).
pub(crate) struct AddBackward<'a> {
    pub(crate) grad: &'a mut Tensor,
    pub(crate) out: Option<&'a Tensor>,
    pub(crate) parts: [Option<(&'a Operand<'a>, NormGrad<'a>)>; 2],
}

impl Operation for AddBackward<'_> {
    const NAME: &'static str = "add_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        floats(Self::NAME, self.grad)?;
        if let Some(out) = self.out {
            same_shape(Self::NAME, self.grad, out)?;
        }
        for (x, g) in self.parts.iter().flatten() {
            operand(Self::NAME, x)?;
            same_shape(Self::NAME, self.grad, x.tensor)?;
            norm_grad(Self::NAME, x, g)?;
            ensure(!x.relu, Self::NAME, || "a part was rectified before the addition".into())?;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let parts: usize = self.parts.iter().flatten().map(|(x, n)| loaded(x) + norm_written(n)).sum();
        2 * size(self.grad) + of(self.out) + parts
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.grad.shape())
    }
}
