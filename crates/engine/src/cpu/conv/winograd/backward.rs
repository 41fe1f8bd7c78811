//! Both gradients over tiles.

use super::forward::{Floats, Place, check_tiles, flush, places};
use super::grid::{Grid, Segment, pitch};
use super::tiles::{Points, Rows, gradient_tiles, input_tiles, output_tile, points};
use super::weights::{WeightView, reduce, transformed};
use super::{POINTS, STEP};
use crate::cpu::channel::finish_norm;
use crate::cpu::conv::backward::Backward;
use crate::cpu::conv::geometry::Geometry;
use crate::cpu::conv::matrix::Matrix;
use crate::cpu::conv::multiply::{Operand, outer_products, outer_tiles, products, products_tiles};
use crate::cpu::conv::pack::{GradLoad, pack_gradient, pack_input};
use crate::cpu::conv::sink::{Put, Sink};
use crate::cpu::conv::tile::{Ahead, bytes};
use crate::cpu::kernel::kernel;
use crate::cpu::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use crate::cpu::simd::{Isa, Simd};
use crate::cpu::value::Value;

/// Partial weight gradients should not take more than this together (unless fewer than eight would fit).
const PARTIAL_BYTES: usize = 1 << 20;
/// Tiles after which 32-bit sums are handed on to 64-bit ones.
const FLUSH: usize = 8;

/// How the pass is cut and what it keeps, from shapes alone.
struct Layout {
    grid: Grid,
    pieces: usize,
    /// Products that give the input's gradient (rows: output channels), and sums that give the weights' (rows:
    /// input channels).
    dx: Matrix,
    dw: Matrix,
    /// Floats of a thread: packed input, packed gradient, transformed input or products, transformed gradient, sums.
    slot: [usize; 5],
    partial: usize,
}

impl Layout {
    fn new(g: &Geometry, lanes: usize, dw: bool) -> Self {
        let grid = Grid::new(g);
        let sums = Matrix::new(POINTS, g.c, g.oc, lanes);
        let products = Matrix::new(POINTS, sums.columns, g.c, lanes);
        let partial = if dw { sums.len() } else { 0 };
        let most = if dw { (PARTIAL_BYTES / (4 * partial)).clamp(8, PIECES) } else { PIECES };
        let rows = grid.deepest() * STEP + 2;
        let slot = [
            if dw { rows * g.x_pitch() } else { 0 },
            rows * g.dy_pitch(sums.columns),
            points(pitch(grid.tiles(), products.columns)),
            points(pitch(grid.tiles(), sums.columns)),
            2 * products.columns,
        ];
        Layout {
            pieces: parallel::pieces(grid.units(), most),
            grid,
            dx: products,
            dw: sums,
            slot: slot.map(|n| n.next_multiple_of(16)),
            partial,
        }
    }

    /// Register tiles of a unit, about.
    fn register_tiles(&self, dx: bool) -> usize {
        let dw = if self.partial > 0 { outer_tiles(self.dw) } else { 0 };
        dw + if dx { products_tiles(self.grid.tiles(), self.dx) } else { 0 }
    }

    fn slot_len(&self) -> usize {
        self.slot.iter().sum()
    }
}

pub(in crate::cpu::conv) fn scratch(g: &Geometry, lanes: usize, threads: usize, dx: bool, dw: bool) -> usize {
    let l = Layout::new(g, lanes, dw);
    scratch_of::<f32>(if dx { l.dx.len() } else { 0 })
        + scratch_of::<f32>(threads * l.slot_len())
        + scratch_of::<f32>(l.pieces * l.partial)
        + ChannelSums::scratch(l.pieces, 2, g.c)
        + ChannelSums::scratch(l.pieces, 1, g.oc)
}

