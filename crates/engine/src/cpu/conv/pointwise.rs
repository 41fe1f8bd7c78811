//! Convolutions without neighbours (1x1, step 1) and linear layers: matrix products, blocked for the caches.
//!
//! A unit is a line of pixels ([`Geometry`] regroups them). Its operands are packed with a gap between pixels, since
//! widths are powers of two and pixels would otherwise share cache sets.

use super::backward::Backward;
use super::forward::{Forward, finish_moments};
use super::geometry::Geometry;
use super::matrix::Matrix;
use super::multiply::{Operand, outer_products, outer_tiles, products, products_tiles};
use super::pack::{GradLoad, pack_gradient};
use super::sink::{Put, Sink, hand_on};
use super::tile::{Ahead, bytes};
use super::weight_grad::reduce;
use crate::cpu::blocks::{as_stored, for_blocks, load_block, store_block};
use crate::cpu::channel::finish_norm;
use crate::cpu::kernel::kernel;
use crate::cpu::load::Load;
use crate::cpu::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use crate::cpu::simd::{Isa, Simd};
use crate::cpu::value::Value;

/// Partial weight gradients should not take more than this together (unless fewer than eight would fit).
const PARTIAL_BYTES: usize = 1 << 20;
/// Floats between packed pixels.
const GAP: usize = 16;
/// Fewest weights that pay for a blocked product.
const LEAST: usize = 64 * 64;
/// Pixels after which 32-bit sums are handed on to 64-bit ones.
const FLUSH: usize = 96;

/// Whether this path is taken. Decided by shapes alone.
pub(super) fn fits(g: &Geometry) -> bool {
    (g.k, g.s, g.p) == (1, 1, 0) && g.c >= 16 && g.oc >= 16 && g.c * g.oc >= LEAST
}

/// How the passes are cut and what they keep.
struct Layout {
    /// Weights as the forward pass, and as the input's gradient takes them.
    forward: Matrix,
    turned: Matrix,
    pieces: usize,
    partial: usize,
    /// Floats from one packed pixel to the next.
    x_step: usize,
    dy_step: usize,
    /// Floats of a thread: packed operands and products.
    slot: [usize; 3],
}

impl Layout {
    fn new(g: &Geometry, lanes: usize, dw: bool) -> Self {
        let forward = Matrix::new(1, g.c, g.oc, lanes);
        let turned = Matrix::new(1, forward.columns, g.c, lanes);
        let partial = if dw { forward.len() } else { 0 };
        let most = if dw { (PARTIAL_BYTES / (4 * partial)).clamp(8, PIECES) } else { PIECES };
        let (x_step, dy_step) = (g.c + GAP, forward.columns + GAP);
        let slot = [g.w * x_step, g.w * dy_step, g.w * forward.columns.max(turned.columns)];
        let slot = slot.map(|n| n.next_multiple_of(16));
        Layout { forward, turned, pieces: parallel::pieces(g.n, most), partial, x_step, dy_step, slot }
    }

    fn slot_len(&self) -> usize {
        self.slot.iter().sum()
    }
}

/// `[out, in]` as `m`: rows are input channels, or output channels if `turned`.
fn ordered(m: Matrix, w: &[f32], ins: usize, turned: bool, out: &mut [f32]) {
    let outs = w.len() / ins.max(1);
    assert_eq!(outs * ins, w.len(), "weights of {ins} channels");
    let blocks = Shared::new(out);
    parallel::for_each(m.blocks(), |b| {
        let (first, width) = m.block(b);
        // SAFETY: blocks are disjoint.
        let out = unsafe { blocks.part(first * m.rows..(first + width) * m.rows) };
        out.fill(0.0);
        let columns = if turned { ins } else { outs };
        for column in first..(first + width).min(columns) {
            for row in 0..m.rows.min(if turned { outs } else { ins }) {
                let at = if turned { row * ins + column } else { column * ins + row };
                out[row * width + column - first] = w[at];
            }
        }
    });
}

pub(super) fn packed(g: &Geometry, lanes: usize) -> usize {
    Layout::new(g, lanes, false).forward.len()
}

pub(super) fn prepack(isa: Isa, g: &Geometry, w: &[f32], to: &mut [f32]) {
    ordered(Layout::new(g, isa.lanes(), false).forward, w, g.c, false, to);
}

pub(super) fn forward_scratch(g: &Geometry, lanes: usize, threads: usize) -> usize {
    let l = Layout::new(g, lanes, false);
    scratch_of::<f32>(l.forward.len())
        + scratch_of::<f32>(threads * l.slot_len())
        + ChannelSums::scratch(l.pieces, 2, g.oc)
}

