//! The gradient of the input: for each residue class of rows and columns a convolution of the output's
//! gradient with the window positions that fall on it. Nothing is multiplied by zeros between strides.

use super::geometry::{Geometry, Phase};
use super::tile::{Tiles, accumulate, with_rows};
use crate::cpu::parallel::Shared;
use crate::cpu::simd::{Simd, kernel};
use crate::ops::norm;
use std::ops::Range;

/// Where input gradients go and what is done to them on the way (the rule of [`crate::ops`]).
pub(super) struct Sink<'a> {
    grad: Shared<'a, f32>,
    accumulate: bool,
    /// `[4, c]` of the operand.
    norm: Option<&'a [f32]>,
    relu: bool,
    sums: bool,
    /// The operand's raw values.
    raw: &'a [f32],
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        grad: &'a mut [f32],
        accumulate: bool,
        norm: Option<&'a [f32]>,
        relu: bool,
        sums: bool,
        raw: &'a [f32],
    ) -> Self {
        Sink { grad: Shared::new(grad), accumulate, norm, relu, sums, raw }
    }
}

/// One phase of one unit.
struct Pass<'a> {
    g: &'a Geometry,
    phases: (Phase, Phase),
    /// First input row and column of the phase, and columns in a row.
    first: (usize, usize),
    columns: usize,
    /// Offset of the image in the operand's tensor.
    image: usize,
    dy: &'a [f32],
    dy_first: isize,
    ocp: usize,
    sink: &'a Sink<'a>,
}

kernel! {
    /// Input rows `rows` of image `n`, one pair of phases. `dy`: packed gradient rows from row `dy_first` on;
    /// `w`: their packed weights; `sums`: `[2][c]` sums of gradients, and of gradients times centred values.
    fn input_grad<S>(
        g: &Geometry, n: usize, rows: Range<usize>, phases: (Phase, Phase), dy_first: isize, dy: &[f32],
        ocp: usize, w: &[f32], sink: &Sink<'_>, sums: &mut [f64],
    ) {
        let (row, lines) = phases.0.within(&rows, g);
        let (column, columns) = phases.1.within(&(0..g.w), g);
        let first = (row, column);
        let pass = Pass { g, phases, first, columns, image: n * g.h * g.w * g.c, dy, dy_first, ocp, sink };
        let depth = phases.0.taps * phases.1.taps * ocp;
        let vectors = g.c.div_ceil(S::LANES);
        let mut v = 0;
        while v < vectors {
            let channel = v * S::LANES;
            let w = &w[channel * depth..];
            if vectors - v >= 2 {
                channels::<S, 2>(&pass, lines * columns, channel, w, sums);
            } else {
                channels::<S, 1>(&pass, lines * columns, channel, w, sums);
            }
            v += 2;
        }
    }
}

/// Per-channel rows of the operand's normalisation for one block, and its sums.
struct Channels<S: Simd, const V: usize> {
    first: usize,
    valid: usize,
    scale: [S::V; V],
    shift: [S::V; V],
    mean: [S::V; V],
    sum: [S::V; V],
    product: [S::V; V],
}

/// Sums are handed on to 64-bit ones after this many tiles.
const FLUSH_TILES: usize = 16;

#[inline(always)]
fn channels<S: Simd, const V: usize>(
    pass: &Pass<'_>,
    pixels: usize,
    first: usize,
    w: &[f32],
    sums: &mut [f64],
) {
    let g = pass.g;
    let valid = (g.c - first).min(V * S::LANES);
    // SAFETY: rows hold g.c values; parts are cut at `valid`; tiles stay inside the unit.
    unsafe {
        let row = |i: Option<usize>| match (pass.sink.norm, i) {
            (Some(t), Some(i)) => load_part::<S, V>(t.as_ptr().add(i * g.c + first), valid),
            _ => [S::splat(if i.is_some() { 1.0 } else { 0.0 }); V],
        };
        let zero = [S::zero(); V];
        let mut ch = Channels::<S, V> {
            first,
            valid,
            // Without a normalisation the rectifier looks at the value itself.
            scale: row(Some(norm::SCALE)),
            shift: row(pass.sink.norm.map(|_| norm::SHIFT)),
            mean: row(pass.sink.norm.map(|_| norm::MEAN)),
            sum: zero,
            product: zero,
        };
        for (i, (q, height)) in Tiles::new(pixels, S::TILE).enumerate() {
            with_rows!(height, tile::<S, V>(pass, q, w, &mut ch));
            if pass.sink.sums && i % FLUSH_TILES == FLUSH_TILES - 1 {
                flush(&mut ch, g.c, sums);
            }
        }
        if pass.sink.sums {
            flush(&mut ch, g.c, sums);
        }
    }
}

