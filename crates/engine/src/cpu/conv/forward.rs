//! The forward convolution: tiles of output pixels by output channels.

use super::geometry::Geometry;
use super::pack::{pack_input, pack_weights, padded};
use super::sink::hand_on;
use super::tile::{Ahead, Tiles, Walk, accumulate, bytes, with_rows};
use crate::cpu::blocks::{as_stored, for_blocks, load_block, store_block};
use crate::cpu::kernel::kernel;
use crate::cpu::load::Load;
use crate::cpu::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use crate::cpu::simd::{Isa, Simd};
use crate::cpu::value::Value;
use crate::ops::norm;

/// Pixels after which 32-bit sums are handed on to 64-bit ones.
const FLUSH: usize = 96;

/// Weights as they learn, or as a forward pass reads them.
#[derive(Clone, Copy)]
pub(crate) enum Weights<'a> {
    Plain(&'a [f32]),
    PackedWeights(&'a [f32]),
}

impl<'a> Weights<'a> {
    /// As a forward pass reads them: `prepack` writes plain ones into `room`.
    pub(super) fn packed(self, room: &'a mut [f32], prepack: impl FnOnce(&[f32], &mut [f32])) -> &'a [f32] {
        match self {
            Weights::Plain(w) => {
                prepack(w, room);
                room
            }
            Weights::PackedWeights(w) => w,
        }
    }
}

/// What a forward pass reads and writes, as slices.
pub(crate) struct Forward<'a, X, Y> {
    pub x: &'a [X],
    pub load: Load<'a>,
    pub w: Weights<'a>,
    pub bias: Option<&'a [f32]>,
    pub y: &'a mut [Y],
    /// `[4, oc]`: receives mean and variance.
    pub norm: Option<&'a mut [f32]>,
}

pub(super) fn packed(g: &Geometry, lanes: usize) -> usize {
    g.depth() * padded(g.oc, lanes)
}

pub(super) fn prepack(isa: Isa, g: &Geometry, w: &[f32], to: &mut [f32]) {
    pack_weights(g, w, isa.lanes(), to);
}

pub(super) fn scratch(g: &Geometry, lanes: usize, threads: usize) -> usize {
    let pieces = parallel::pieces(g.units(), PIECES);
    scratch_of::<f32>(packed(g, lanes))
        + threads * scratch_of::<f32>(g.x_packed())
        + ChannelSums::scratch(pieces, 2, g.oc)
}

pub(super) fn run<X: Value, Y: Value>(
    isa: Isa,
    g: &Geometry,
    op: Forward<'_, X, Y>,
    threads: usize,
    scratch: &mut [u8],
) {
    let pieces = parallel::pieces(g.units(), PIECES);
    let mut carver = Carver::new(scratch);
    let room = carver.take::<f32>(packed(g, isa.lanes()));
    let w = op.w.packed(room, |w, to| prepack(isa, g, w, to));
    let slot_len = scratch_of::<f32>(g.x_packed()) / 4;
    let slots = Shared::new(carver.take::<f32>(threads * slot_len));
    let mut sums = ChannelSums::new(&mut carver, pieces, 2, g.oc);
    let (rows, y) = (sums.rows(), Shared::new(op.y));
    let wants_sums = op.norm.is_some();
    let direct = X::floats(op.x).filter(|_| op.load.is_plain() && g.p == 0);
    parallel::for_each(pieces, |piece| {
        // SAFETY: the thread's slot is this piece's (`parallel::slot`); one row per piece, one part of y per unit.
        let (packed, sums) = unsafe {
            let slot = parallel::slot();
            (slots.part(slot * slot_len..(slot + 1) * slot_len), rows.row(piece))
        };
        for u in parallel::piece(g.units(), pieces, piece) {
            let (n, r) = g.unit(u);
            let image = n * g.h * g.w * g.c..(n + 1) * g.h * g.w * g.c;
            let x = if let Some(x) = direct {
                &x[image][r.start * g.s * g.x_pitch()..]
            } else {
                pack_input(isa, g, r.clone(), op.load, &op.x[image], packed);
                &*packed
            };
            // SAFETY: the pixels of this unit.
            let y = unsafe { y.part(g.y_range(u)) };
            let tiles = r.len() * g.ow * g.oc / 96;
            let mut ahead = Ahead::new([bytes(&op.x[g.x_range(u + 1)]), &[], &[]], tiles);
            unit(isa, g, x, w, op.bias, y, wants_sums.then_some(&mut *sums), &mut ahead);
        }
    });
    if let Some(t) = op.norm {
        finish_moments(sums.total(), g, t);
    }
}

/// Mean and biased variance from `[2][oc]` sums of values and squares.
pub(super) fn finish_moments(total: &[f64], g: &Geometry, rows: &mut [f32]) {
    let count = (g.n * g.oh * g.ow) as f64;
    for c in 0..g.oc {
        let mean = total[c] / count;
        rows[norm::MEAN * g.oc + c] = mean as f32;
        rows[norm::INV_STD * g.oc + c] = (total[g.oc + c] / count - mean * mean).max(0.0) as f32;
    }
}

kernel! {
    /// The pixels of one unit from its packed rows; per-channel sums of values and squares into `sums`.
    fn unit<S, Y>(
        g: &Geometry, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [Y], sums: Option<&mut [f64]>,
        ahead: &mut Ahead<'_>,
    ) {
        let mut sums = sums;
        let unit = Unit { g, x, w, bias };
        unit.check(y.len(), S::LANES);
        // SAFETY: S exists; what the unit's pixels read is there, and blocks lie within `g.oc` channels.
        unsafe { for_blocks!(g.oc, channels::<S>(&unit, y, sums.as_deref_mut(), ahead)) };
    }
}

/// What the tiles of a unit read.
struct Unit<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    w: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl Unit<'_> {
    /// Whether all is there that `len` values of the output read.
    fn check(&self, len: usize, lanes: usize) {
        let g = self.g;
        assert!(self.w.len() >= packed(g, lanes) && self.bias.is_none_or(|b| b.len() == g.oc), "{g:?}");
        if let Some(rows) = len.div_ceil(g.ow * g.oc).checked_sub(1) {
            let last = rows * g.s * g.x_pitch() + (g.ow - 1) * g.s * g.c;
            assert!(last + (g.k - 1) * g.x_pitch() + g.k * g.c <= self.x.len(), "{g:?}");
        }
    }
}

