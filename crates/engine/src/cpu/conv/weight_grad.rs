//! The gradient of the weights: tiles of window elements by output channels, summed over pixels.

use super::geometry::Geometry;
use super::tile::{Tiles, accumulate, with_rows};
use crate::cpu::parallel::{self, PIECES, Shared};
use crate::cpu::simd::{Isa, Simd, kernel};

/// Operands of a block of pixels should stay in the first-level cache.
const BLOCK_BYTES: usize = 16 << 10;

kernel! {
    /// `partial[kh][kw · in][ocp] +=` sum over the pixels of `rows` output rows of window element times gradient.
    /// `x`: packed input rows; `dy`: packed gradient from the first own pixel on.
    fn weight_grad<S>(g: &Geometry, rows: usize, x: &[f32], dy: &[f32], ocp: usize, partial: &mut [f32]) {
        let pixel = 4 * (g.s * g.c + ocp);
        let columns = (BLOCK_BYTES / pixel).clamp(8.min(g.ow), g.ow);
        let columns = g.ow.div_ceil(g.ow.div_ceil(columns));
        let lines = (BLOCK_BYTES / (pixel * columns)).clamp(1, rows);
        let (x_pitch, dy_pitch) = (g.x_pitch(), g.dy_pitch(ocp));
        for r in (0..rows).step_by(lines) {
            for c in (0..g.ow).step_by(columns) {
                let block = Pixels {
                    x: &x[r * g.s * x_pitch + c * g.s * g.c..],
                    x_pitch,
                    x_step: g.s * g.c,
                    dy: &dy[r * dy_pitch + c * ocp..],
                    dy_pitch,
                    ocp,
                    rows: lines.min(rows - r),
                    columns: columns.min(g.ow - c),
                    row_step: g.s * x_pitch,
                };
                let window = g.k * g.c;
                for kh in 0..g.k {
                    for (m, height) in Tiles::new(window, S::TILE) {
                        let row = &mut partial[(kh * window + m) * ocp..(kh * window + m + height) * ocp];
                        with_rows!(height, elements::<S>(&block, kh, m, row));
                    }
                }
            }
        }
    }
}

/// A block of pixels that stays in the first-level cache.
struct Pixels<'a> {
    x: &'a [f32],
    x_pitch: usize,
    /// Floats from one pixel's window to the next.
    x_step: usize,
    dy: &'a [f32],
    dy_pitch: usize,
    ocp: usize,
    rows: usize,
    columns: usize,
    /// Floats from one output row's windows to the next.
    row_step: usize,
}

/// T window elements from `m` on, all output channels.
#[inline(always)]
fn elements<S: Simd, const T: usize>(b: &Pixels<'_>, kh: usize, m: usize, out: &mut [f32]) {
    let vectors = b.ocp / S::LANES;
    let mut v = 0;
    while v < vectors {
        // SAFETY: as in `block`.
        unsafe {
            if vectors - v >= 2 {
                block::<S, T, 2>(b, kh, m, v * S::LANES, out);
            } else {
                block::<S, T, 1>(b, kh, m, v * S::LANES, out);
            }
        }
        v += 2;
    }
}

/// # Safety
/// The block's rows and columns lie inside its slices (sizes follow from the geometry), `channel` and V
/// vectors inside `ocp`, and `out` holds T rows of `ocp`.
#[inline(always)]
unsafe fn block<S: Simd, const T: usize, const V: usize>(
    b: &Pixels<'_>,
    kh: usize,
    m: usize,
    channel: usize,
    out: &mut [f32],
) {
    // SAFETY: see above.
    unsafe {
        let out = out.as_mut_ptr().add(channel);
        let mut acc = [[S::zero(); V]; T];
        for (t, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = S::load(out.add(t * b.ocp + v * S::LANES));
            }
        }
        for r in 0..b.rows {
            let x = b.x.as_ptr().add(r * b.row_step + kh * b.x_pitch + m);
            let mut a = [x; T];
            for (t, a) in a.iter_mut().enumerate() {
                *a = x.add(t);
            }
            let dy = b.dy.as_ptr().add(r * b.dy_pitch + channel);
            acc = accumulate::<S, T, V>(acc, a, b.x_step, dy, b.ocp, b.columns);
        }
        for (t, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                S::store(out.add(t * b.ocp + v * S::LANES), *acc);
            }
        }
    }
}

/// Adds the pieces' partial gradients up in order and writes them as `[out, in, k, k]`.
pub(super) fn reduce(
    isa: Isa,
    g: &Geometry,
    pieces: usize,
    ocp: usize,
    partials: &mut [f32],
    dw: &mut [f32],
) {
    let len = g.depth() * ocp;
    let parts = parallel::pieces(g.depth(), PIECES);
    let (shared, dw) = (Shared::new(partials), Shared::new(dw));
    let taps = g.k * g.k;
    parallel::for_each(parts, |i| {
        let elements = parallel::piece(g.depth(), parts, i);
        let range = elements.start * ocp..elements.end * ocp;
        // SAFETY: each part touches its own elements of every piece.
        let total = unsafe { shared.part(range.clone()) };
        for p in 1..pieces {
            // SAFETY: as above.
            add(isa, total, unsafe { shared.part(p * len + range.start..p * len + range.end) });
        }
        for (e, row) in elements.zip(total.chunks_exact(ocp)) {
            let (tap, c) = (e / g.c, e % g.c);
            for (o, x) in row[..g.oc].iter().enumerate() {
                let at = (o * g.c + c) * taps + tap;
                // SAFETY: one element, written by this part alone.
                unsafe { dw.part(at..at + 1) }.fill(*x);
            }
        }
    });
}

kernel! {
    fn add<S>(total: &mut [f32], part: &[f32]) {
        let _ = S::LANES;
        for (t, x) in total.iter_mut().zip(part) {
            *t += x;
        }
    }
}
