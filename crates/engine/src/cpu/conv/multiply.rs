//! Matrix products of a unit of work: one for a convolution without neighbours, one for each of the 36 points of
//! transformed tiles. Rows of operands are called tiles here; of a convolution without neighbours they are pixels.
#![allow(clippy::needless_range_loop)] // As in `winograd`.

use super::matrix::Matrix;
use super::tile::{Ahead, Tiles, accumulate, with_rows};
use crate::cpu::kernel::kernel;
use crate::cpu::simd::Simd;

/// Tiles to read: for every point, `pitch` floats apart, `[tile][channels]`.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub values: &'a [f32],
    pub pitch: usize,
    pub channels: usize,
}

impl Operand<'_> {
    /// Whether the first point's values hold `tiles` tiles, of which `rows` channels are read.
    #[inline(always)]
    fn holds(&self, tiles: usize, rows: usize) -> bool {
        tiles == 0 || (tiles - 1) * self.channels + rows <= self.values.len()
    }
}

/// Rows of weights that are multiplied at a time: a block of them stays in the first-level cache.
const DEEP: usize = 256;

/// Register tiles of [`products`], about.
pub(super) fn products_tiles(tiles: usize, m: Matrix) -> usize {
    m.points * m.blocks() * tiles.div_ceil(TILE)
}

/// Register tiles of [`outer_products`], about.
pub(super) fn outer_tiles(m: Matrix) -> usize {
    m.points * m.blocks() * m.rows.div_ceil(TILE)
}

/// Rows of a register tile; some instruction sets have more.
const TILE: usize = 6;

kernel! {
    /// `out[point][tile][columns] = a[point][tile][rows] · w[point][rows][columns]`.
    fn products<S>(
        tiles: usize, a: Operand<'_>, w: &[f32], m: Matrix, out: &mut [f32], out_pitch: usize, ahead: &mut Ahead<'_>,
    ) {
        m.check(S::LANES);
        for p in 0..m.points {
            let a = Operand { values: &a.values[p * a.pitch..], ..a };
            assert!(a.holds(tiles, m.rows), "{tiles} tiles of {m:?}");
            let w = &w[p * m.point()..(p + 1) * m.point()];
            let out = &mut out[p * out_pitch..][..tiles * m.columns];
            for start in (0..m.rows).step_by(DEEP) {
                for b in 0..m.blocks() {
                    let (first, width) = m.block(b);
                    let w = &w[first * m.rows + start * width..];
                    let part = Part { a, start, rows: (m.rows - start).min(DEEP), w, columns: m.columns };
                    // SAFETY: S exists; `a` holds the tiles, the block is one of `m`, whose weights and results are there.
                    unsafe {
                        if width == 2 * S::LANES {
                            block::<S, 2>(tiles, &part, &mut out[first..], ahead);
                        } else {
                            block::<S, 1>(tiles, &part, &mut out[first..], ahead);
                        }
                    }
                }
            }
        }
    }
}

/// Some rows of one block of weights.
struct Part<'a> {
    a: Operand<'a>,
    /// The first row, and how many.
    start: usize,
    rows: usize,
    w: &'a [f32],
    columns: usize,
}

/// # Safety
/// Only where S exists; `tiles` tiles lie inside both operands, and `w` holds the part's rows of V vectors.
#[inline(always)]
unsafe fn block<S: Simd, const V: usize>(tiles: usize, p: &Part<'_>, out: &mut [f32], ahead: &mut Ahead<'_>) {
    for (q, height) in Tiles::new(tiles, S::TILE) {
        ahead.step();
        let a = &p.a.values[q * p.a.channels + p.start..];
        let out = &mut out[q * p.columns..];
        // SAFETY: the caller's promise.
        unsafe { with_rows!(height, product::<S, V>(a, p, out)) };
    }
}

