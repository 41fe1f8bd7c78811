//! The backward convolution: both gradients from one loading of the operands.

use super::geometry::{Geometry, Phase};
use super::input_grad::input_grad;
use super::pack::{GradLoad, pack_gradient, pack_input, pack_transposed, padded};
use super::sink::Sink;
use super::weight_grad::{reduce, weight_grad};
use crate::cpu::channel::{SinkNorm, finish_norm};
use crate::cpu::load::Load;
use crate::cpu::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use crate::cpu::simd::Isa;
use crate::cpu::value::Value;

/// Partial weight gradients should not take more than this together (unless fewer than eight would fit).
const PARTIAL_BYTES: usize = 4 << 20;

/// What a backward pass reads and writes, as slices.
pub(crate) struct Backward<'a, X, Y> {
    pub x: &'a [X],
    pub load: Load<'a>,
    pub w: &'a [f32],
    pub grad: &'a [Y],
    /// Raw output and coefficients `[3, oc]` of the normalisation behind.
    pub grad_norm: Option<(&'a [Y], &'a [f32])>,
    pub dx: Option<DxOut<'a, X>>,
    /// Gradients of the weights and the bias.
    pub dw: Option<(&'a mut [f32], Option<&'a mut [f32]>)>,
}

/// Where the input's gradient goes.
pub(crate) struct DxOut<'a, X> {
    pub grad: &'a mut [X],
    pub accumulate: bool,
    /// `[4, c]` of the operand, when it is normalised.
    pub operand_norm: Option<&'a [f32]>,
    pub norm: Option<SinkNorm<'a>>,
}

/// How the pass is cut and what it keeps, from shapes alone.
struct Layout {
    pieces: usize,
    /// Output channels rounded up to vectors.
    ocp: usize,
    x_len: usize,
    dy_len: usize,
    /// Packed weights of every pair of phases: start and phases.
    transposed: usize,
    partial: usize,
}

impl Layout {
    fn new(g: &Geometry, lanes: usize, dx: bool, dw: bool) -> Self {
        let ocp = padded(g.oc, lanes);
        let partial = if dw { g.depth() * ocp } else { 0 };
        let most = if dw { (PARTIAL_BYTES / (4 * partial)).clamp(8, PIECES) } else { PIECES };
        Layout {
            pieces: parallel::pieces(g.units(), most),
            ocp,
            x_len: if dw { g.x_packed().next_multiple_of(16) } else { 0 },
            dy_len: (g.dy_rows_most() * g.dy_pitch(ocp)).next_multiple_of(16),
            transposed: if dx { g.k * g.k * ocp * padded(g.c, lanes) } else { 0 },
            partial,
        }
    }
}

pub(super) fn scratch(g: &Geometry, lanes: usize, threads: usize, dx: bool, dw: bool) -> usize {
    let l = Layout::new(g, lanes, dx, dw);
    scratch_of::<f32>(l.transposed)
        + scratch_of::<f32>(threads * (l.x_len + l.dy_len))
        + scratch_of::<f32>(l.pieces * l.partial)
        + ChannelSums::scratch(l.pieces, 2, g.c)
        + ChannelSums::scratch(l.pieces, 1, g.oc)
}