pub(super) fn forward<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Forward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let l = Layout::new(g, isa.lanes(), false);
    let mut carver = Carver::new(scratch);
    let room = carver.take::<f32>(l.forward.len());
    let w = op.w.packed(room, |w, to| ordered(l.forward, w, g.c, false, to));
    let slots = Shared::new(carver.take::<f32>(threads * l.slot_len()));
    let mut sums = ChannelSums::new(&mut carver, l.pieces, 2, g.oc);
    let (rows, y) = (sums.rows(), Shared::new(op.y));
    let (x_line, y_line) = (g.w * g.c, g.w * g.oc);
    parallel::for_each(l.pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row per piece.
        let (slot, sums) = unsafe {
            let at = parallel::slot() * l.slot_len();
            (slots.part(at..at + l.slot_len()), rows.row(piece))
        };
        let (packed, rest) = slot.split_at_mut(l.slot[0]);
        let products_of = &mut rest[l.slot[1]..];
        for u in parallel::piece(g.n, l.pieces, piece) {
            pack(isa, op.load, &op.x[u * x_line..(u + 1) * x_line], g.c, l.x_step, packed);
            let next = (u + 1) * x_line..((u + 2) * x_line).min(op.x.len());
            let next = bytes(op.x.get(next).unwrap_or_default());
            let mut ahead = Ahead::new([next, &[], &[]], products_tiles(g.w, l.forward));
            let a = Operand { values: packed, pitch: 0, channels: l.x_step };
            products(isa, g.w, a, w, l.forward, products_of, 0, &mut ahead);
            // SAFETY: the pixels of this unit.
            let y = unsafe { y.part(u * y_line..(u + 1) * y_line) };
            let sums = op.norm.is_some().then_some(&mut *sums);
            store(isa, g.oc, products_of, l.forward.columns, op.bias, y, sums);
        }
    });
    if let Some(t) = op.norm {
        finish_moments(sums.total(), g, t);
    }
}

pub(super) fn backward_scratch(g: &Geometry, lanes: usize, threads: usize, dx: bool, dw: bool) -> usize {
    let l = Layout::new(g, lanes, dw);
    scratch_of::<f32>(if dx { l.turned.len() } else { 0 })
        + scratch_of::<f32>(threads * l.slot_len())
        + scratch_of::<f32>(l.pieces * l.partial)
        + ChannelSums::scratch(l.pieces, 2, g.c)
        + ChannelSums::scratch(l.pieces, 1, g.oc)
}

pub(super) fn backward<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Backward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let Backward { x, load, w, grad, grad_norm, dx, dw } = op;
    let l = Layout::new(g, isa.lanes(), dw.is_some());
    let mut carver = Carver::new(scratch);
    let turned = carver.take::<f32>(if dx.is_some() { l.turned.len() } else { 0 });
    if dx.is_some() {
        ordered(l.turned, w, g.c, true, turned);
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
    let (x_line, y_line) = (g.w * g.c, g.w * g.oc);
    parallel::for_each(l.pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row and one partial per piece.
        let (slot, norm_row, bias_row, partial) = unsafe {
            let at = parallel::slot() * l.slot_len();
            (
                slots.part(at..at + l.slot_len()),
                norm_rows.row(piece),
                bias_rows.row(piece),
                partial_parts.part(piece * l.partial..(piece + 1) * l.partial),
            )
        };
        let (x_packed, rest) = slot.split_at_mut(l.slot[0]);
        let (dy_packed, products_of) = rest.split_at_mut(l.slot[1]);
        let units = parallel::piece(g.n, l.pieces, piece);
        let first = units.start;
        for u in units {
            let (x_at, y_at) = (u * x_line..(u + 1) * x_line, u * y_line..(u + 1) * y_line);
            let incoming =
                GradLoad { grad: &grad[y_at.clone()], norm: grad_norm.map(|(raw, k)| (&raw[y_at], k)) };
            let bias = wants_bias.then_some(&mut *bias_row);
            pack_gradient(isa, g, (0, 1), 0..1, incoming, l.dy_step, dy_packed, bias);
            let tiles = products_tiles(g.w, l.turned) + outer_tiles(l.forward);
            let next = ((u + 1) * y_line).min(grad.len())..((u + 2) * y_line).min(grad.len());
            let raw = grad_norm.map_or(&[][..], |(raw, _)| bytes(&raw[next.clone()]));
            let mut ahead = Ahead::new([bytes(&grad[next]), raw, &[]], tiles);
            let dys = Operand { values: dy_packed, pitch: 0, channels: l.dy_step };
            if l.partial > 0 {
                pack(isa, load, &x[x_at], g.c, l.x_step, x_packed);
                let xs = Operand { values: x_packed, pitch: 0, channels: l.x_step };
                outer_products(isa, g.w, xs, dys, l.forward, u == first, partial, &mut ahead);
            }
            if let Some(sink) = &sink {
                products(isa, g.w, dys, turned, l.turned, products_of, 0, &mut ahead);
                store_gradient(isa, g.c, products_of, l.turned.columns, u * x_line, g.w, sink, norm_row);
            }
        }
    });
    if let Some((out, operand)) = dx_norm {
        finish_norm(operand, norm_sums.total(), g.n * g.h * g.w, out);
    }
    if let Some((dw, bias)) = dw {
        reduce(isa, g, l.pieces, l.forward.columns, partials, dw);
        if let Some(bias) = bias {
            for (b, s) in bias.iter_mut().zip(bias_sums.total()) {
                *b = *s as f32;
            }
        }
    }
}