pub(in crate::cpu::conv) fn run<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Backward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let Backward { x, load, w, grad, grad_norm, dx, dw } = op;
    let l = Layout::new(g, isa.lanes(), dw.is_some());
    let grid = &l.grid;
    let mut carver = Carver::new(scratch);
    let turned = carver.take::<f32>(if dx.is_some() { l.dx.len() } else { 0 });
    if dx.is_some() {
        transformed(isa, WeightView { w, outs: g.oc, ins: g.c, turned: true }, l.dx, turned);
    }
    let turned = &*turned;
    let slots = Shared::new(carver.take::<f32>(threads * l.slot_len()));
    let partials = carver.take::<f32>(l.pieces * l.partial);
    let partial_parts = Shared::new(partials);
    let mut norm_sums = ChannelSums::new(&mut carver, l.pieces, 2, g.c);
    let mut bias_sums = ChannelSums::new(&mut carver, l.pieces, 1, g.oc);
    let (norm_rows, bias_rows) = (norm_sums.rows(), bias_sums.rows());
    let wants_bias = dw.as_ref().is_some_and(|(_, b)| b.is_some());
    let (sink, dx_norm) = match dx {
        Some(d) => {
            let (norm, sums) = (d.operand_norm, d.norm.is_some());
            // SAFETY: units write disjoint pixels, and a unit's kernels run one after the other.
            let sink = unsafe { Sink::new(g.c, d.grad, d.accumulate, norm, load.relu, sums, x) };
            (Some(sink), d.norm.zip(d.operand_norm))
        }
        None => (None, None),
    };
    let pitches = [pitch(grid.tiles(), l.dx.columns), pitch(grid.tiles(), l.dw.columns)];
    let (x_image, y_image) = (g.h * g.w * g.c, g.oh * g.ow * g.oc);
    parallel::for_each(l.pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row and one partial per piece.
        let (floats, norm_row, bias_row, partial) = unsafe {
            let at = parallel::slot() * l.slot_len();
            (
                slots.part(at..at + l.slot_len()),
                norm_rows.row(piece),
                bias_rows.row(piece),
                partial_parts.part(piece * l.partial..(piece + 1) * l.partial),
            )
        };
        let mut floats = Floats(floats);
        let [x_packed, dy_packed, a, b, moments] = l.slot.map(|n| floats.take(n));
        let units = parallel::piece(grid.units(), l.pieces, piece);
        let first = units.start;
        for u in units {
            let tiles = grid.count(u);
            let incoming = |s: &Segment| {
                let at = s.image * y_image..(s.image + 1) * y_image;
                GradLoad { grad: &grad[at.clone()], norm: grad_norm.map(|(raw, k)| (&raw[at], k)) }
            };
            let span = |s: &Segment| (s.pixels().start as isize - 1, s.pixels().len() + 2);
            let dy_line = g.dy_pitch(l.dw.columns);
            let mut ahead = Ahead::new(
                [
                    bytes(&x[grid.range(u + 1, g.h, g.w * g.c)]),
                    bytes(&grad[grid.range(u + 1, g.oh, g.ow * g.oc)]),
                    grad_norm.map_or(&[], |(raw, _)| bytes(&raw[grid.range(u + 1, g.oh, g.ow * g.oc)])),
                ],
                l.register_tiles(sink.is_some()),
            );
            // A unit of one image is packed once for both gradients.
            let once = grid.segments(u).count() == 1;
            if l.partial > 0 {
                for s in grid.segments(u) {
                    let image = &x[s.image * x_image..(s.image + 1) * x_image];
                    pack_input(isa, g, s.pixels(), load, image, x_packed);
                    let from = Rows { values: x_packed, columns: g.w + 2, channels: g.c };
                    let mut to = Points { values: a, pitch: pitches[0], channels: g.c };
                    input_tiles(isa, from, s.rows.len(), grid.columns, s.first, &mut to);
                    let bias = wants_bias.then_some(&mut *bias_row);
                    let own = s.pixels().start..s.pixels().end.min(g.oh);
                    pack_gradient(isa, g, span(&s), own, incoming(&s), l.dw.columns, dy_packed, bias);
                    let values = &dy_packed[dy_line + l.dw.columns..];
                    let from = Rows { values, columns: g.ow + 2, channels: l.dw.columns };
                    let mut to = Points { values: b, pitch: pitches[1], channels: l.dw.columns };
                    gradient_tiles(isa, from, g.ow, s.rows.len(), grid.columns, s.first, &mut to);
                }
                let xs = Operand { values: a, pitch: pitches[0], channels: g.c };
                let dys = Operand { values: b, pitch: pitches[1], channels: l.dw.columns };
                outer_products(isa, tiles, xs, dys, l.dw, u == first, partial, &mut ahead);
            }
            let Some(sink) = &sink else { continue };
            for s in grid.segments(u) {
                if l.partial == 0 || !once {
                    pack_gradient(isa, g, span(&s), 0..0, incoming(&s), l.dw.columns, dy_packed, None);
                }
                let mut to = Points { values: b, pitch: pitches[1], channels: l.dw.columns };
                let from = Rows { values: dy_packed, columns: g.ow + 2, channels: l.dw.columns };
                input_tiles(isa, from, s.rows.len(), grid.columns, s.first, &mut to);
            }
            let dys = Operand { values: b, pitch: pitches[1], channels: l.dw.columns };
            products(isa, tiles, dys, turned, l.dx, a, pitches[0], &mut ahead);
            for s in grid.segments(u) {
                let from = Operand { values: a, pitch: pitches[0], channels: l.dx.columns };
                store(isa, g, grid, &s, from, sink, moments, norm_row);
            }
        }
    });
    if let Some((out, operand)) = dx_norm {
        finish_norm(operand, norm_sums.total(), g.n * g.h * g.w, out);
    }
    if let Some((dw, bias)) = dw {
        reduce(isa, l.dw, l.pieces, partials, (g.oc, g.c), dw);
        if let Some(bias) = bias {
            for (b, s) in bias.iter_mut().zip(bias_sums.total()) {
                *b = *s as f32;
            }
        }
    }
}

