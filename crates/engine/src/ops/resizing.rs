//! Resizing, and what it has in common with average pooling.

use super::checks::*;
use super::traffic::{loaded, looked_at, size, written};
use super::{Label, Operand, Operation, Outgoing};
use crate::{DType, Result, Shape, Tensor};

/// See [`Device::resize`](crate::Device::resize).
pub(crate) struct Resize<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Resize<'_> {
    /// Shape of the result.
    fn result(&self) -> [usize; 4] {
        let [n, _, _, c] = self.x.tensor.nhwc();
        [n, self.height, self.width, c]
    }
}

impl Operation for Resize<'_> {
    const NAME: &'static str = "resize";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        let made = check_resampled(Self::NAME, &self.x, (self.height, self.width), "nothing to resize")?;
        Ok((made.into(), self.x.tensor.dtype()))
    }

    fn bytes(&self) -> usize {
        loaded(&self.x)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.result())
    }
}

/// See [`Device::resize_backward`](crate::Device::resize_backward).
pub(crate) struct ResizeBackward<'a> {
    pub(crate) x: Operand<'a>,
    pub(crate) dy: &'a Tensor,
    pub(crate) dx: Outgoing<'a>,
}

impl Operation for ResizeBackward<'_> {
    const NAME: &'static str = "resize_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        of_type(Self::NAME, self.x.tensor.dtype(), self.dy)?;
        check_resampled_back(Self::NAME, &self.x, self.dy, &self.dx)
    }

    fn bytes(&self) -> usize {
        resampled_back(&self.x, self.dy, &self.dx)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.dy.shape())
    }
}

/// Shape of the result.
pub(super) fn check_resampled(
    op: &'static str,
    x: &Operand<'_>,
    (height, width): (usize, usize),
    nothing: &str,
) -> Result<[usize; 4]> {
    operand(op, x)?;
    let [n, _, _, c] = x.tensor.nhwc();
    ensure(height > 0 && width > 0 && !x.tensor.is_empty(), op, || nothing.into())?;
    Ok([n, height, width, c])
}

pub(super) fn check_resampled_back(
    op: &'static str,
    x: &Operand<'_>,
    dy: &Tensor,
    dx: &Outgoing<'_>,
) -> Result<()> {
    operand(op, x)?;
    outgoing(op, x, dx)?;
    let ([n, _, _, c], [m, h, w, d]) = (x.tensor.nhwc(), dy.nhwc());
    ensure(n == m && c == d && h > 0 && w > 0 && !x.tensor.is_empty(), op, || {
        format!("gradient {:?} for an input of {:?}", dy.shape().dims(), x.tensor.shape().dims())
    })
}

/// Bytes of a gradient that does not need the operand's values.
pub(super) fn resampled_back(x: &Operand<'_>, dy: &Tensor, dx: &Outgoing<'_>) -> usize {
    looked_at(x, dx) + size(dy) + written(dx)
}
