//! The gradient of the input: for each residue class of rows and columns a convolution of the output's
//! gradient with the window positions that fall on it. Nothing is multiplied by zeros between strides.

use super::geometry::{Geometry, Phase};
use super::sink::{Put, Sink};
use super::tile::{Tiles, Walk, accumulate, with_rows};
use crate::cpu::blocks::for_blocks;
use crate::cpu::kernel::kernel;
use crate::cpu::simd::Simd;
use crate::cpu::value::Value;
use std::ops::Range;

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
    /// Whether `dy` holds all that `lines` lines of pixels read.
    fn holds(&self, lines: usize) -> bool {
        let (rows, columns) = (self.phases.0.taps, self.phases.1.taps);
        if rows * columns == 0 || lines * self.columns == 0 {
            return true;
        }
        // A negative offset wraps to one that is too large.
        let (at, pitch) = (self.walks().0.at, self.g.dy_pitch(self.ocp));
        let behind = (lines + rows - 2) * pitch + (self.columns + columns - 1) * self.ocp;
        at.checked_add(behind).is_some_and(|end| end <= self.dy.len())
    }

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
        if taps == 0 && sink.ignores_zeros() {
            return;
        }
        sink.check(g.c);
        let pass = Pass { g, phases, first, columns, image: n * g.h * g.w * g.c, dy, dy_first, ocp, sink };
        assert!(g.oc <= ocp && pass.holds(lines), "{g:?} {phases:?}");
        let depth = taps * ocp;
        let w = &w[..depth * g.c.next_multiple_of(S::LANES)];
        // SAFETY: S exists; the gradient and the weights that the phase reads are there, and blocks lie within the
        // sink's channels.
        unsafe { for_blocks!(g.c, channels::<S>(&pass, lines * columns, w, sums)) };
    }
}

/// One block of channels on its way through the phase's pixels.
struct Channels<S: Simd, const V: usize> {
    first: usize,
    valid: usize,
    dy_walk: Walk,
    dx_walk: Walk,
    put: Put<S, V>,
}

/// Sums are handed on to 64-bit ones after this many tiles.
const FLUSH_TILES: usize = 16;

/// # Safety
/// Only where S exists; `dy` holds what `pixels` pixels read ([`Pass::holds`]), `w` all blocks of weights; the block lies
/// within the sink's channels.
#[inline(always)]
unsafe fn channels<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    pass: &Pass<'_, impl Value>,
    pixels: usize,
    w: &[f32],
    sums: &mut [f64],
) {
    let (g, sink) = (pass.g, pass.sink);
    let w = &w[first * pass.phases.0.taps * pass.phases.1.taps * pass.ocp..];
    // SAFETY: the block lies within g.c channels; tiles stay inside the unit.
    unsafe {
        let (dy_walk, dx_walk) = pass.walks();
        let put = Put::new::<FULL>(sink, g.c, first, valid);
        let mut ch = Channels::<S, V> { first, valid, dy_walk, dx_walk, put };
        for (i, (_, height)) in Tiles::new(pixels, S::TILE).enumerate() {
            with_rows!(height, tile::<S, V, FULL>(pass, w, &mut ch));
            if sink.sums && i % FLUSH_TILES == FLUSH_TILES - 1 {
                ch.put.hand_on((first, valid, g.c), sums);
            }
        }
        if sink.sums {
            ch.put.hand_on((first, valid, g.c), sums);
        }
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
        // Where pixels are padded, each window position by itself: nothing is multiplied by the padding's zeros.
        let (runs, len) = if g.oc == ocp { (1, columns.taps * ocp) } else { (columns.taps, g.oc) };
        for r in 0..rows.taps {
            for q in 0..runs {
                let at = a.map(|a| a.wrapping_add(r * pitch + q * ocp));
                let w = w.as_ptr().add((r * columns.taps + q) * ocp * V * S::LANES);
                acc = accumulate::<S, T, V>(acc, at, 1, w, V * S::LANES, len);
            }
        }
        for value in acc {
            let at = ch.dx_walk.advance() + ch.first;
            ch.put.write::<FULL>(sink, at, value, ch.valid);
        }
    }
}