kernel! {
    /// Writes a segment's tiles of the input's gradient; sums for its normalisation into `sums`.
    fn store<S, X>(
        g: &Geometry, grid: &Grid, s: &Segment, from: Operand<'_>, sink: &Sink<'_, X>, moments: &mut [f32],
        sums: &mut [f64],
    ) {
        let padded = from.channels;
        sink.check(g.c);
        check_tiles(g.c, (g.h, g.w), grid, s, from, S::LANES);
        assert!(moments.len() >= 2 * padded, "{g:?}");
        moments.fill(0.0);
        let tiles = s.rows.len() * grid.columns;
        let image = s.image * g.h * g.w * g.c;
        for (i, (tile, mut place)) in places((g.h, g.w, g.c), grid, s).enumerate() {
            let whole = place.rows == STEP && place.columns == STEP;
            place.at += image;
            let m = from.values[tile * padded..].as_ptr();
            for first in (0..g.c).step_by(S::LANES) {
                let n = (g.c - first).min(S::LANES);
                // SAFETY: as in the forward pass; units write disjoint pixels of the sink.
                unsafe {
                    let values = output_tile::<S>(m.add(first), from.pitch);
                    let moments = moments.as_mut_ptr().add(first);
                    if whole && n == S::LANES {
                        write::<S, true>(values, sink, (place, g.c, first, n), moments, padded);
                    } else {
                        write::<S, false>(values, sink, (place, g.c, first, n), moments, padded);
                    }
                }
            }
            if sink.sums && (i % FLUSH == FLUSH - 1 || i + 1 == tiles) {
                flush(g.c, padded, moments, sums);
            }
        }
    }
}

#[inline(always)]
unsafe fn write<S: Simd, const FULL: bool>(
    values: [[S::V; STEP]; STEP],
    sink: &Sink<'_, impl Value>,
    (place, channels, first, n): (Place, usize, usize, usize),
    moments: *mut f32,
    padded: usize,
) {
    // SAFETY: the caller's pixels and moments are there.
    unsafe {
        let mut put = Put::<S, 1>::new::<FULL>(sink, channels, first, n);
        (put.sum, put.product) = ([S::load(moments)], [S::load(moments.add(padded))]);
        for r in 0..STEP {
            for c in 0..STEP {
                if FULL || (r < place.rows && c < place.columns) {
                    let at = place.at + r * place.line + c * channels + first;
                    put.write::<FULL>(sink, at, [values[r][c]], n);
                }
            }
        }
        S::store(moments, put.sum[0]);
        S::store(moments.add(padded), put.product[0]);
    }
}