pub(super) fn run<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Backward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let Backward { x, load, w, grad, grad_norm, dx, dw } = op;
    let l = Layout::new(g, isa.lanes(), dx.is_some(), dw.is_some());
    let mut carver = Carver::new(scratch);
    let transposed = carver.take::<f32>(l.transposed);
    if dx.is_some() {
        for_phases(g, isa.lanes(), l.ocp, |phases, range| {
            pack_transposed(g, phases, w, isa.lanes(), l.ocp, &mut transposed[range]);
        });
    }
    let transposed = &*transposed;
    let slot_len = l.x_len + l.dy_len;
    let slots = Shared::new(carver.take::<f32>(threads * slot_len));
    let partials = carver.take::<f32>(l.pieces * l.partial);
    let partial_parts = Shared::new(partials);
    let mut norm_sums = ChannelSums::new(&mut carver, l.pieces, 2, g.c);
    let mut bias_sums = ChannelSums::new(&mut carver, l.pieces, 1, g.oc);
    let (norm_rows, bias_rows) = (norm_sums.rows(), bias_sums.rows());

    let wants_bias = dw.as_ref().is_some_and(|(_, b)| b.is_some());
    let direct = X::floats(x).filter(|_| load.is_plain() && g.p == 0);
    let (sink, dx_norm) = match dx {
        Some(d) => {
            let (norm, sums) = (d.operand_norm, d.norm.is_some());
            // SAFETY: units write disjoint pixels, and a unit's kernels run one after the other.
            let sink = unsafe { Sink::new(g.c, d.grad, d.accumulate, norm, load.relu, sums, x) };
            (Some(sink), d.norm.zip(d.operand_norm))
        }
        None => (None, None),
    };
    parallel::for_each(l.pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row and one partial per piece.
        let (slot, norm_row, bias_row, partial) = unsafe {
            let slot = parallel::slot() * slot_len;
            (
                slots.part(slot..slot + slot_len),
                norm_rows.row(piece),
                bias_rows.row(piece),
                partial_parts.part(piece * l.partial..(piece + 1) * l.partial),
            )
        };
        let (x_packed, dy_packed) = slot.split_at_mut(l.x_len);
        let units = parallel::piece(g.units(), l.pieces, piece);
        let first = units.start;
        for u in units {
            let (n, rows) = g.unit(u);
            let span = g.dy_rows(&rows);
            let at = n * g.oh * g.ow * g.oc..(n + 1) * g.oh * g.ow * g.oc;
            let incoming =
                GradLoad { grad: &grad[at.clone()], norm: grad_norm.map(|(raw, k)| (&raw[at], k)) };
            let bias = wants_bias.then_some(&mut *bias_row);
            pack_gradient(isa, g, span, rows.clone(), incoming, l.ocp, dy_packed, bias);
            if l.partial > 0 {
                let image = n * g.h * g.w * g.c..(n + 1) * g.h * g.w * g.c;
                let packed = if let Some(x) = direct {
                    &x[image][rows.start * g.s * g.x_pitch()..]
                } else {
                    pack_input(isa, g, rows.clone(), load, &x[image], x_packed);
                    &*x_packed
                };
                let skip =
                    (rows.start as isize - span.0) as usize * g.dy_pitch(l.ocp) + g.dy_border().0 * l.ocp;
                weight_grad(isa, g, rows.len(), packed, &dy_packed[skip..], l.ocp, u == first, partial);
            }
            if let Some(sink) = &sink {
                for_phases(g, isa.lanes(), l.ocp, |phases, range| {
                    let w = &transposed[range];
                    input_grad(
                        isa,
                        g,
                        n,
                        g.input_rows(&rows),
                        phases,
                        span.0,
                        dy_packed,
                        l.ocp,
                        w,
                        sink,
                        norm_row,
                    );
                });
            }
        }
    });
    if let Some((out, operand)) = dx_norm {
        finish_norm(operand, norm_sums.total(), g.n * g.h * g.w, out);
    }
    if let Some((dw, bias)) = dw {
        reduce(isa, g, l.pieces, l.ocp, partials, dw);
        if let Some(bias) = bias {
            for (b, s) in bias.iter_mut().zip(bias_sums.total()) {
                *b = *s as f32;
            }
        }
    }
}

/// Calls `f` for every pair of phases with the range of its packed weights.
fn for_phases(
    g: &Geometry,
    lanes: usize,
    ocp: usize,
    mut f: impl FnMut((Phase, Phase), std::ops::Range<usize>),
) {
    let mut start = 0;
    for r in 0..g.s {
        for c in 0..g.s {
            let (rows, columns) = (Phase::new(r, g), Phase::new(c, g));
            let len = rows.taps * columns.taps * ocp * padded(g.c, lanes);
            f((rows, columns), start..start + len);
            start += len;
        }
    }
}
