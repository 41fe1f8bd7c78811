//! The gradient of the input: for each residue class of rows and columns a convolution of the output's
//! gradient with the window positions that fall on it. Nothing is multiplied by zeros between strides.

use super::geometry::{Geometry, Phase};
use super::tile::{Tiles, Walk, accumulate, with_rows};
use crate::cpu::blocks::{as_stored, for_blocks, load_block, store_block};
use crate::cpu::parallel::Shared;
use crate::cpu::simd::{Simd, kernel};
use crate::cpu::value::Value;
use crate::ops::norm;
use std::ops::Range;

/// Where input gradients go and what is done to them on the way (the rule of [`crate::ops`]).
pub(super) struct Sink<'a, X> {
    pub grad: Shared<'a, X>,
    pub accumulate: bool,
    /// `[4, c]` of the operand.
    pub norm: Option<&'a [f32]>,
    pub relu: bool,
    pub sums: bool,
    /// The operand's raw values.
    pub raw: &'a [X],
}

impl<'a, X> Sink<'a, X> {
    pub(super) fn new(
        grad: &'a mut [X],
        accumulate: bool,
        norm: Option<&'a [f32]>,
        relu: bool,
        sums: bool,
        raw: &'a [X],
    ) -> Self {
        Sink { grad: Shared::new(grad), accumulate, norm, relu, sums, raw }
    }
}

/// One phase of one unit.
struct Pass<'a, X> {
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
    sink: &'a Sink<'a, X>,
}

impl<X> Pass<'_, X> {
    /// Where the phase's pixels find their gradients in `dy`, and where they lie in the operand's tensor.
    fn walks(&self) -> (Walk, Walk) {
        let g = self.g;
        let (i, j) = self.first;
        let behind = |at: usize, last: usize| ((at + g.p) as isize - last as isize).div_euclid(g.s as isize);
        let r = behind(i, self.phases.0.last_tap(g)) - self.dy_first;
        let c = behind(j, self.phases.1.last_tap(g)) + g.dy_border().0 as isize;
        let pitch = g.dy_pitch(self.ocp);
        let dy = Walk {
            at: (r * pitch as isize + c * self.ocp as isize) as usize,
            step: self.ocp,
            wrap: pitch.wrapping_sub(self.columns * self.ocp),
            columns: self.columns,
            column: 0,
        };
        let dx = Walk {
            at: self.image + (i * g.w + j) * g.c,
            step: g.s * g.c,
            wrap: (g.s * g.w * g.c).wrapping_sub(self.columns * g.s * g.c),
            ..dy
        };
        (dy, dx)
    }
}

kernel! {
    /// Input rows `rows` of image `n`, one pair of phases. `dy`: packed gradient rows from row `dy_first` on;
    /// `w`: their packed weights; `sums`: `[2][c]` sums of gradients, and of gradients times centred values.
    fn input_grad<S, X>(
        g: &Geometry, n: usize, rows: Range<usize>, phases: (Phase, Phase), dy_first: isize, dy: &[f32],
        ocp: usize, w: &[f32], sink: &Sink<'_, X>, sums: &mut [f64],
    ) {
        let (row, lines) = phases.0.within(&rows, g);
        let (column, columns) = phases.1.within(&(0..g.w), g);
        let first = (row, column);
        // Without a window position there is nothing to add.
        let taps = phases.0.taps * phases.1.taps;
        if taps == 0 && sink.accumulate && !sink.relu && !sink.sums {
            return;
        }
        let pass = Pass { g, phases, first, columns, image: n * g.h * g.w * g.c, dy, dy_first, ocp, sink };
        let depth = taps * ocp;
        for_blocks!(g.c, channels::<S>(&pass, lines * columns, &w[..depth * g.c.next_multiple_of(S::LANES)], sums));
    }
}

/// Per-channel rows of the operand's normalisation for one block, and its sums.
struct Channels<S: Simd, const V: usize> {
    first: usize,
    valid: usize,
    dy_walk: Walk,
    dx_walk: Walk,
    scale: [S::V; V],
    shift: [S::V; V],
    mean: [S::V; V],
    sum: [S::V; V],
    product: [S::V; V],
}

