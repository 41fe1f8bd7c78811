//! Sums per channel: how pixels are cut into pieces, and what makes gradients of a normalisation of their sums.

use super::driver::Driver;
use crate::ops::{NormGrad, Operand};

/// Bytes for `sums` sums a channel over `[n, h, w, c]`.
pub(super) fn scratch(_x: [usize; 4], _sums: usize) -> usize {
    0
}

/// From pieces of sums `[pieces][2][c]` to the gradients of the normalisation of `x`; `pixels`: values a channel.
pub(super) fn finish(
    _driver: &Driver,
    _x: &Operand<'_>,
    _norm: NormGrad<'_>,
    _partials: u64,
    _pieces: usize,
    _pixels: usize,
) {
}