#[inline(always)]
unsafe fn load_part<S: Simd, const V: usize>(p: *const f32, valid: usize) -> [S::V; V] {
    // SAFETY: the caller's `valid` floats are there.
    unsafe {
        let mut out = [S::zero(); V];
        for (v, out) in out.iter_mut().enumerate() {
            let left = valid - v * S::LANES;
            let p = p.add(v * S::LANES);
            *out = if left >= S::LANES { S::load(p) } else { S::load_part(p, left) };
        }
        out
    }
}

#[inline(always)]
unsafe fn store_part<S: Simd, const V: usize>(p: *mut f32, x: [S::V; V], valid: usize) {
    // SAFETY: the caller's `valid` floats are there.
    unsafe {
        for (v, x) in x.into_iter().enumerate() {
            let left = valid - v * S::LANES;
            let p = p.add(v * S::LANES);
            if left >= S::LANES { S::store(p, x) } else { S::store_part(p, x, left) }
        }
    }
}

#[inline(always)]
unsafe fn flush<S: Simd, const V: usize>(ch: &mut Channels<S, V>, c: usize, sums: &mut [f64]) {
    let (mut a, mut b) = ([0f32; 32], [0f32; 32]);
    // SAFETY: the arrays hold two vectors of any instruction set.
    unsafe {
        for v in 0..V {
            S::store(a.as_mut_ptr().add(v * S::LANES), ch.sum[v]);
            S::store(b.as_mut_ptr().add(v * S::LANES), ch.product[v]);
            ch.sum[v] = S::zero();
            ch.product[v] = S::zero();
        }
    }
    for i in 0..ch.valid {
        sums[ch.first + i] += f64::from(a[i]);
        sums[c + ch.first + i] += f64::from(b[i]);
    }
}

/// T pixels of the phase from `q` on.
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize, const V: usize>(
    pass: &Pass<'_>,
    q: usize,
    w: &[f32],
    ch: &mut Channels<S, V>,
) {
    let Pass { g, phases: (rows, columns), ocp, sink, .. } = *pass;
    let pitch = g.dy_pitch(ocp);
    let left = g.dy_border().0;
    // SAFETY: rows and columns of the packed gradient cover every window position of the unit's pixels
    // (`Geometry::dy_rows`, `dy_border`); pixels lie in the image, and units write disjoint pixels.
    unsafe {
        let mut a = [pass.dy.as_ptr(); T];
        let mut at = [0usize; T];
        for t in 0..T {
            let (i, j) =
                ((q + t) / pass.columns * g.s + pass.first.0, (q + t) % pass.columns * g.s + pass.first.1);
            at[t] = pass.image + (i * g.w + j) * g.c + ch.first;
            let r = (i + g.p) as isize - rows.last_tap(g) as isize;
            let c = (j + g.p) as isize - columns.last_tap(g) as isize;
            let r = r.div_euclid(g.s as isize) - pass.dy_first;
            let c = c.div_euclid(g.s as isize) + left as isize;
            if rows.taps * columns.taps > 0 {
                a[t] = a[t].add(r as usize * pitch + c as usize * ocp);
            }
        }
        let mut acc = [[S::zero(); V]; T];
        let len = columns.taps * ocp;
        for r in 0..rows.taps {
            let w = w.as_ptr().add(r * len * V * S::LANES);
            acc = accumulate::<S, T, V>(acc, a.map(|a| a.add(r * pitch)), 1, w, V * S::LANES, len);
        }
        for t in 0..T {
            let out = sink.grad.part(at[t]..at[t] + ch.valid).as_mut_ptr();
            let mut value = acc[t];
            if sink.accumulate {
                let old = load_part::<S, V>(out, ch.valid);
                for v in 0..V {
                    value[v] = S::add(value[v], old[v]);
                }
            }
            if sink.relu || sink.sums {
                let raw = load_part::<S, V>(sink.raw.as_ptr().add(at[t]), ch.valid);
                for v in 0..V {
                    if sink.relu {
                        let z = S::fma(raw[v], ch.scale[v], ch.shift[v]);
                        value[v] = S::where_positive(z, value[v]);
                    }
                    ch.sum[v] = S::add(ch.sum[v], value[v]);
                    ch.product[v] = S::fma(value[v], S::sub(raw[v], ch.mean[v]), ch.product[v]);
                }
            }
            store_part::<S, V>(out, value, ch.valid);
        }
    }
}
