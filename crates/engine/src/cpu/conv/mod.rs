//! Convolution, channels last: any window, stride and channel count, forward and both gradients.
//!
//! Three ways, chosen by shapes alone: [`winograd`] for 3x3 windows of step 1 with enough channels, [`pointwise`] for
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

use crate::cpu::simd::{Isa, LANES};
use crate::cpu::value::Value;
use crate::ops::Conv2dParams;
use geometry::Geometry;

pub(crate) use backward::{Backward, DxOut};
pub(crate) use forward::{Forward, Weights};

/// The most that `size` gives for vectors of any instruction set: what an operation takes must not depend on the machine,
/// since plans are made on one and kept on another, and cuts that balance memory are part of what is learnt. A kernel
/// uses the part that its own vectors need.
fn of_any_lanes(size: impl Fn(usize) -> usize) -> usize {
    // Not that of the widest: padded more, sums may be cut into fewer pieces.
    LANES.map(size).into_iter().fold(0, usize::max)
}

pub(crate) fn forward_scratch(x: [usize; 4], out: usize, window: Conv2dParams, threads: usize) -> usize {
    let g = Geometry::new(x, out, window);
    of_any_lanes(|lanes| forward_needs(&g, lanes, threads))
}

fn forward_needs(g: &Geometry, lanes: usize, threads: usize) -> usize {
    match () {
        () if winograd::fits(g) => winograd::forward_scratch(g, lanes, threads),
        () if pointwise::fits(g) => pointwise::forward_scratch(g, lanes, threads),
        () => forward::scratch(g, lanes, threads),
    }
}

/// Floats of weights that are packed for a forward pass. For one window their number tells which way is taken.
pub(crate) fn packed(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    let g = Geometry::new(x, out, window);
    of_any_lanes(|lanes| match () {
        () if winograd::fits(&g) => winograd::packed(&g, lanes),
        () if pointwise::fits(&g) => pointwise::packed(&g, lanes),
        () => forward::packed(&g, lanes),
    })
}

/// Packs weights for a forward pass.
pub(crate) fn prepack(
    isa: Isa,
    (x, out, window): ([usize; 4], usize, Conv2dParams),
    w: &[f32],
    to: &mut [f32],
) {
    let g = Geometry::new(x, out, window);
    match () {
        () if winograd::fits(&g) => winograd::prepack(isa, &g, w, to),
        () if pointwise::fits(&g) => pointwise::prepack(isa, &g, w, to),
        () => forward::prepack(isa, &g, w, to),
    }
}

pub(crate) fn backward_scratch(
    (x, out, window): ([usize; 4], usize, Conv2dParams),
    threads: usize,
    dx: bool,
    dw: bool,
) -> usize {
    let g = Geometry::new(x, out, window);
    of_any_lanes(|lanes| backward_needs(&g, lanes, threads, dx, dw))
}