/// Sums are handed on to 64-bit ones after this many tiles.
const FLUSH_TILES: usize = 16;

#[inline(always)]
fn channels<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    pass: &Pass<'_, impl Value>,
    pixels: usize,
    w: &[f32],
    sums: &mut [f64],
) {
    let (g, sink) = (pass.g, pass.sink);
    let w = &w[first * pass.phases.0.taps * pass.phases.1.taps * pass.ocp..];
    // SAFETY: rows hold g.c values; parts are cut at `valid`; tiles stay inside the unit.
    unsafe {
        let row = |i: Option<usize>| match (sink.norm, i) {
            (Some(t), Some(i)) => load_block::<S, V, FULL>(t[i * g.c + first..].as_ptr(), valid),
            _ => [S::splat(if i.is_some() { 1.0 } else { 0.0 }); V],
        };
        let zero = [S::zero(); V];
        let (dy_walk, dx_walk) = pass.walks();
        let mut ch = Channels::<S, V> {
            first,
            valid,
            dy_walk,
            dx_walk,
            // Without a normalisation the rectifier looks at the value itself.
            scale: row(Some(norm::SCALE)),
            shift: row(sink.norm.map(|_| norm::SHIFT)),
            mean: row(sink.norm.map(|_| norm::MEAN)),
            sum: zero,
            product: zero,
        };
        for (i, (_, height)) in Tiles::new(pixels, S::TILE).enumerate() {
            with_rows!(height, tile::<S, V, FULL>(pass, w, &mut ch));
            if sink.sums && i % FLUSH_TILES == FLUSH_TILES - 1 {
                flush(&mut ch, g.c, sums);
            }
        }
        if sink.sums {
            flush(&mut ch, g.c, sums);
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

/// The next T pixels of the phase.
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize, const V: usize, const FULL: bool>(
    pass: &Pass<'_, impl Value>,
    w: &[f32],
    ch: &mut Channels<S, V>,
) {
    let Pass { g, phases: (rows, columns), ocp, sink, .. } = *pass;
    let pitch = g.dy_pitch(ocp);
    // SAFETY: rows and columns of the packed gradient cover every window position of the unit's pixels
    // (`Geometry::dy_rows`, `dy_border`); pixels lie in the image, and units write disjoint pixels.
    unsafe {
        // Not dereferenced when the phase has no window position.
        let mut a = [pass.dy.as_ptr(); T];
        for a in &mut a {
            *a = a.wrapping_add(ch.dy_walk.advance());
        }
        let mut acc = [[S::zero(); V]; T];
        let len = columns.taps * ocp;
        for r in 0..rows.taps {
            let w = w.as_ptr().add(r * len * V * S::LANES);
            acc = accumulate::<S, T, V>(acc, a.map(|a| a.wrapping_add(r * pitch)), 1, w, V * S::LANES, len);
        }
        for mut value in acc {
            let at = ch.dx_walk.advance() + ch.first;
            let out = sink.grad.part(at..at + ch.valid).as_mut_ptr();
            if sink.accumulate {
                let old = load_block::<S, V, FULL>(out, ch.valid);
                for v in 0..V {
                    value[v] = S::add(value[v], old[v]);
                }
            }
            if sink.relu || sink.sums {
                let raw = load_block::<S, V, FULL>(sink.raw.as_ptr().add(at), ch.valid);
                for v in 0..V {
                    if sink.relu {
                        let z = S::fma(raw[v], ch.scale[v], ch.shift[v]);
                        value[v] = S::where_positive(z, value[v]);
                    }
                    value[v] = as_stored::<S, _>(out, value[v]);
                    ch.sum[v] = S::add(ch.sum[v], value[v]);
                    ch.product[v] = S::fma(value[v], S::sub(raw[v], ch.mean[v]), ch.product[v]);
                }
            }
            store_block::<S, V, FULL>(out, value, ch.valid);
        }
    }
}
