//! Tiles of packed rows into the transformed domain, and products back into tiles of pixels.

use super::{POINTS, STEP, transform};
use crate::cpu::blocks::{load_block, store_part};
use crate::cpu::kernel::kernel;
use crate::cpu::simd::Simd;

/// Packed rows with their border, as tiles read them: `columns` pixels of `channels` floats a row.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    pub columns: usize,
    pub channels: usize,
}

impl Rows<'_> {
    /// Whether rows of tiles, each of so many values down, can be read of `c` channels of `width` pixels.
    fn check(&self, rows: usize, columns: usize, c: usize, (deep, width): (usize, usize)) {
        let line = self.columns * self.channels;
        let tiled = columns == 0 || (columns - 1) * STEP < width;
        let last = (rows.max(1) - 1) * STEP + deep - 1;
        let there = rows == 0 || last * line + width * self.channels <= self.values.len();
        assert!(tiled && there && c <= self.channels, "{rows}x{columns} tiles");
    }
}

/// Transformed tiles: `[36]` times a pitch, `[tile][channels]` in each.
pub(super) struct Points<'a> {
    pub values: &'a mut [f32],
    pub pitch: usize,
    pub channels: usize,
}

impl Points<'_> {
    /// Whether there is room for `tiles` tiles.
    fn check(&self, tiles: usize) {
        let end = (POINTS - 1) * self.pitch + tiles * self.channels;
        assert!(end <= self.values.len(), "{tiles} tiles of {} channels", self.channels);
    }
}

kernel! {
    /// `Bᵀ d B` of `rows x columns` tiles: the unit's tiles from `first` on.
    fn input_tiles<S>(from: Rows<'_>, rows: usize, columns: usize, first: usize, to: &mut Points<'_>) {
        let (c, line) = (to.channels, from.columns * from.channels);
        to.check(first + rows * columns);
        from.check(rows, columns, c, (6, from.columns));
        for tile in 0..rows * columns {
            let (y, x) = (tile / columns * STEP, tile % columns * STEP);
            let valid = (from.columns - x).min(6);
            // SAFETY: `y` and five more rows are there, `valid` columns of a row lie inside, and `to` has room for
            // the unit's tiles: as was checked.
            unsafe {
                let d = from.values[y * line + x * from.channels..].as_ptr();
                let v = to.values[(first + tile) * c..].as_mut_ptr();
                for at in (0..c).step_by(S::LANES) {
                    let n = (c - at).min(S::LANES);
                    let corner = Corner { at: d.add(at), line, channels: from.channels, valid, n };
                    if valid == 6 && n == S::LANES {
                        input_tile::<S, true>(corner, v.add(at), to.pitch);
                    } else {
                        input_tile::<S, false>(corner, v.add(at), to.pitch);
                    }
                }
            }
        }
    }
}

/// The first value of a tile, one vector of channels.
#[derive(Clone, Copy)]
struct Corner {
    at: *const f32,
    line: usize,
    channels: usize,
    /// Columns that are there, and channels of the vector that are real.
    valid: usize,
    n: usize,
}

impl Corner {
    /// One column of N values; zeros where there is none.
    ///
    /// # Safety
    /// N rows and `valid` columns must lie inside the packed rows.
    #[inline(always)]
    unsafe fn column<S: Simd, const N: usize, const FULL: bool>(&self, column: usize) -> [S::V; N] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut out = [S::zero(); N];
            if FULL || column < self.valid {
                for (r, out) in out.iter_mut().enumerate() {
                    let p = self.at.add(r * self.line + column * self.channels);
                    *out = load_block::<S, 1, FULL>(p, self.n)[0];
                }
            }
            out
        }
    }
}

/// Stores one vector of one point; the floats behind a tile's channels belong to the next tile.
#[inline(always)]
unsafe fn put<S: Simd, const FULL: bool>(p: *mut f32, v: S::V, n: usize) {
    // SAFETY: the caller's `n` floats are there.
    unsafe { if FULL || n == S::LANES { S::store(p, v) } else { store_part::<S, _>(p, v, n) } }
}

#[inline(always)]
unsafe fn input_tile<S: Simd, const FULL: bool>(corner: Corner, v: *mut f32, pitch: usize) {
    // SAFETY: the caller's tile lies inside both buffers.
    unsafe {
        let mut half = [[S::zero(); 6]; 6];
        for c in 0..6 {
            let t = transform::input::<S>(corner.column::<S, 6, FULL>(c));
            for i in 0..6 {
                half[i][c] = t[i];
            }
        }
        for i in 0..6 {
            let t = transform::input::<S>(half[i]);
            for j in 0..6 {
                put::<S, FULL>(v.add((i * 6 + j) * pitch), t[j], corner.n);
            }
        }
    }
}

kernel! {
    /// `A dy Aᵀ` of `rows x columns` tiles. `from` starts at the first tile's first pixel; rows are `width` pixels wide.
    fn gradient_tiles<S>(
        from: Rows<'_>, width: usize, rows: usize, columns: usize, first: usize, to: &mut Points<'_>,
    ) {
        let (c, line) = (to.channels, from.columns * from.channels);
        to.check(first + rows * columns);
        from.check(rows, columns, c, (STEP, width));
        for tile in 0..rows * columns {
            let (y, x) = (tile / columns * STEP, tile % columns * STEP);
            let valid = (width - x).min(STEP);
            // SAFETY: as in `input_tiles`, with four rows and columns.
            unsafe {
                let d = from.values[y * line + x * from.channels..].as_ptr();
                let v = to.values[(first + tile) * c..].as_mut_ptr();
                for at in (0..c).step_by(S::LANES) {
                    let n = (c - at).min(S::LANES);
                    let corner = Corner { at: d.add(at), line, channels: from.channels, valid, n };
                    if valid == STEP && n == S::LANES {
                        gradient_tile::<S, true>(corner, v.add(at), to.pitch);
                    } else {
                        gradient_tile::<S, false>(corner, v.add(at), to.pitch);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn gradient_tile<S: Simd, const FULL: bool>(corner: Corner, v: *mut f32, pitch: usize) {
    // SAFETY: the caller's tile lies inside both buffers.
    unsafe {
        let mut half = [[S::zero(); 4]; 6];
        for c in 0..4 {
            let t = transform::gradient::<S>(corner.column::<S, 4, FULL>(c));
            for i in 0..6 {
                half[i][c] = t[i];
            }
        }
        for i in 0..6 {
            let t = transform::gradient::<S>(half[i]);
            for j in 0..6 {
                put::<S, FULL>(v.add((i * 6 + j) * pitch), t[j], corner.n);
            }
        }
    }
}

/// `Aᵀ m A` of one tile, one vector of channels: `m` points at the first point's values.
///
/// # Safety
/// `m` must be valid for 36 vectors, `pitch` apart.
#[inline(always)]
pub(super) unsafe fn output_tile<S: Simd>(m: *const f32, pitch: usize) -> [[S::V; STEP]; STEP] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut half = [[S::zero(); 6]; STEP];
        for c in 0..6 {
            let mut column = [S::zero(); 6];
            for r in 0..6 {
                column[r] = S::load(m.add((r * 6 + c) * pitch));
            }
            let t = transform::output::<S>(column);
            for i in 0..STEP {
                half[i][c] = t[i];
            }
        }
        let mut out = [[S::zero(); STEP]; STEP];
        for i in 0..STEP {
            out[i] = transform::output::<S>(half[i]);
        }
        out
    }
}

/// Floats of a unit's transformed tiles.
pub(super) fn points(pitch: usize) -> usize {
    POINTS * pitch
}
