//! Blocks of channels: one or two vectors of neighbouring channels of a pixel.

use super::simd::Simd;
use super::value::Value;

/// The first `valid` values of V vectors; FULL says that all are there.
///
/// # Safety
/// `p` must be valid for `valid` values.
#[inline(always)]
pub(crate) unsafe fn load_block<S: Simd, const V: usize, const FULL: bool>(
    p: *const impl Value,
    valid: usize,
) -> [S::V; V] {
    // SAFETY: the caller's `valid` values are there.
    unsafe {
        let mut out = [S::zero(); V];
        for (v, out) in out.iter_mut().enumerate() {
            let (p, left) = (p.wrapping_add(v * S::LANES), valid.saturating_sub(v * S::LANES));
            *out = if FULL || left >= S::LANES { load::<S, _>(p) } else { load_part::<S, _>(p, left) };
        }
        out
    }
}

/// Stores the first `valid` values of V vectors; FULL says that these are all.
///
/// # Safety
/// `p` must be valid for `valid` values.
#[inline(always)]
pub(crate) unsafe fn store_block<S: Simd, const V: usize, const FULL: bool>(
    p: *mut impl Value,
    x: [S::V; V],
    valid: usize,
) {
    for (v, x) in x.into_iter().enumerate() {
        let (p, left) = (p.wrapping_add(v * S::LANES), valid.saturating_sub(v * S::LANES));
        // SAFETY: the caller's `valid` values are there.
        unsafe { if FULL || left >= S::LANES { store::<S, _>(p, x) } else { store_part::<S, _>(p, x, left) } }
    }
}

/// The first `n < LANES` values; zeros behind.
///
/// # Safety
/// Only where S exists; `p` must be valid for `n` values.
#[inline(always)]
unsafe fn load_part<S: Simd, E: Value>(p: *const E, n: usize) -> S::V {
    let mut lanes = [E::ZERO; 16];
    // SAFETY: `lanes` holds a vector of any instruction set; `n` values are the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        E::load::<S>(lanes.as_ptr())
    }
}

/// Stores the first `n < LANES` values.
///
/// # Safety
/// As [`load_part`].
#[inline(always)]
pub(crate) unsafe fn store_part<S: Simd, E: Value>(p: *mut E, v: S::V, n: usize) {
    let mut lanes = [E::ZERO; 16];
    // SAFETY: `lanes` holds a vector of any instruction set; `n` values are the caller's promise.
    unsafe {
        E::store::<S>(lanes.as_mut_ptr(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
    }
}

/// What loading will give where `v` is stored at `_p`.
///
/// # Safety
/// Only where S exists.
#[inline(always)]
pub(crate) unsafe fn as_stored<S: Simd, E: Value>(_p: *mut E, v: S::V) -> S::V {
    // SAFETY: see above.
    unsafe { E::round::<S>(v) }
}

#[inline(always)]
unsafe fn load<S: Simd, E: Value>(p: *const E) -> S::V {
    // SAFETY: the caller's vector is there.
    unsafe { E::load::<S>(p) }
}

#[inline(always)]
unsafe fn store<S: Simd, E: Value>(p: *mut E, v: S::V) {
    // SAFETY: the caller's vector is there.
    unsafe { E::store::<S>(p, v) }
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
pub(crate) fn prefetch<T>(p: *const T) {
    // SAFETY: a hint, which touches no memory that the program could see, and part of the baseline.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}
