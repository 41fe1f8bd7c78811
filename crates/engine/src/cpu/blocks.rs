//! Blocks of channels: one or two vectors of neighbouring channels of a pixel.

use super::simd::Simd;

/// The first `valid` floats of V vectors; FULL says that all are there.
///
/// # Safety
/// `p` must be valid for `valid` floats.
#[inline(always)]
pub(crate) unsafe fn load_block<S: Simd, const V: usize, const FULL: bool>(
    p: *const f32,
    valid: usize,
) -> [S::V; V] {
    // SAFETY: the caller's `valid` floats are there.
    unsafe {
        let mut out = [S::zero(); V];
        for (v, out) in out.iter_mut().enumerate() {
            let (p, left) = (p.wrapping_add(v * S::LANES), valid.saturating_sub(v * S::LANES));
            *out = if FULL || left >= S::LANES { S::load(p) } else { S::load_part(p, left) };
        }
        out
    }
}

/// Stores the first `valid` floats of V vectors; FULL says that these are all.
///
/// # Safety
/// `p` must be valid for `valid` floats.
#[inline(always)]
pub(crate) unsafe fn store_block<S: Simd, const V: usize, const FULL: bool>(
    p: *mut f32,
    x: [S::V; V],
    valid: usize,
) {
    for (v, x) in x.into_iter().enumerate() {
        let (p, left) = (p.wrapping_add(v * S::LANES), valid.saturating_sub(v * S::LANES));
        // SAFETY: the caller's `valid` floats are there.
        unsafe { if FULL || left >= S::LANES { S::store(p, x) } else { S::store_part(p, x, left) } }
    }
}

/// Calls `$f::<S, V, FULL>(first, valid, $args)` for blocks of channels: two vectors each, then one at an odd
/// end, the last perhaps not full.
macro_rules! for_blocks {
    ($channels:expr, $f:ident::<$S:ident>($($arg:expr),* $(,)?)) => {{
        let (channels, mut first) = ($channels, 0);
        while first < channels {
            let valid = (channels - first).min(2 * $S::LANES);
            if valid == 2 * $S::LANES {
                $f::<$S, 2, true>(first, valid, $($arg),*);
            } else if valid > $S::LANES {
                $f::<$S, 2, false>(first, valid, $($arg),*);
            } else if valid == $S::LANES {
                $f::<$S, 1, true>(first, valid, $($arg),*);
            } else {
                $f::<$S, 1, false>(first, valid, $($arg),*);
            }
            first += valid;
        }
    }};
}
pub(crate) use for_blocks;

/// Asks for the cache line at `p`, which need not exist.
#[inline(always)]
pub(crate) fn prefetch(p: *const f32) {
    // SAFETY: a hint, which touches no memory that the program could see, and part of the baseline.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}