#[inline(always)]
unsafe fn product<S: Simd, const T: usize, const V: usize>(a: &[f32], p: &Part<'_>, out: &mut [f32]) {
    // SAFETY: the caller's T tiles and `w` are there.
    unsafe {
        let out = out.as_mut_ptr();
        let (mut rows, mut acc) = ([a.as_ptr(); T], [[S::zero(); V]; T]);
        for t in 0..T {
            rows[t] = rows[t].add(t * p.a.channels);
            if p.start > 0 {
                for v in 0..V {
                    acc[t][v] = S::load(out.add(t * p.columns + v * S::LANES));
                }
            }
        }
        let acc = accumulate::<S, T, V>(acc, rows, 1, p.w.as_ptr(), V * S::LANES, p.rows);
        for t in 0..T {
            for v in 0..V {
                S::store(out.add(t * p.columns + v * S::LANES), acc[t][v]);
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
        m.check(S::LANES);
        assert!(m.rows <= x.channels && m.columns <= dy.channels, "{m:?}");
        for p in 0..m.points {
            let (x_step, dy_step) = (x.channels, dy.channels);
            let x = &x.values[p * x.pitch..][..tiles * x_step];
            let dy = &dy.values[p * dy.pitch..][..tiles * dy_step];
            let partial = &mut partial[p * m.point()..(p + 1) * m.point()];
            for b in 0..m.blocks() {
                let (first, width) = m.block(b);
                let out = &mut partial[first * m.rows..(first + width) * m.rows];
                for (row, height) in Tiles::new(m.rows, S::TILE) {
                    ahead.step();
                    let (x, dy) = ((&x[row..], x_step), (&dy[first..], dy_step));
                    let sum = Sum { tiles, x, dy, fresh };
                    let out = &mut out[row * width..(row + height) * width];
                    // SAFETY: S exists; rows and columns lie within a tile's channels, and all tiles are there.
                    unsafe {
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
}

/// A sum over tiles.
struct Sum<'a> {
    tiles: usize,
    /// Values, and floats from one tile to the next.
    x: (&'a [f32], usize),
    dy: (&'a [f32], usize),
    fresh: bool,
}

/// # Safety
/// Only where S exists; `height` rows and V vectors lie inside the operands and `out`.
#[inline(always)]
unsafe fn sums<S: Simd, const V: usize>(height: usize, s: &Sum<'_>, out: &mut [f32]) {
    // SAFETY: the caller's promise.
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
        let mut rows = [s.x.0.as_ptr(); T];
        for (t, row) in rows.iter_mut().enumerate() {
            *row = row.add(t);
        }
        acc = accumulate::<S, T, V>(acc, rows, s.x.1, s.dy.0.as_ptr(), s.dy.1, s.tiles);
        for (i, acc) in acc.as_flattened().iter().enumerate() {
            S::store(out.add(i * S::LANES), *acc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::Isa;
    use std::panic::catch_unwind;

    #[test]
    fn operands_that_are_too_short_are_refused() {
        let (tiles, rows) = (5, 7);
        for isa in Isa::available() {
            let m = Matrix::new(1, rows, 40, isa.lanes());
            let run = |m: Matrix, len: usize, channels: usize| {
                catch_unwind(|| {
                    let (x, w) = (vec![1f32; len], vec![1f32; m.len()]);
                    let a = Operand { values: &x, pitch: 0, channels };
                    let mut out = vec![0f32; tiles * m.columns];
                    products(isa, tiles, a, &w, m, &mut out, 0, &mut Ahead::new([&[]; 3], 1));
                    assert!(out.iter().all(|y| *y == rows as f32));
                    let dy = Operand { values: &out, pitch: 0, channels: m.columns };
                    let mut partial = vec![0f32; m.len()];
                    let x = vec![1f32; tiles * channels];
                    let a = Operand { values: &x, ..a };
                    outer_products(isa, tiles, a, dy, m, true, &mut partial, &mut Ahead::new([&[]; 3], 1));
                    assert!(partial.iter().all(|p| *p == (tiles * rows) as f32));
                })
            };
            assert!(run(m, 4 * 8 + 7, 8).is_ok());
            assert!(run(m, 4 * 8 + 6, 8).is_err(), "the last tile is short, {isa:?}");
            assert!(run(m, 4 * 8 + 7, 6).is_err(), "tiles of too few channels, {isa:?}");
            let other = Matrix::new(1, rows, 40, 2 * isa.lanes());
            assert!(run(other, 4 * 8 + 7, 8).is_err(), "blocks of other vectors, {isa:?}");
        }
    }
}
