//! Bytes of operands.

use super::{NormGrad, Operand, Outgoing};
use crate::Tensor;

/// A tensor's bytes.
pub(super) fn size(t: &Tensor) -> usize {
    t.len() * t.dtype().bytes()
}

/// An optional tensor's bytes.
pub(super) fn of(t: Option<&Tensor>) -> usize {
    t.map_or(0, size)
}

/// What is loaded of an operand.
pub(super) fn loaded(x: &Operand<'_>) -> usize {
    size(x.tensor) + of(x.norm)
}

/// What is written of a normalisation's gradients.
pub(super) fn norm_written(n: &NormGrad<'_>) -> usize {
    size(n.coefficients) + of(n.weight.as_deref()) + of(n.bias.as_deref())
}

/// What is written of an operand's gradient, and read when it is added to.
pub(super) fn written(dx: &Outgoing<'_>) -> usize {
    let passes = if dx.accumulate { 2 } else { 1 };
    passes * size(dx.grad) + dx.norm.as_ref().map_or(0, norm_written)
}

/// The operand itself, when its rectifier or the sums of its normalisation need it.
pub(super) fn looked_at(x: &Operand<'_>, dx: &Outgoing<'_>) -> usize {
    if x.relu || dx.norm.is_some() { loaded(x) } else { 0 }
}
