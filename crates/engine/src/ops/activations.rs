//! Activations.

use super::checks::*;
use super::traffic::{loaded, size, written};
use super::{Label, Operand, Operation, Outgoing};
use crate::{DType, Result, Shape, Tensor};

/// Forms of GELU (Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>), as `approximate` of PyTorch's `gelu`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gelu {
    /// x · Φ(x), Φ the normal distribution's cumulative function: `none`.
    #[default]
    Exact,
    /// x · (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2: `tanh`.
    Tanh,
}

/// See [`Device::gelu`](crate::Device::gelu).
pub(crate) struct GeluForward<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) form: Gelu,
}

impl Operation for GeluForward<'_> {
    const NAME: &'static str = "gelu";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        operand(Self::NAME, &self.x)?;
        Ok((self.x.tensor.shape(), self.x.tensor.dtype()))
    }

    fn bytes(&self) -> usize {
        loaded(&self.x)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.x.tensor.shape())
    }
}

/// See [`Device::gelu_backward`](crate::Device::gelu_backward).
pub(crate) struct GeluBackward<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) form: Gelu,
    pub(crate) dy: &'a Tensor,
    pub(crate) dx: Outgoing<'a>,
}

impl Operation for GeluBackward<'_> {
    const NAME: &'static str = "gelu_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        operand(Self::NAME, &self.x)?;
        same_shape(Self::NAME, self.x.tensor, self.dy)?;
        outgoing(Self::NAME, &self.x, &self.dx)
    }

    fn bytes(&self) -> usize {
        loaded(&self.x) + size(self.dy) + written(&self.dx)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.x.tensor.shape())
    }
}