kernel! {
    /// Pixels of `c` channels, transformed, `step` floats apart.
    fn pack<S, X>(load: Load<'_>, x: &[X], c: usize, step: usize, out: &mut [f32]) {
        for (x, out) in x.chunks_exact(c).zip(out.chunks_exact_mut(step)) {
            // SAFETY: S exists.
            unsafe { load.apply::<S>(x, &mut out[..c]) };
        }
    }
}

kernel! {
    /// Writes products of `step` floats a pixel as `y`; per-channel sums of values and squares into `sums`.
    fn store<S, Y>(
        oc: usize, products: &[f32], step: usize, bias: Option<&[f32]>, y: &mut [Y], sums: Option<&mut [f64]>,
    ) {
        assert!(oc <= step && bias.is_none_or(|b| b.len() == oc), "{oc} channels of {step}");
        let mut sums = sums;
        // SAFETY: S exists; blocks lie within `oc` channels, which products and bias have.
        unsafe { for_blocks!(oc, store_block_of::<S>(oc, (products, step), bias, y, sums.as_deref_mut())) };
    }
}

/// # Safety
/// Only where S exists; `first + valid <= oc <= step`, and the bias is of `oc` channels.
#[inline(always)]
unsafe fn store_block_of<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    oc: usize,
    (products, step): (&[f32], usize),
    bias: Option<&[f32]>,
    y: &mut [impl Value],
    sums: Option<&mut [f64]>,
) {
    let mut sums = sums;
    // SAFETY: pixels are whole, and `first + valid` is at most the channels of one.
    unsafe {
        let start = match bias {
            Some(bias) => load_block::<S, V, FULL>(bias[first..].as_ptr(), valid),
            None => [S::zero(); V],
        };
        for (y, products) in y.chunks_mut(oc * FLUSH).zip(products.chunks(step * FLUSH)) {
            let (mut sum, mut square) = ([S::zero(); V], [S::zero(); V]);
            for (y, p) in y.chunks_exact_mut(oc).zip(products.chunks_exact(step)) {
                let out = y.as_mut_ptr().add(first);
                let mut value = load_block::<S, V, FULL>(p.as_ptr().add(first), valid);
                for v in 0..V {
                    // Statistics are those of the values that are loaded again.
                    value[v] = as_stored::<S, _>(out, S::add(value[v], start[v]));
                    sum[v] = S::add(sum[v], value[v]);
                    square[v] = S::fma(value[v], value[v], square[v]);
                }
                store_block::<S, V, FULL>(out, value, valid);
            }
            if let Some(sums) = sums.as_deref_mut() {
                hand_on::<S, V>((sum, square), (first, valid, oc), sums);
            }
        }
    }
}

kernel! {
    /// Writes products as the gradient of `pixels` pixels from offset `at` on; sums for its normalisation into `sums`.
    fn store_gradient<S, X>(
        c: usize, products: &[f32], step: usize, at: usize, pixels: usize, sink: &Sink<'_, X>, sums: &mut [f64],
    ) {
        sink.check(c);
        assert!(pixels == 0 || (pixels - 1) * step + c <= products.len(), "{pixels} pixels of {step}");
        // SAFETY: S exists; the pixels' products are there, and blocks lie within the sink's channels.
        unsafe { for_blocks!(c, gradient_block::<S>(c, (products, step), (at, pixels), sink, sums)) };
    }
}

/// # Safety
/// Only where S exists; products of the pixels are there; the block lies within the sink's `c` channels.
#[inline(always)]
unsafe fn gradient_block<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    c: usize,
    (products, step): (&[f32], usize),
    (at, pixels): (usize, usize),
    sink: &Sink<'_, impl Value>,
    sums: &mut [f64],
) {
    // SAFETY: the caller's promise; units write disjoint pixels.
    unsafe {
        let mut put = Put::<S, V>::new::<FULL>(sink, c, first, valid);
        for start in (0..pixels).step_by(FLUSH) {
            for pixel in start..(start + FLUSH).min(pixels) {
                let value = load_block::<S, V, FULL>(products.as_ptr().add(pixel * step + first), valid);
                put.write::<FULL>(sink, at + pixel * c + first, value, valid);
            }
            if sink.sums {
                put.hand_on((first, valid, c), sums);
            }
        }
    }
}
