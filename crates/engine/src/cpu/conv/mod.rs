//! Convolution, channels last: any window, stride and channel count, forward and both gradients.
//!
//! Three ways, chosen by extents alone: [`winograd`] for 3x3 windows of step 1 with enough channels, [`pointwise`] for
//! 1x1 windows of step 1 with enough weights, and otherwise directly. Every way packs rows of its operands first
//! (normalised and rectified on the way) and then runs one register tile: a few broadcast values times one or two
//! vectors of channels.
//!
//! Directly, rows are packed with a border of zeros, so that the `k · channels` inputs of an output pixel are contiguous
//! for each row of its window.

mod backward;
mod forward;
mod geometry;
mod input_grad;
mod matrix;
mod multiply;
mod pack;
mod pointwise;
mod sink;
mod tile;
mod weight_grad;
mod winograd;

use crate::cpu::simd::Isa;
use crate::cpu::value::Value;
use crate::ops::Window;
use geometry::Geometry;

pub(crate) use backward::{Backward, DxOut};
pub(crate) use forward::{Forward, Weights};
pub(crate) use pack::Load;

pub(crate) fn forward_scratch(x: [usize; 4], out: usize, window: Window, isa: Isa, threads: usize) -> usize {
    let g = Geometry::new(x, out, window);
    match () {
        () if winograd::fits(&g) => winograd::forward_scratch(&g, isa, threads),
        () if pointwise::fits(&g) => pointwise::forward_scratch(&g, isa, threads),
        () => forward::scratch(&g, isa.lanes(), threads),
    }
}

/// Floats of weights that are arranged for a forward pass. For one window and instruction set their number tells which
/// way is taken.
pub(crate) fn arranged(x: [usize; 4], out: usize, window: Window, isa: Isa) -> usize {
    let g = Geometry::new(x, out, window);
    match () {
        () if winograd::fits(&g) => winograd::arranged(&g, isa),
        () if pointwise::fits(&g) => pointwise::arranged(&g, isa),
        () => forward::arranged(&g, isa),
    }
}

/// Arranges weights for a forward pass.
pub(crate) fn arrange(isa: Isa, (x, out, window): ([usize; 4], usize, Window), w: &[f32], to: &mut [f32]) {
    let g = Geometry::new(x, out, window);
    match () {
        () if winograd::fits(&g) => winograd::arrange(isa, &g, w, to),
        () if pointwise::fits(&g) => pointwise::arrange(isa, &g, w, to),
        () => forward::arrange(isa, &g, w, to),
    }
}

pub(crate) fn backward_scratch(
    (x, out, window): ([usize; 4], usize, Window),
    isa: Isa,
    threads: usize,
    dx: bool,
    dw: bool,
) -> usize {
    let g = Geometry::new(x, out, window);
    if pointwise::fits(&g) {
        return pointwise::backward_scratch(&g, isa, threads, dx, dw);
    }
    let by_tiles = Tiled::new(&g, dx, dw);
    let direct =
        by_tiles.rest(dx, dw).map_or(0, |(dx, dw)| backward::scratch(&g, isa.lanes(), threads, dx, dw));
    let tiled = match by_tiles.any() {
        true => winograd::backward_scratch(&g, isa, threads, by_tiles.dx, by_tiles.dw),
        false => 0,
    };
    direct.max(tiled)
}

/// Which gradients are taken over tiles.
#[derive(Clone, Copy)]
struct Tiled {
    dx: bool,
    dw: bool,
}

impl Tiled {
    fn new(g: &Geometry, dx: bool, dw: bool) -> Self {
        Tiled { dx: dx && winograd::fits(g), dw: dw && winograd::fits_weights(g) }
    }

    fn any(self) -> bool {
        self.dx || self.dw
    }

    /// What is left for the direct pass.
    fn rest(self, dx: bool, dw: bool) -> Option<(bool, bool)> {
        let rest = (dx && !self.dx, dw && !self.dw);
        (rest.0 || rest.1).then_some(rest)
    }
}

pub(crate) fn forward<X: Value, Y: Value>(
    isa: Isa,
    (x, out, window): ([usize; 4], usize, Window),
    op: Forward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let g = Geometry::new(x, out, window);
    match () {
        () if winograd::fits(&g) => winograd::forward(isa, &g, op, threads, scratch),
        () if pointwise::fits(&g) => pointwise::forward(isa, &g, op, threads, scratch),
        () => forward::run(isa, &g, op, threads, scratch),
    }
}

pub(crate) fn backward<X: Value, Y: Value>(
    isa: Isa,
    (x, out, window): ([usize; 4], usize, Window),
    op: Backward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let g = Geometry::new(x, out, window);
    if pointwise::fits(&g) {
        return pointwise::backward(isa, &g, op, threads, scratch);
    }
    let tiled = Tiled::new(&g, op.dx.is_some(), op.dw.is_some());
    let Backward { x, load, w, grad, grad_norm, dx, dw } = op;
    let (tiled_dx, direct_dx) = if tiled.dx { (dx, None) } else { (None, dx) };
    let (tiled_dw, direct_dw) = if tiled.dw { (dw, None) } else { (None, dw) };
    if direct_dx.is_some() || direct_dw.is_some() {
        let op = Backward { x, load, w, grad, grad_norm, dx: direct_dx, dw: direct_dw };
        backward::run(isa, &g, op, threads, scratch);
    }
    if tiled_dx.is_some() || tiled_dw.is_some() {
        let op = Backward { x, load, w, grad, grad_norm, dx: tiled_dx, dw: tiled_dw };
        winograd::backward(isa, &g, op, threads, scratch);
    }
}
