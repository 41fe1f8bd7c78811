//! The 36 matrix products of a unit.

use super::POINTS;
use super::weights::Matrix;
use crate::cpu::conv::tile::{Ahead, Tiles, accumulate, with_rows};
use crate::cpu::simd::{Simd, kernel};

/// Transformed tiles to read: `[36]` times a pitch, `[tile][channels]` in each.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub values: &'a [f32],
    pub pitch: usize,
    pub channels: usize,
}

/// Register tiles of [`products`], about.
pub(super) fn products_tiles(tiles: usize, m: Matrix) -> usize {
    POINTS * m.blocks() * tiles.div_ceil(TILE)
}

/// Register tiles of [`outer_products`], about.
pub(super) fn outer_tiles(m: Matrix) -> usize {
    POINTS * m.blocks() * m.rows.div_ceil(TILE)
}

/// Rows of a register tile; some instruction sets have more.
const TILE: usize = 6;

kernel! {
    /// `out[point][tile][columns] = a[point][tile][rows] · w[point][rows][columns]`.
    fn products<S>(
        tiles: usize, a: Operand<'_>, w: &[f32], m: Matrix, out: &mut [f32], out_pitch: usize, ahead: &mut Ahead<'_>,
    ) {
        for p in 0..POINTS {
            let a = Operand { values: &a.values[p * a.pitch..], ..a };
            let w = &w[p * m.point()..(p + 1) * m.point()];
            let out = &mut out[p * out_pitch..][..tiles * m.columns];
            for b in 0..m.blocks() {
                let (first, width) = m.block(b);
                let w = &w[first * m.rows..];
                if width == 2 * S::LANES {
                    block::<S, 2>(tiles, a, w, m, &mut out[first..], ahead);
                } else {
                    block::<S, 1>(tiles, a, w, m, &mut out[first..], ahead);
                }
            }
        }
    }
}

#[inline(always)]
fn block<S: Simd, const V: usize>(
    tiles: usize,
    a: Operand<'_>,
    w: &[f32],
    m: Matrix,
    out: &mut [f32],
    ahead: &mut Ahead<'_>,
) {
    for (q, height) in Tiles::new(tiles, S::TILE) {
        ahead.step();
        let (a, out) = (&a.values[q * a.channels..], &mut out[q * m.columns..]);
        // SAFETY: tiles lie inside both operands, and `w` holds `rows` rows of V vectors.
        unsafe { with_rows!(height, product::<S, V>(a, m, w, out)) };
    }
}

#[inline(always)]
unsafe fn product<S: Simd, const T: usize, const V: usize>(a: &[f32], m: Matrix, w: &[f32], out: &mut [f32]) {
    // SAFETY: the caller's T tiles and `w` are there.
    unsafe {
        let mut rows = [a.as_ptr(); T];
        for (t, row) in rows.iter_mut().enumerate() {
            *row = row.add(t * m.rows);
        }
        let zero = [[S::zero(); V]; T];
        let acc = accumulate::<S, T, V>(zero, rows, 1, w.as_ptr(), V * S::LANES, m.rows);
        for (t, acc) in acc.iter().enumerate() {
            for (v, acc) in acc.iter().enumerate() {
                S::store(out.as_mut_ptr().add(t * m.columns + v * S::LANES), *acc);
            }
        }
    }
}

kernel! {
    /// `partial[point][rows][columns] +=` (`=` if `fresh`) `Σ x[point][tile][rows] · dy[point][tile][columns]`.
    fn outer_products<S>(
        tiles: usize, x: Operand<'_>, dy: Operand<'_>, m: Matrix, fresh: bool, partial: &mut [f32],
        ahead: &mut Ahead<'_>,
    ) {
        for p in 0..POINTS {
            let x = &x.values[p * x.pitch..][..tiles * x.channels];
            let dy = &dy.values[p * dy.pitch..][..tiles * dy.channels];
            let partial = &mut partial[p * m.point()..(p + 1) * m.point()];
            for b in 0..m.blocks() {
                let (first, width) = m.block(b);
                let out = &mut partial[first * m.rows..(first + width) * m.rows];
                for (row, height) in Tiles::new(m.rows, S::TILE) {
                    ahead.step();
                    let sum = Sum { tiles, x: &x[row..], rows: m.rows, dy: &dy[first..], columns: m.columns, fresh };
                    let out = &mut out[row * width..(row + height) * width];
                    if width == 2 * S::LANES {
                        sums::<S, 2>(height, &sum, out);
                    } else {
                        sums::<S, 1>(height, &sum, out);
                    }
                }
            }
        }
    }
}

/// A sum over tiles.
struct Sum<'a> {
    tiles: usize,
    x: &'a [f32],
    rows: usize,
    dy: &'a [f32],
    columns: usize,
    fresh: bool,
}

#[inline(always)]
fn sums<S: Simd, const V: usize>(height: usize, s: &Sum<'_>, out: &mut [f32]) {
    // SAFETY: `height` rows and V vectors lie inside the operands and `out`.
    unsafe { with_rows!(height, outer::<S, V>(s, out)) }
}

#[inline(always)]
unsafe fn outer<S: Simd, const T: usize, const V: usize>(s: &Sum<'_>, out: &mut [f32]) {
    // SAFETY: the caller's promise: T rows of x, V vectors of dy and of `out`.
    unsafe {
        let out = out.as_mut_ptr();
        let mut acc = [[S::zero(); V]; T];
        if !s.fresh {
            for (i, acc) in acc.as_flattened_mut().iter_mut().enumerate() {
                *acc = S::load(out.add(i * S::LANES));
            }
        }
        let mut rows = [s.x.as_ptr(); T];
        for (t, row) in rows.iter_mut().enumerate() {
            *row = row.add(t);
        }
        acc = accumulate::<S, T, V>(acc, rows, s.rows, s.dy.as_ptr(), s.columns, s.tiles);
        for (i, acc) in acc.as_flattened().iter().enumerate() {
            S::store(out.add(i * S::LANES), *acc);
        }
    }
}
