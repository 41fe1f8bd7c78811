//! The forward pass over tiles.

use super::grid::{Grid, Segment, pitch};
use super::tiles::{Points, Rows, input_tiles, output_tile, points};
use super::weights::{WeightView, transformed};
use super::{POINTS, STEP};
use crate::cpu::blocks::{as_stored, load_block, store_block};
use crate::cpu::conv::forward::{Forward, finish_moments};
use crate::cpu::conv::geometry::Geometry;
use crate::cpu::conv::matrix::Matrix;
use crate::cpu::conv::multiply::{Operand, products, products_tiles};
use crate::cpu::conv::pack::pack_input;
use crate::cpu::conv::tile::{Ahead, bytes};
use crate::cpu::kernel::kernel;
use crate::cpu::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use crate::cpu::simd::{Isa, Simd};
use crate::cpu::value::Value;

/// Tiles after which 32-bit sums are handed on to 64-bit ones.
const FLUSH: usize = 8;

/// Floats that a thread needs for itself.
struct Slot {
    packed: usize,
    input: usize,
    output: usize,
    moments: usize,
}

impl Slot {
    fn new(g: &Geometry, grid: &Grid, m: Matrix) -> Self {
        Slot {
            packed: (grid.deepest() * STEP + 2) * g.x_pitch(),
            input: points(pitch(grid.tiles(), g.c)),
            output: points(pitch(grid.tiles(), m.columns)),
            moments: 2 * m.columns,
        }
    }

    fn len(&self) -> usize {
        [self.packed, self.input, self.output, self.moments].iter().map(|n| n.next_multiple_of(16)).sum()
    }
}

pub(in crate::cpu::conv) fn packed(g: &Geometry, lanes: usize) -> usize {
    Matrix::new(POINTS, g.c, g.oc, lanes).len()
}

pub(in crate::cpu::conv) fn prepack(isa: Isa, g: &Geometry, w: &[f32], to: &mut [f32]) {
    let source = WeightView { w, outs: g.oc, ins: g.c, turned: false };
    transformed(isa, source, Matrix::new(POINTS, g.c, g.oc, isa.lanes()), to);
}

pub(in crate::cpu::conv) fn scratch(g: &Geometry, lanes: usize, threads: usize) -> usize {
    let (grid, m) = (Grid::new(g), Matrix::new(POINTS, g.c, g.oc, lanes));
    let pieces = parallel::pieces(grid.units(), PIECES);
    scratch_of::<f32>(m.len())
        + scratch_of::<f32>(threads * Slot::new(g, &grid, m).len())
        + ChannelSums::scratch(pieces, 2, g.oc)
}

pub(in crate::cpu::conv) fn run<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Forward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let (grid, m) = (Grid::new(g), Matrix::new(POINTS, g.c, g.oc, isa.lanes()));
    let pieces = parallel::pieces(grid.units(), PIECES);
    let slot = Slot::new(g, &grid, m);
    let mut carver = Carver::new(scratch);
    let room = carver.take::<f32>(m.len());
    let w = op.w.packed(room, |w, to| prepack(isa, g, w, to));
    let slots = Shared::new(carver.take::<f32>(threads * slot.len()));
    let mut sums = ChannelSums::new(&mut carver, pieces, 2, g.oc);
    let (sum_rows, y) = (sums.rows(), Shared::new(op.y));
    let wants_sums = op.norm.is_some();
    let (pitch_in, pitch_out) = (pitch(grid.tiles(), g.c), pitch(grid.tiles(), m.columns));
    let (x_image, y_image) = (g.h * g.w * g.c, g.oh * g.ow * g.oc);
    parallel::for_each(pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row per piece.
        let (floats, sum_row) = unsafe {
            let at = parallel::slot() * slot.len();
            (slots.part(at..at + slot.len()), sum_rows.row(piece))
        };
        let mut floats = Floats(floats);
        let (packed, input) = (floats.take(slot.packed), floats.take(slot.input));
        let (output, moments) = (floats.take(slot.output), floats.take(slot.moments));
        for u in parallel::piece(grid.units(), pieces, piece) {
            for s in grid.segments(u) {
                let image = &op.x[s.image * x_image..(s.image + 1) * x_image];
                pack_input(isa, g, s.pixels(), op.load, image, packed);
                let from = Rows { values: packed, columns: g.w + 2, channels: g.c };
                let mut to = Points { values: input, pitch: pitch_in, channels: g.c };
                input_tiles(isa, from, s.rows.len(), grid.columns, s.first, &mut to);
            }
            let next = bytes(&op.x[grid.range(u + 1, g.h, g.w * g.c)]);
            let mut ahead = Ahead::new([next, &[], &[]], products_tiles(grid.tiles(), m));
            let a = Operand { values: input, pitch: pitch_in, channels: g.c };
            products(isa, grid.count(u), a, w, m, output, pitch_out, &mut ahead);
            for s in grid.segments(u) {
                let (line, rows) = (g.ow * g.oc, s.pixels().start..s.pixels().end.min(g.oh));
                let at = s.image * y_image;
                // SAFETY: the rows of this segment, which no other unit writes.
                let y = unsafe { y.part(at + rows.start * line..at + rows.end * line) };
                let from = Operand { values: output, pitch: pitch_out, channels: m.columns };
                let sums = wants_sums.then_some(&mut *sum_row);
                store(isa, g, &grid, &s, from, op.bias, y, moments, sums);
            }
        }
    });
    if let Some(t) = op.norm {
        finish_moments(sums.total(), g, t);
    }
}

/// Cuts a thread's floats.
pub(super) struct Floats<'a>(pub &'a mut [f32]);