fn backward_needs(g: &Geometry, lanes: usize, threads: usize, dx: bool, dw: bool) -> usize {
    if pointwise::fits(g) {
        return pointwise::backward_scratch(g, lanes, threads, dx, dw);
    }
    let by_tiles = Tiled::new(g, dx, dw);
    let direct = by_tiles.rest(dx, dw).map_or(0, |(dx, dw)| backward::scratch(g, lanes, threads, dx, dw));
    let tiled = match by_tiles.any() {
        true => winograd::backward_scratch(g, lanes, threads, by_tiles.dx, by_tiles.dw),
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
    (x, out, window): ([usize; 4], usize, Conv2dParams),
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
    (x, out, window): ([usize; 4], usize, Conv2dParams),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::load::Load;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Convolutions of every way, with channels that fill the vectors of some instruction sets and not of others.
    fn extents() -> Vec<([usize; 4], usize, Conv2dParams)> {
        let mut all = Vec::new();
        for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (7, 2)] {
            for (c, out) in [(3, 16), (24, 40), (40, 104), (68, 196), (136, 20), (300, 260)] {
                let x = [64, 9, 8, c];
                all.push((x, out, Conv2dParams { kernel, stride, pad: kernel / 2 }));
            }
        }
        all
    }

    #[test]
    fn scratch_is_the_same_everywhere_and_enough_for_every_instruction_set() {
        let mut narrow = 0;
        for (x, out, window) in extents() {
            let g = Geometry::new(x, out, window);
            for threads in [8, 16] {
                let needs = LANES.map(|lanes| forward_needs(&g, lanes, threads));
                assert_eq!(Some(forward_scratch(x, out, window, threads)), needs.into_iter().max());
                for (dx, dw) in [(true, false), (false, true), (true, true)] {
                    let needs = LANES.map(|lanes| backward_needs(&g, lanes, threads, dx, dw));
                    let all = backward_scratch((x, out, window), threads, dx, dw);
                    assert_eq!(Some(all), needs.into_iter().max());
                    narrow += usize::from(needs[LANES.len() - 1] < all);
                }
            }
        }
        assert!(narrow > 0, "the widest vectors do not always need the most");
    }

    #[test]
    fn a_pass_over_slices_that_are_too_short_is_refused() {
        let x = [2, 9, 8, 20];
        for (window, out) in
            [(Conv2dParams::same(3, 1), 40), (Conv2dParams::same(3, 2), 40), (Conv2dParams::same(1, 1), 250)]
        {
            let (h, w) = (window.output(x[1]), window.output(x[2]));
            for isa in Isa::available() {
                let pass = |short: [usize; 6]| {
                    let taps = window.kernel * window.kernel;
                    let lengths = [2 * 9 * 8 * 20, out * 20 * taps, out, 2 * h * w * out, 4 * 20, 3 * out];
                    let [x_len, w_len, bias, y_len, rows, coefficients] =
                        std::array::from_fn(|i| lengths[i] - short[i]);
                    let floats = |n: usize| vec![1f32; n];
                    let (xs, ws, bias, mut ys) = (floats(x_len), floats(w_len), floats(bias), floats(y_len));
                    let (rows, coefficients) = (floats(rows), floats(coefficients));
                    let (mut dx, mut dw) = (floats(2 * 9 * 8 * 20), floats(out * 20 * taps));
                    let run = || {
                        let load = Load::new(None, true, 20);
                        let bytes = forward_scratch(x, out, window, 8);
                        let mut scratch = vec![[0u64; 8]; bytes / 64];
                        let op = Forward::<f32, f32> {
                            x: &xs,
                            load,
                            w: Weights::Plain(&ws),
                            bias: Some(&bias),
                            y: &mut ys,
                            norm: None,
                        };
                        forward(isa, (x, out, window), op, 8, bytemuck::cast_slice_mut(&mut scratch));
                        let bytes = backward_scratch((x, out, window), 8, true, true);
                        let mut scratch = vec![[0u64; 8]; bytes / 64];
                        let op = Backward::<f32, f32> {
                            x: &xs,
                            load,
                            w: &ws,
                            grad: &ys,
                            grad_norm: Some((&ys, &coefficients)),
                            dx: Some(DxOut {
                                grad: &mut dx,
                                accumulate: false,
                                operand_norm: Some(&rows),
                                norm: None,
                            }),
                            dw: Some((&mut dw, None)),
                        };
                        backward(isa, (x, out, window), op, 8, bytemuck::cast_slice_mut(&mut scratch));
                    };
                    catch_unwind(AssertUnwindSafe(run)).is_ok()
                };
                assert!(pass([0; 6]), "{window:?} {isa:?}");
                for argument in 0..6 {
                    let short = std::array::from_fn(|i| usize::from(i == argument));
                    assert!(!pass(short), "argument {argument} of {window:?}, {isa:?}");
                }
            }
        }
    }
}
