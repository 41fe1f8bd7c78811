//! Pooling.

use super::checks::*;
use super::resizing::{check_resampled, check_resampled_back, resampled_back};
use super::traffic::{loaded, size, written};
use super::{Conv2dParams, Label, Operand, Operation, Outgoing};
use crate::{DType, Result, Shape, Tensor};

/// See [`Device::max_pool`](crate::Device::max_pool).
pub(crate) struct MaxPool<'a> {
    pub(crate) window: Conv2dParams,
    pub(crate) x: Operand<'a>,
}

impl Operation for MaxPool<'_> {
    const NAME: &'static str = "max_pool";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        operand(Self::NAME, &self.x)?;
        let made = check_pool(Self::NAME, self.window, &self.x)?;
        Ok((made.into(), self.x.tensor.dtype()))
    }

    fn bytes(&self) -> usize {
        loaded(&self.x)
    }

    fn label(&self) -> Label {
        let x = self.x.tensor;
        Label::windowed(Self::NAME, self.window, x.shape(), x.nhwc()[3])
    }
}

/// See [`Device::max_pool_backward`](crate::Device::max_pool_backward).
pub(crate) struct MaxPoolBackward<'a> {
    pub(crate) window: Conv2dParams,
    pub(crate) x: Operand<'a>,
    pub(crate) dy: &'a Tensor,
    pub(crate) dx: Outgoing<'a>,
}

impl Operation for MaxPoolBackward<'_> {
    const NAME: &'static str = "max_pool_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        operand(Self::NAME, &self.x)?;
        outgoing(Self::NAME, &self.x, &self.dx)?;
        let need = check_pool(Self::NAME, self.window, &self.x)?;
        of_type(Self::NAME, self.x.tensor.dtype(), self.dy)?;
        extents(Self::NAME, self.dy, need)
    }

    fn bytes(&self) -> usize {
        loaded(&self.x) + size(self.dy) + written(&self.dx)
    }

    fn label(&self) -> Label {
        Label::windowed(Self::NAME, self.window, self.x.tensor.shape(), self.dy.nhwc()[3])
    }
}

/// See [`Device::average_pool`](crate::Device::average_pool).
pub(crate) struct AveragePool<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Operation for AveragePool<'_> {
    const NAME: &'static str = "average_pool";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        let made = check_resampled(Self::NAME, &self.x, (self.height, self.width), "nothing to pool")?;
        Ok((made.into(), DType::F32))
    }

    fn bytes(&self) -> usize {
        loaded(&self.x)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.x.tensor.shape())
    }
}

/// See [`Device::average_pool_backward`](crate::Device::average_pool_backward).
pub(crate) struct AveragePoolBackward<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) dy: &'a Tensor,
    pub(crate) dx: Outgoing<'a>,
}

impl Operation for AveragePoolBackward<'_> {
    const NAME: &'static str = "average_pool_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        f32_only(Self::NAME, &[self.dy])?;
        check_resampled_back(Self::NAME, &self.x, self.dy, &self.dx)
    }

    fn bytes(&self) -> usize {
        resampled_back(&self.x, self.dy, &self.dx)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.x.tensor.shape())
    }
}

/// Shape of the result.
fn check_pool(op: &'static str, window: Conv2dParams, x: &Operand<'_>) -> Result<[usize; 4]> {
    let [n, h, w, c] = x.tensor.nhwc();
    let fits = window.kernel > 0 && window.pad <= window.kernel / 2 && !x.tensor.is_empty();
    let (oh, ow) = (window.output(h), window.output(w));
    ensure(fits && oh > 0 && ow > 0, op, || format!("a window of {window:?} does not fit into {h}x{w}"))?;
    Ok([n, oh, ow, c])
}