impl<'a> Floats<'a> {
    pub fn take(&mut self, n: usize) -> &'a mut [f32] {
        let all = std::mem::take(&mut self.0);
        let (head, tail) = all.split_at_mut(n.next_multiple_of(16));
        self.0 = tail;
        head
    }
}

/// A tile's place in an image.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Floats before its first pixel, and from one row to the next.
    pub at: usize,
    pub line: usize,
    /// Rows and columns inside the image.
    pub rows: usize,
    pub columns: usize,
}

/// The tiles of a segment: index within the unit, and place in an image of `h x w` pixels of `c` channels.
#[inline(always)]
pub(super) fn places(
    (h, w, c): (usize, usize, usize),
    grid: &Grid,
    s: &Segment,
) -> impl Iterator<Item = (usize, Place)> {
    let (columns, top, first) = (grid.columns, s.rows.start, s.first);
    (0..s.rows.len() * columns).map(move |tile| {
        let (y, x) = ((top + tile / columns) * STEP, tile % columns * STEP);
        let at = (y * w + x) * c;
        (first + tile, Place { at, line: w * c, rows: (h - y).min(STEP), columns: (w - x).min(STEP) })
    })
}

/// Whether the values of a segment's tiles are there, as vectors of `channels` channels, and the tiles lie in images of
/// `h x w` pixels.
pub(super) fn check_tiles(
    channels: usize,
    (h, w): (usize, usize),
    grid: &Grid,
    s: &Segment,
    from: Operand<'_>,
    lanes: usize,
) {
    let tiles = s.first + s.rows.len() * grid.columns;
    let there = (POINTS - 1) * from.pitch + tiles * from.channels <= from.values.len();
    let whole = channels <= from.channels && from.channels.is_multiple_of(lanes);
    let inside = s.rows.end <= h.div_ceil(STEP) && grid.columns <= w.div_ceil(STEP);
    assert!(there && whole && inside, "{tiles} tiles of {channels} channels");
}

kernel! {
    /// Writes a segment's tiles into its rows `y`; per-channel sums of values and squares into `sums`.
    fn store<S, Y>(
        g: &Geometry, grid: &Grid, s: &Segment, from: Operand<'_>, bias: Option<&[f32]>, y: &mut [Y],
        moments: &mut [f32], sums: Option<&mut [f64]>,
    ) {
        let mut sums = sums;
        let padded = from.channels;
        check_tiles(g.oc, (g.oh, g.ow), grid, s, from, S::LANES);
        let rows = s.pixels().end.min(g.oh) - s.pixels().start;
        assert!(moments.len() >= 2 * padded && y.len() == rows * g.ow * g.oc, "{g:?}");
        assert!(bias.is_none_or(|b| b.len() == g.oc), "{g:?}");
        moments.fill(0.0);
        let tiles = s.rows.len() * grid.columns;
        let top = s.pixels().start * g.ow * g.oc;
        for (i, (tile, place)) in places((g.oh, g.ow, g.oc), grid, s).enumerate() {
            let whole = place.rows == STEP && place.columns == STEP;
            let m = from.values[tile * padded..].as_ptr();
            for first in (0..g.oc).step_by(S::LANES) {
                let n = (g.oc - first).min(S::LANES);
                // SAFETY: as was checked: the tile's values are there, its pixels lie in the image, `moments` holds two
                // rows of whole vectors.
                unsafe {
                    let values = output_tile::<S>(m.add(first), from.pitch);
                    let start = match bias {
                        Some(b) => load_block::<S, 1, false>(b[first..].as_ptr(), n)[0],
                        None => S::zero(),
                    };
                    let out = y[place.at - top + first..].as_mut_ptr();
                    let moments = moments.as_mut_ptr().add(first);
                    if whole && n == S::LANES {
                        write::<S, true>(values, start, out, (place, g.oc, n), moments, padded);
                    } else {
                        write::<S, false>(values, start, out, (place, g.oc, n), moments, padded);
                    }
                }
            }
            if let Some(sums) = sums.as_deref_mut()
                && (i % FLUSH == FLUSH - 1 || i + 1 == tiles)
            {
                flush(g.oc, padded, moments, sums);
            }
        }
    }
}

/// Hands `[2][padded]` 32-bit sums on to `[2][channels]` 64-bit ones.
#[inline(always)]
pub(super) fn flush(channels: usize, padded: usize, moments: &mut [f32], sums: &mut [f64]) {
    for (sums, moments) in sums.chunks_exact_mut(channels).zip(moments.chunks_exact_mut(padded)) {
        for (s, m) in sums.iter_mut().zip(&mut moments[..channels]) {
            *s += f64::from(*m);
            *m = 0.0;
        }
    }
}

#[inline(always)]
unsafe fn write<S: Simd, const FULL: bool>(
    values: [[S::V; STEP]; STEP],
    start: S::V,
    out: *mut impl Value,
    (place, channels, n): (Place, usize, usize),
    moments: *mut f32,
    padded: usize,
) {
    // SAFETY: the caller's pixels and moments are there.
    unsafe {
        let (mut sum, mut square) = (S::load(moments), S::load(moments.add(padded)));
        for r in 0..STEP {
            for c in 0..STEP {
                let mut v = values[r][c];
                if !FULL && (r >= place.rows || c >= place.columns) {
                    continue;
                }
                v = S::add(v, start);
                let out = out.add(r * place.line + c * channels);
                // Statistics are those of the values that are loaded again.
                v = as_stored::<S, _>(out, v);
                sum = S::add(sum, v);
                square = S::fma(v, v, square);
                store_block::<S, 1, FULL>(out, [v], n);
            }
        }
        S::store(moments, sum);
        S::store(moments.add(padded), square);
    }
}
