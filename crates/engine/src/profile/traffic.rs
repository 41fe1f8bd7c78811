//! Bytes that an operation must read or write at the least: every operand once, a tensor that is changed twice.

use crate::Tensor;
use crate::ops::{Incoming, LossTarget, NormGrad, Operand, Outgoing, WeightGrad};

/// A tensor's bytes.
pub(super) fn size(t: &Tensor) -> usize {
    t.len() * t.dtype().bytes()
}

/// An optional tensor's bytes.
pub(super) fn of(t: Option<&Tensor>) -> usize {
    t.map_or(0, size)
}

/// What is loaded of an operand.
pub(super) fn operand(x: &Operand<'_>) -> usize {
    size(x.tensor) + of(x.norm)
}

/// What is written of a normalisation's gradients.
fn norm_grad(n: &NormGrad<'_>) -> usize {
    size(n.coefficients) + of(n.weight.as_deref()) + of(n.bias.as_deref())
}

/// What is written of an operand's gradient, and read when it is added to.
pub(super) fn outgoing(dx: &Outgoing<'_>) -> usize {
    let passes = if dx.accumulate { 2 } else { 1 };
    passes * size(dx.grad) + dx.norm.as_ref().map_or(0, norm_grad)
}

/// The operand itself, when its rectifier or the sums of its normalisation need it.
fn looked_at(x: &Operand<'_>, dx: &Outgoing<'_>) -> usize {
    if x.relu || dx.norm.is_some() { operand(x) } else { 0 }
}

pub(super) fn convolve_backward(
    x: &Operand<'_>,
    w: &Tensor,
    dy: &Incoming<'_>,
    dx: Option<&Outgoing<'_>>,
    dw: Option<&WeightGrad<'_>>,
) -> usize {
    let gradient = size(dy.grad) + dy.norm.map_or(0, |(raw, coefficients)| size(raw) + size(coefficients));
    let input = if dw.is_some() { operand(x) } else { dx.map_or(0, |dx| looked_at(x, dx)) };
    let towards_input = dx.map_or(0, |dx| size(w) + outgoing(dx));
    let towards_weights = dw.map_or(0, |g| size(g.weight) + of(g.bias.as_deref()));
    gradient + input + towards_input + towards_weights
}

pub(super) fn joined(a: &Operand<'_>, b: Option<&Operand<'_>>, out: &Tensor) -> usize {
    operand(a) + b.map_or(0, operand) + size(out)
}

pub(super) fn joined_back(
    grad: &Tensor,
    out: Option<&Tensor>,
    parts: &[Option<(&Operand<'_>, NormGrad<'_>)>; 2],
) -> usize {
    let parts: usize = parts.iter().flatten().map(|(x, n)| operand(x) + norm_grad(n)).sum();
    2 * size(grad) + of(out) + parts
}

/// Average pooling and resizing, backward.
pub(super) fn resampled_back(x: &Operand<'_>, dy: &Tensor, dx: &Outgoing<'_>) -> usize {
    looked_at(x, dx) + size(dy) + outgoing(dx)
}

/// The gradient and the row that a loss writes.
pub(super) fn loss(target: &LossTarget<'_>) -> usize {
    of(target.grad.as_deref()) + size(target.values) / target.values.nhwc()[0].max(1)
}
