//! Copies that put operands into the order in which tiles read them, transformed on the way.

use super::geometry::{Geometry, Phase};
use crate::cpu::blocks::{for_blocks, load_block, store_block};
use crate::cpu::kernel::kernel;
use crate::cpu::load::Load;
use crate::cpu::simd::Simd;
use crate::cpu::value::{Value, widen};
use crate::ops::norm;
use std::ops::Range;

kernel! {
    /// The input rows that the output `rows` read, with their border of zeros.
    fn pack_input<S, X>(g: &Geometry, rows: Range<usize>, load: Load<'_>, image: &[X], out: &mut [f32]) {
        let pitch = g.x_pitch();
        let border = g.p * g.c;
        let first = (rows.start * g.s) as isize - g.p as isize;
        let count = (rows.len() - 1) * g.s + g.k;
        for (i, out) in out.chunks_exact_mut(pitch).take(count).enumerate() {
            let r = first + i as isize;
            if r < 0 || r as usize >= g.h {
                out.fill(0.0);
                continue;
            }
            out[..border].fill(0.0);
            out[pitch - border..].fill(0.0);
            let row = g.w * g.c;
            let (image, out) = (&image[r as usize * row..(r as usize + 1) * row], &mut out[border..border + row]);
            // SAFETY: S exists.
            unsafe { load.apply::<S>(image, out) };
        }
    }
}

/// The gradient at the output: `grad · a + raw · b + c`, or `grad`.
#[derive(Clone, Copy)]
pub(super) struct GradLoad<'a, Y> {
    pub grad: &'a [Y],
    /// Raw output and coefficients `[3, oc]`.
    pub norm: Option<(&'a [Y], &'a [f32])>,
}

kernel! {
    /// Rows `first..first + count` of the output's gradient (zeros outside), channels padded with zeros to `ocp`,
    /// with a border of zeros. `sums`: per-channel sums over the rows `own`.
    fn pack_gradient<S, Y>(
        g: &Geometry, span: (isize, usize), own: Range<usize>, load: GradLoad<'_, Y>, ocp: usize,
        out: &mut [f32], sums: Option<&mut [f64]>,
    ) {
        assert!(g.oc <= ocp && load.norm.is_none_or(|(_, k)| k.len() == norm::COEFFICIENTS * g.oc), "{g:?}");
        let pitch = g.dy_pitch(ocp);
        let (left, _) = g.dy_border();
        let (first, count) = span;
        let row = g.ow * g.oc;
        let mut sums = sums;
        for (i, out) in out.chunks_exact_mut(pitch).take(count).enumerate() {
            let r = first + i as isize;
            if r < 0 || r as usize >= g.oh {
                out.fill(0.0);
                continue;
            }
            let r = r as usize;
            let (head, rest) = out.split_at_mut(left * ocp);
            let (inner, tail) = rest.split_at_mut(g.ow * ocp);
            head.fill(0.0);
            tail.fill(0.0);
            let grad = &load.grad[r * row..(r + 1) * row];
            match load.norm {
                None if g.oc == ocp => widen(grad, inner),
                None => {
                    inner.fill(0.0);
                    // SAFETY: S exists; blocks lie within `g.oc` channels, which are no more than `ocp`.
                    unsafe { for_blocks!(g.oc, spread::<S>((g.oc, ocp), grad, inner)) };
                }
                Some((raw, k)) => {
                    let raw = &raw[r * row..(r + 1) * row];
                    if g.oc != ocp {
                        inner.fill(0.0);
                    }
                    // SAFETY: as above; there are coefficients for every channel.
                    unsafe { for_blocks!(g.oc, gradient::<S>((g.oc, ocp), k, grad, raw, inner)) };
                }
            }
            if let Some(sums) = sums.as_deref_mut()
                && own.contains(&r)
            {
                for pixel in inner.chunks_exact(ocp) {
                    for (s, x) in sums.iter_mut().zip(pixel) {
                        *s += f64::from(*x);
                    }
                }
            }
        }
    }
}

