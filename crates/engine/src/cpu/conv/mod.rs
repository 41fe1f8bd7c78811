//! Direct convolution, channels last: any window, stride and channel count, forward and both gradients.
//!
//! Input rows are packed with a border of zeros (normalised and rectified on the way), so that the
//! `k · channels` inputs of an output pixel are contiguous for each row of its window. Then one register tile
//! serves all three passes: a few broadcast values times one or two vectors of channels.

mod backward;
mod forward;
mod geometry;
mod input_grad;
mod pack;
mod tile;
mod weight_grad;

use crate::cpu::simd::Isa;
use crate::cpu::value::Value;
use crate::ops::Window;
use geometry::Geometry;

pub(crate) use backward::{Backward, DxOut};
pub(crate) use forward::Forward;
pub(crate) use pack::Load;

pub(crate) fn forward_scratch(x: [usize; 4], out: usize, window: Window, isa: Isa, threads: usize) -> usize {
    forward::scratch(&Geometry::new(x, out, window), isa.lanes(), threads)
}

pub(crate) fn backward_scratch(
    (x, out, window): ([usize; 4], usize, Window),
    isa: Isa,
    threads: usize,
    dx: bool,
    dw: bool,
) -> usize {
    backward::scratch(&Geometry::new(x, out, window), isa.lanes(), threads, dx, dw)
}

pub(crate) fn forward<X: Value, Y: Value>(
    isa: Isa,
    (x, out, window): ([usize; 4], usize, Window),
    op: Forward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    forward::run(isa, &Geometry::new(x, out, window), op, threads, scratch);
}

pub(crate) fn backward<X: Value, Y: Value>(
    isa: Isa,
    (x, out, window): ([usize; 4], usize, Window),
    op: Backward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    backward::run(isa, &Geometry::new(x, out, window), op, threads, scratch);
}
