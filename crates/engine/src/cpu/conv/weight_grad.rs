//! The gradient of the weights: tiles of window elements by output channels, summed over pixels.

use super::geometry::Geometry;
use super::tile::{Tiles, accumulate, with_rows};
use crate::cpu::kernel::kernel;
use crate::cpu::parallel::{self, PIECES, Shared};
use crate::cpu::simd::{Isa, Simd};

/// Operands of a block of pixels should stay in the first-level cache.
const BLOCK_BYTES: usize = 20 << 10;

kernel! {
    /// `partial[block of output channels][kh][kw · in][channels of the block] +=` (`=` if `fresh`) sum over the
    /// pixels of `rows` output rows of window element times gradient. `x`: packed input rows; `dy`: packed
    /// gradient from the first own pixel on.
    fn weight_grad<S>(
        g: &Geometry, rows: usize, x: &[f32], dy: &[f32], ocp: usize, fresh: bool, partial: &mut [f32],
    ) {
        let last = (rows - 1) * g.s * g.x_pitch() + (g.ow - 1) * g.s * g.c;
        assert!(last + (g.k - 1) * g.x_pitch() + g.k * g.c <= x.len(), "{g:?}");
        assert!((rows - 1) * g.dy_pitch(ocp) + g.ow * ocp <= dy.len(), "{g:?}");
        assert!(ocp.is_multiple_of(S::LANES), "{ocp} channels");
        let mut first = 0;
        while first < ocp {
            let width = (ocp - first).min(2 * S::LANES);
            let partial = &mut partial[first * g.depth()..(first + width) * g.depth()];
            // SAFETY: S exists; the rows and windows of all pixels are there.
            unsafe {
                if width == 2 * S::LANES {
                    channels::<S, 2>(g, rows, x, &dy[first..], ocp, fresh, partial);
                } else {
                    channels::<S, 1>(g, rows, x, &dy[first..], ocp, fresh, partial);
                }
            }
            first += width;
        }
    }
}

/// One block of output channels.
///
/// # Safety
/// Only where S exists; `x` holds the windows of `rows` rows of pixels, `dy` their gradients.
#[inline(always)]
unsafe fn channels<S: Simd, const V: usize>(
    g: &Geometry,
    rows: usize,
    x: &[f32],
    dy: &[f32],
    ocp: usize,
    fresh: bool,
    partial: &mut [f32],
) {
    let pixel = 4 * (g.s * g.c + V * S::LANES);
    let columns = (BLOCK_BYTES / pixel).clamp(8.min(g.ow), g.ow);
    let columns = g.ow.div_ceil(g.ow.div_ceil(columns));
    let lines = (BLOCK_BYTES / (pixel * columns)).clamp(1, rows);
    let (x_pitch, dy_pitch) = (g.x_pitch(), g.dy_pitch(ocp));
    let (window, width) = (g.k * g.c, V * S::LANES);
    for r in (0..rows).step_by(lines) {
        for c in (0..g.ow).step_by(columns) {
            let block = Pixels {
                x: &x[r * g.s * x_pitch + c * g.s * g.c..],
                x_step: g.s * g.c,
                row_step: g.s * x_pitch,
                dy: &dy[r * dy_pitch + c * ocp..],
                dy_pitch,
                ocp,
                rows: lines.min(rows - r),
                columns: columns.min(g.ow - c),
                fresh: fresh && (r, c) == (0, 0),
            };
            for kh in 0..g.k {
                for (m, height) in Tiles::new(window, S::TILE) {
                    let out = &mut partial[(kh * window + m) * width..][..height * width];
                    // SAFETY: the block's rows and columns are some of the caller's; `out` holds `height` rows.
                    unsafe { with_rows!(height, elements::<S, V>(&block, kh * x_pitch + m, out)) };
                }
            }
        }
    }
}

/// A block of pixels that stays in the first-level cache.
struct Pixels<'a> {
    x: &'a [f32],
    /// Floats from one pixel's window to the next, and from one output row's windows to the next.
    x_step: usize,
    row_step: usize,
    dy: &'a [f32],
    dy_pitch: usize,
    ocp: usize,
    rows: usize,
    columns: usize,
    /// Whether the sums start here.
    fresh: bool,
}

/// T window elements, the first `element` floats behind a pixel's window.
///
/// # Safety
/// The block's rows and columns must lie inside its slices, and `out` must hold T rows of V vectors.
#[inline(always)]
unsafe fn elements<S: Simd, const T: usize, const V: usize>(b: &Pixels<'_>, element: usize, out: &mut [f32]) {
    // SAFETY: see above.
    unsafe {
        let out = out.as_mut_ptr();
        let mut acc = [[S::zero(); V]; T];
        if !b.fresh {
            for (i, acc) in acc.as_flattened_mut().iter_mut().enumerate() {
                *acc = S::load(out.add(i * S::LANES));
            }
        }
        for r in 0..b.rows {
            let x = b.x.as_ptr().add(r * b.row_step + element);
            let mut a = [x; T];
            for (t, a) in a.iter_mut().enumerate() {
                *a = x.add(t);
            }
            let dy = b.dy.as_ptr().add(r * b.dy_pitch);
            acc = accumulate::<S, T, V>(acc, a, b.x_step, dy, b.ocp, b.columns);
        }
        for (i, acc) in acc.as_flattened().iter().enumerate() {
            S::store(out.add(i * S::LANES), *acc);
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
    let (taps, depth, block) = (g.k * g.k, g.depth(), 2 * isa.lanes());
    let len = depth * ocp;
    // Rows of one block's channels, block after block.
    let rows = ocp.div_ceil(block) * depth;
    let width = |row: usize| (ocp - row / depth * block).min(block);
    let start =
        |row: usize| if row < rows { row / depth * block * depth + row % depth * width(row) } else { len };
    let parts = parallel::pieces(rows, PIECES);
    let (shared, dw) = (Shared::new(partials), Shared::new(dw));
    parallel::for_each(parts, |i| {
        let rows = parallel::piece(rows, parts, i);
        let range = start(rows.start)..start(rows.end);
        // SAFETY: each part touches its own rows of every piece.
        let total = unsafe { shared.part(range.clone()) };
        for p in 1..pieces {
            // SAFETY: as above.
            add(isa, total, unsafe { shared.part(p * len + range.start..p * len + range.end) });
        }
        for row in rows {
            let (first, e) = (row / depth * block, row % depth);
            let values = &total[start(row) - range.start..][..width(row).min(g.oc - first)];
            for (o, x) in values.iter().enumerate() {
                let at = ((first + o) * g.c + e % g.c) * taps + e / g.c;
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