/// One block of channels, from pixels of `oc` channels to pixels of `ocp`.
///
/// # Safety
/// Only where S exists; `first + valid <= oc <= ocp`.
#[inline(always)]
unsafe fn spread<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    (oc, ocp): (usize, usize),
    grad: &[impl Value],
    out: &mut [f32],
) {
    for (o, x) in out.chunks_exact_mut(ocp).zip(grad.chunks_exact(oc)) {
        // SAFETY: pixels are whole, and `first + valid` is at most the channels of one.
        unsafe {
            let x = load_block::<S, V, FULL>(x.as_ptr().add(first), valid);
            store_block::<S, V, FULL>(o.as_mut_ptr().add(first), x, valid);
        }
    }
}

/// One block of channels of `grad · a + raw · b + c`, from pixels of `oc` channels to pixels of `ocp`.
///
/// # Safety
/// As [`spread`]; coefficients are `[3, oc]`.
#[inline(always)]
unsafe fn gradient<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    (oc, ocp): (usize, usize),
    coefficients: &[f32],
    grad: &[impl Value],
    raw: &[impl Value],
    out: &mut [f32],
) {
    let row = |i: usize| coefficients[i * oc + first..].as_ptr();
    // SAFETY: pixels are whole, and `first + valid` is at most the channels of one.
    unsafe {
        let [a, b, c] = [0, 1, 2].map(|i| load_block::<S, V, FULL>(row(i), valid));
        let pixels = grad.chunks_exact(oc).zip(raw.chunks_exact(oc));
        for (o, (x, y)) in out.chunks_exact_mut(ocp).zip(pixels) {
            let x = load_block::<S, V, FULL>(x.as_ptr().add(first), valid);
            let mut y = load_block::<S, V, FULL>(y.as_ptr().add(first), valid);
            for v in 0..V {
                y[v] = S::fma(x[v], a[v], S::fma(y[v], b[v], c[v]));
            }
            store_block::<S, V, FULL>(o.as_mut_ptr().add(first), y, valid);
        }
    }
}

/// Floats of packed weights: output channels rounded up to whole vectors.
pub(super) fn padded(channels: usize, lanes: usize) -> usize {
    channels.next_multiple_of(lanes)
}

/// Channels of the block of two vectors (one at an odd end) that holds channel `o`, as (first, width).
fn block_of(o: usize, channels: usize, lanes: usize) -> (usize, usize) {
    let first = o / (2 * lanes) * (2 * lanes);
    (first, (padded(channels, lanes) - first).min(2 * lanes))
}

/// `[out, in, k, k]` into blocks of output channels: `[block][k][k][in][channels of the block]`.
pub(super) fn pack_weights(g: &Geometry, w: &[f32], lanes: usize, out: &mut [f32]) {
    let taps = g.k * g.k;
    if !g.oc.is_multiple_of(lanes) {
        out.fill(0.0);
    }
    for (o, w) in w.chunks_exact(g.c * taps).enumerate() {
        let (first, width) = block_of(o, g.oc, lanes);
        let out = &mut out[first * g.depth()..];
        for (i, w) in w.chunks_exact(taps).enumerate() {
            for (t, w) in w.iter().enumerate() {
                out[(t * g.c + i) * width + (o - first)] = *w;
            }
        }
    }
}

/// Weights for the input's gradient of one pair of phases: blocks of input channels,
/// `[block][taps down][taps left][ocp][channels of the block]`, window positions descending.
pub(super) fn pack_transposed(
    g: &Geometry,
    (rows, columns): (Phase, Phase),
    w: &[f32],
    lanes: usize,
    ocp: usize,
    out: &mut [f32],
) {
    out.fill(0.0);
    let depth = rows.taps * columns.taps * ocp;
    for i in 0..g.c {
        let (first, width) = block_of(i, g.c, lanes);
        let out = &mut out[first * depth..];
        for r in 0..rows.taps {
            let kh = rows.last_tap(g) - r * g.s;
            for q in 0..columns.taps {
                let kw = columns.last_tap(g) - q * g.s;
                let tap = (r * columns.taps + q) * ocp;
                for o in 0..g.oc {
                    out[(tap + o) * width + (i - first)] = w[((o * g.c + i) * g.k + kh) * g.k + kw];
                }
            }
        }
    }
}