/// One block of output channels of a unit.
struct Block<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    w: &'a [f32],
    /// The block's first channel, and how many are real.
    first: usize,
    valid: usize,
}

/// # Safety
/// Only where S exists; the unit holds what `y` reads ([`Unit::check`]), and the block lies within its output channels.
#[inline(always)]
unsafe fn channels<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    &Unit { g, x, w, bias }: &Unit<'_>,
    y: &mut [impl Value],
    sums: Option<&mut [f64]>,
    ahead: &mut Ahead<'_>,
) {
    let b = Block { g, x, w: &w[first * g.depth()..], first, valid };
    // SAFETY: the tiles stay inside x, w and y by the caller's promise.
    unsafe {
        let start = match bias {
            Some(bias) => load_block::<S, V, FULL>(bias[first..].as_ptr(), valid),
            None => [S::zero(); V],
        };
        let step = g.s * g.c;
        let wrap = g.s * g.x_pitch() - g.ow * step;
        let mut walk = Walk { at: 0, step, wrap, columns: g.ow, column: 0 };
        let mut state = Moments::<S, V>::new(sums, first, valid, g.oc);
        for (q, height) in Tiles::new(y.len() / g.oc, S::TILE) {
            ahead.step();
            with_rows!(height, pixels_of::<S, V, FULL>(&b, q, &mut walk, &start, y, &mut state));
        }
        state.flush();
    }
}

/// Sums of values and squares of one block of channels.
struct Moments<'a, S: Simd, const V: usize> {
    sums: Option<&'a mut [f64]>,
    sum: [S::V; V],
    square: [S::V; V],
    pixels: usize,
    first: usize,
    valid: usize,
    channels: usize,
}

impl<'a, S: Simd, const V: usize> Moments<'a, S, V> {
    #[inline(always)]
    unsafe fn new(sums: Option<&'a mut [f64]>, first: usize, valid: usize, channels: usize) -> Self {
        // SAFETY: the caller runs where S exists.
        let zero = unsafe { [S::zero(); V] };
        Moments { sums, sum: zero, square: zero, pixels: 0, first, valid, channels }
    }

    #[inline(always)]
    unsafe fn flush(&mut self) {
        let Some(sums) = self.sums.as_deref_mut() else {
            return;
        };
        // SAFETY: the caller runs where S exists.
        unsafe {
            hand_on::<S, V>((self.sum, self.square), (self.first, self.valid, self.channels), sums);
            (self.sum, self.square) = ([S::zero(); V], [S::zero(); V]);
        }
        self.pixels = 0;
    }
}

#[inline(always)]
unsafe fn pixels_of<S: Simd, const T: usize, const V: usize, const FULL: bool>(
    b: &Block<'_>,
    q: usize,
    walk: &mut Walk,
    start: &[S::V; V],
    y: &mut [impl Value],
    moments: &mut Moments<'_, S, V>,
) {
    let g = b.g;
    let pitch = g.x_pitch();
    // SAFETY: pixel q + t lies in the unit, so its window lies in the packed rows; y holds g.oc floats a pixel.
    unsafe {
        let mut a = [b.x.as_ptr(); T];
        for a in &mut a {
            *a = a.add(walk.advance());
        }
        let len = g.k * g.c;
        let mut acc = [*start; T];
        for kh in 0..g.k {
            let rows = a.map(|a| a.add(kh * pitch));
            let w = b.w.as_ptr().add(kh * len * V * S::LANES);
            acc = accumulate::<S, T, V>(acc, rows, 1, w, V * S::LANES, len);
        }
        let out = y.as_mut_ptr().add(q * g.oc + b.first);
        for (t, acc) in acc.iter().enumerate() {
            store_block::<S, V, FULL>(out.add(t * g.oc), *acc, b.valid);
        }
        if moments.sums.is_some() {
            for acc in &acc {
                for (v, &x) in acc.iter().enumerate() {
                    // Statistics are those of the values that are loaded again.
                    let x = as_stored::<S, _>(out, x);
                    moments.sum[v] = S::add(moments.sum[v], x);
                    moments.square[v] = S::fma(x, x, moments.square[v]);
                }
            }
            moments.pixels += T;
            if moments.pixels >= FLUSH {
                moments.flush();
            }
        }
    }
}
