//! The register tile that every convolution pass is made of.

use crate::cpu::blocks::prefetch;
use crate::cpu::simd::Simd;

/// Bytes of a cache line.
const LINE: usize = 64;

/// `acc[t][v] += a[t][k · a_step] · b[k · b_step + v]` for k in 0..len.
///
/// # Safety
/// `a[t]` must be valid for `(len - 1) · a_step + 1` floats and `b` for `(len - 1) · b_step` and V vectors.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const T: usize, const V: usize>(
    mut acc: [[S::V; V]; T],
    a: [*const f32; T],
    a_step: usize,
    mut b: *const f32,
    b_step: usize,
    len: usize,
) -> [[S::V; V]; T] {
    let mut at = 0;
    for _ in 0..len {
        // SAFETY: within the caller's promise.
        unsafe {
            let mut bv = [S::zero(); V];
            for (v, bv) in bv.iter_mut().enumerate() {
                *bv = S::load(b.add(v * S::LANES));
            }
            for t in 0..T {
                let x = S::splat(*a[t].add(at));
                for v in 0..V {
                    acc[t][v] = S::fma(x, bv[v], acc[t][v]);
                }
            }
        }
        at += a_step;
        b = b.wrapping_add(b_step);
    }
    acc
}

/// Calls `$f::<S, T, V>($args)` with the constant T equal to `$t`, 1 to `S::TILE`. Higher tiles are not compiled: they would be
/// two fifths of the convolutions' code, which takes minutes to compile.
macro_rules! with_rows {
    ($t:expr, $f:ident::<$S:ident $(, $V:ident)*>($($arg:expr),* $(,)?)) => {{
        const { assert!($S::TILE <= 8) };
        match $t {
            1 => $f::<$S, 1 $(, $V)*>($($arg),*),
            2 if const { $S::TILE >= 2 } => $f::<$S, 2 $(, $V)*>($($arg),*),
            3 if const { $S::TILE >= 3 } => $f::<$S, 3 $(, $V)*>($($arg),*),
            4 if const { $S::TILE >= 4 } => $f::<$S, 4 $(, $V)*>($($arg),*),
            5 if const { $S::TILE >= 5 } => $f::<$S, 5 $(, $V)*>($($arg),*),
            6 if const { $S::TILE >= 6 } => $f::<$S, 6 $(, $V)*>($($arg),*),
            7 if const { $S::TILE >= 7 } => $f::<$S, 7 $(, $V)*>($($arg),*),
            8 if const { $S::TILE >= 8 } => $f::<$S, 8 $(, $V)*>($($arg),*),
            t => unreachable!("a tile of {t} rows, where registers take {}", $S::TILE),
        }
    }};
}
pub(super) use with_rows;

/// Offsets of consecutive pixels: `step` from one to the next, `wrap` more at the end of a line (modulo 2^64: it may
/// be negative).
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub at: usize,
    pub step: usize,
    pub wrap: usize,
    pub columns: usize,
    /// Column of the next pixel.
    pub column: usize,
}

impl Walk {
    /// The next pixel's offset.
    #[inline(always)]
    pub(super) fn advance(&mut self) -> usize {
        let at = self.at;
        self.at = self.at.wrapping_add(self.step);
        self.column += 1;
        if self.column == self.columns {
            self.column = 0;
            self.at = self.at.wrapping_add(self.wrap);
        }
        at
    }
}

/// Operands of the next unit, asked for a little with every tile: memory works while the tiles compute.
pub(super) struct Ahead<'a> {
    now: &'a [u8],
    rest: [&'a [u8]; 2],
    /// Cache lines to ask for, times `tiles`; as soon as there are `tiles` of them, the next line is asked for.
    owed: usize,
    lines: usize,
    tiles: usize,
}

impl<'a> Ahead<'a> {
    /// The bytes of operands, to be spread evenly over `tiles` tiles.
    pub(super) fn new([now, a, b]: [&'a [u8]; 3], tiles: usize) -> Self {
        let lines = [now, a, b].iter().map(|s| s.len().div_ceil(LINE)).sum::<usize>();
        Ahead { now, rest: [a, b], owed: 0, lines, tiles: tiles.max(1) }
    }

    #[inline(always)]
    pub(super) fn step(&mut self) {
        self.owed += self.lines;
        while self.owed >= self.tiles {
            self.owed -= self.tiles;
            match self.now.split_at_checked(LINE) {
                Some((line, rest)) => {
                    prefetch(line.as_ptr());
                    self.now = rest;
                }
                // Addresses behind the end would be looked up in vain, which takes long.
                None if self.rest[0].is_empty() => self.owed = 0,
                None => (self.now, self.rest) = (self.rest[0], [self.rest[1], &[]]),
            }
        }
    }
}

/// For [`Ahead`].
pub(super) fn bytes<T: bytemuck::Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// Cuts `total` rows into tiles of nearly equal height, none higher than `most`: a low tile at the end would
/// wait for the latency of its own multiply-adds.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    next: usize,
    total: usize,
    low: usize,
    /// Tiles that are one row higher than `low`.
    high: usize,
}

impl Tiles {
    pub(super) fn new(total: usize, most: usize) -> Self {
        let count = total.div_ceil(most).max(1);
        Tiles { next: 0, total, low: total / count, high: total % count }
    }
}

impl Iterator for Tiles {
    /// First row and height.
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.next >= self.total {
            return None;
        }
        let height = self.low + usize::from(self.high > 0);
        self.high = self.high.saturating_sub(1);
        let first = self.next;
        self.next += height;
        Some((first, height))
    }
}
