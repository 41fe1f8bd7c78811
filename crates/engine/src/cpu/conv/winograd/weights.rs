//! Weights into the transformed domain, and their gradients back.

use super::POINTS;
use super::transform;
use crate::cpu::conv::matrix::Matrix;
use crate::cpu::kernel::kernel;
use crate::cpu::parallel::{self, PIECES, Shared};
use crate::cpu::simd::Isa;

/// Channels that are transformed together.
const GROUP: usize = 8;

/// How a weight tensor `[out, in, 3, 3]` is read.
#[derive(Clone, Copy)]
pub(super) struct WeightView<'a> {
    pub w: &'a [f32],
    pub outs: usize,
    pub ins: usize,
    /// Rows are output channels and the window is turned around: for the input's gradient.
    pub turned: bool,
}

/// `G g Gᵀ` of all weights.
pub(super) fn transformed(isa: Isa, source: WeightView<'_>, m: Matrix, out: &mut [f32]) {
    let rows = parallel::pieces(m.blocks() * m.rows, PIECES);
    let small = m.point() < 1 << 14;
    let parts = if small { 1 } else { rows };
    let out = Shared::new(out);
    parallel::for_each(parts, |i| {
        for at in parallel::piece(m.blocks() * m.rows, parts, i) {
            let (first, width) = m.block(at / m.rows);
            let start = first * m.rows + at % m.rows * width;
            for point_group in (0..width).step_by(GROUP) {
                let values = one_group(isa, source, at % m.rows, first + point_group);
                let valid = GROUP.min(width - point_group);
                for (p, v) in values.iter().enumerate() {
                    let at = p * m.point() + start + point_group;
                    // SAFETY: every group writes its own floats.
                    unsafe { out.part(at..at + valid) }.copy_from_slice(&v[..valid]);
                }
            }
        }
    });
}

kernel! {
    fn group<S>(source: WeightView<'_>, row: usize, column: usize, out: &mut [[f32; GROUP]; POINTS]) {
        let _ = S::LANES;
        let columns = if source.turned { source.ins } else { source.outs };
        let mut g = [[[0f32; GROUP]; 3]; 3];
        for n in 0..GROUP.min(columns.saturating_sub(column)) {
            let (o, i) = if source.turned { (row, column + n) } else { (column + n, row) };
            // Output channels may have been rounded up.
            if o >= source.outs || i >= source.ins {
                continue;
            }
            let w = &source.w[(o * source.ins + i) * 9..][..9];
            for (t, w) in w.iter().enumerate() {
                let t = if source.turned { 8 - t } else { t };
                g[t / 3][t % 3][n] = *w;
            }
        }
        // Along columns of the window, then along its rows.
        let mut half = [[[0f32; GROUP]; 3]; 6];
        for c in 0..3 {
            let t = transform::weights([g[0][c], g[1][c], g[2][c]]);
            for i in 0..6 {
                half[i][c] = t[i];
            }
        }
        for i in 0..6 {
            out[i * 6..i * 6 + 6].copy_from_slice(&transform::weights(half[i]));
        }
    }
}

fn one_group(isa: Isa, source: WeightView<'_>, row: usize, column: usize) -> [[f32; GROUP]; POINTS] {
    let mut out = [[0.0; GROUP]; POINTS];
    group(isa, source, row, column, &mut out);
    out
}

/// Rows whose gradients are added up together: long enough runs of memory.
const RUN: usize = 16;

/// Adds the pieces' transformed gradients up in order and writes `Gᵀ (·) G` as `[out, in, 3, 3]`.
pub(super) fn reduce(
    isa: Isa,
    m: Matrix,
    pieces: usize,
    partials: &mut [f32],
    (outs, ins): (usize, usize),
    dw: &mut [f32],
) {
    let rows = m.blocks() * m.rows;
    let parts = parallel::pieces(rows.div_ceil(RUN), PIECES);
    let start = |at: usize| {
        if at == rows {
            return m.point();
        }
        let (first, width) = m.block(at / m.rows);
        first * m.rows + at % m.rows * width
    };
    let (partials, dw) = (Shared::new(partials), Shared::new(dw));
    parallel::for_each(parts, |i| {
        let own = parallel::piece(rows, parts, i);
        let run = start(own.start)..start(own.end);
        for p in 0..POINTS {
            let of = |piece: usize| {
                let at = piece * m.len() + p * m.point();
                at + run.start..at + run.end
            };
            // SAFETY: each part touches its own rows of every piece.
            let total = unsafe { partials.part(of(0)) };
            for piece in 1..pieces {
                // SAFETY: as above.
                add(isa, total, unsafe { partials.part(of(piece)) });
            }
        }
        for at in own {
            let (first, width) = m.block(at / m.rows);
            for group in (0..width).step_by(GROUP) {
                let mut w = [[0.0; GROUP]; POINTS];
                for (p, w) in w.iter_mut().enumerate() {
                    let from = p * m.point() + start(at) + group;
                    let n = GROUP.min(width - group);
                    // SAFETY: as above.
                    w[..n].copy_from_slice(unsafe { partials.part(from..from + n) });
                }
                let mut g = [[0.0; GROUP]; 9];
                window(isa, &w, &mut g);
                for n in 0..GROUP.min(outs.saturating_sub(first + group)) {
                    let at = ((first + group + n) * ins + at % m.rows) * 9;
                    // SAFETY: one window, written by this part alone.
                    let out = unsafe { dw.part(at..at + 9) };
                    for (out, g) in out.iter_mut().zip(&g) {
                        *out = g[n];
                    }
                }
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

kernel! {
    /// `Gᵀ w G` of a group of columns.
    fn window<S>(w: &[[f32; GROUP]; POINTS], out: &mut [[f32; GROUP]; 9]) {
        let _ = S::LANES;
        let mut half = [[[0f32; GROUP]; 6]; 3];
        for c in 0..6 {
            let t = transform::weights_gradient([w[c], w[6 + c], w[12 + c], w[18 + c], w[24 + c], w[30 + c]]);
            for r in 0..3 {
                half[r][c] = t[r];
            }
        }
        for r in 0..3 {
            let t = transform::weights_gradient(half[r]);
            out[r * 3..r * 3 + 3].copy_from_slice(&t);
        }
    }
}
