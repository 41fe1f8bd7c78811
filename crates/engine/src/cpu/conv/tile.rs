//! The register tile that every convolution pass is made of.

use crate::cpu::simd::Simd;

/// `acc[t][v] += a[t][k · a_step] · b[k · b_step + v]` for k in 0..len.
///
/// # Safety
/// `a[t]` must be valid for `(len - 1) · a_step + 1` floats and `b` for `(len - 1) · b_step` and V vectors.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const T: usize, const V: usize>(
    mut acc: [[S::V; V]; T],
    a: [*const f32; T],
    a_step: usize,
    b: *const f32,
    b_step: usize,
    len: usize,
) -> [[S::V; V]; T] {
    for k in 0..len {
        // SAFETY: within the caller's promise.
        unsafe {
            let row = b.add(k * b_step);
            let mut bv = [S::zero(); V];
            for (v, bv) in bv.iter_mut().enumerate() {
                *bv = S::load(row.add(v * S::LANES));
            }
            for t in 0..T {
                let x = S::splat(*a[t].add(k * a_step));
                for v in 0..V {
                    acc[t][v] = S::fma(x, bv[v], acc[t][v]);
                }
            }
        }
    }
    acc
}

/// Calls `$f::<S, T, V>($args)` with the constant T equal to `$t`, 1 to 8.
macro_rules! with_rows {
    ($t:expr, $f:ident::<$S:ident $(, $V:ident)?>($($arg:expr),* $(,)?)) => {
        match $t {
            1 => $f::<$S, 1 $(, $V)?>($($arg),*),
            2 => $f::<$S, 2 $(, $V)?>($($arg),*),
            3 => $f::<$S, 3 $(, $V)?>($($arg),*),
            4 => $f::<$S, 4 $(, $V)?>($($arg),*),
            5 => $f::<$S, 5 $(, $V)?>($($arg),*),
            6 => $f::<$S, 6 $(, $V)?>($($arg),*),
            7 => $f::<$S, 7 $(, $V)?>($($arg),*),
            _ => $f::<$S, 8 $(, $V)?>($($arg),*),
        }
    };
}
pub(super) use with_rows;

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
