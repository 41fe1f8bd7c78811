//! Gradients clipped by their norm, all on the device: squares in pieces of a fixed size, the coefficient of all pieces
//! together, and what is multiplied by it.

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{Result, Tensor};

/// Elements of a piece whose squares are summed.
pub(crate) const PIECE: usize = 2048;

/// How many sums of squares a tensor of `len` elements has.
pub fn square_sums(len: usize) -> usize {
    len.div_ceil(PIECE)
}

/// See [`Device::sum_squares`](crate::Device::sum_squares).
pub(crate) struct SumSquares<'a> {
    pub(crate) values: &'a Tensor,
    pub(crate) sums: &'a mut Tensor,
    pub(crate) first: usize,
}

impl Operation for SumSquares<'_> {
    const NAME: &'static str = "sum_squares";

    type Made = ();

    fn check(&self) -> Result<()> {
        f32_only(Self::NAME, &[self.values, self.sums])?;
        let (first, own, there) = (self.first, square_sums(self.values.len()), self.sums.len());
        ensure(first.checked_add(own).is_some_and(|end| end <= there), Self::NAME, || {
            format!("{own} sums from number {first} on, in a table of {there}")
        })
    }

    fn bytes(&self) -> usize {
        size(self.values) + square_sums(self.values.len()) * size_of::<f32>()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.values.shape())
    }
}

/// See [`Device::clip_coefficient`](crate::Device::clip_coefficient).
pub(crate) struct ClipCoefficient<'a> {
    pub(crate) sums: &'a Tensor,
    pub(crate) max_norm: f32,
    pub(crate) coefficient: &'a mut Tensor,
}

impl Operation for ClipCoefficient<'_> {
    const NAME: &'static str = "clip_coefficient";

    type Made = ();

    fn check(&self) -> Result<()> {
        f32_only(Self::NAME, &[self.sums])?;
        vector(Self::NAME, self.coefficient, 1)?;
        ensure(self.max_norm > 0.0, Self::NAME, || {
            format!("a largest norm of {}, need above 0", self.max_norm)
        })
    }

    fn bytes(&self) -> usize {
        size(self.sums) + size(self.coefficient)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.sums.shape())
    }
}

/// See [`Device::scale`](crate::Device::scale).
pub(crate) struct Scale<'a> {
    pub(crate) values: &'a mut Tensor,
    pub(crate) factor: &'a Tensor,
}

impl Operation for Scale<'_> {
    const NAME: &'static str = "scale";

    type Made = ();

    fn check(&self) -> Result<()> {
        f32_only(Self::NAME, &[self.values])?;
        vector(Self::NAME, self.factor, 1)
    }

    fn bytes(&self) -> usize {
        2 * size(self.values) + size(self.factor)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.values.shape())
    }
}
