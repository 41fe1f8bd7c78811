//! What is done to an operand while it is loaded.

use super::blocks::{for_blocks, load_block, store_block};
use super::simd::Simd;
use super::value::{Value, widen};
use crate::ops::norm;

/// What is done to an operand while it is loaded: per-channel rows, and the rectifier.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Scale and shift, equally long.
    affine: Option<(&'a [f32], &'a [f32])>,
    pub relu: bool,
}

impl<'a> Load<'a> {
    pub(crate) fn new(norm_rows: Option<&'a [f32]>, relu: bool, c: usize) -> Self {
        let row = |t: &'a [f32], i: usize| &t[i * c..(i + 1) * c];
        Load { affine: norm_rows.map(|t| (row(t, norm::SCALE), row(t, norm::SHIFT))), relu }
    }

    /// Scale and shift, `[c]` each.
    #[inline(always)]
    pub(crate) fn affine(&self) -> Option<(&'a [f32], &'a [f32])> {
        self.affine
    }

    /// For kernels that read rows of `c` channels.
    ///
    /// # Panics
    /// Where they are not of so many.
    #[inline(always)]
    pub(crate) fn check(&self, c: usize) {
        assert!(self.affine.is_none_or(|(scale, _)| scale.len() == c), "{c} channels");
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.affine.is_none() && !self.relu
    }

    /// Transforms whole pixels of `c` channels from `x` to `out`.
    ///
    /// # Safety
    /// Only where S exists.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd>(&self, x: &[impl Value], out: &mut [f32]) {
        match (self.affine, self.relu) {
            (None, false) => widen(x, out),
            (None, true) => {
                for (o, x) in out.iter_mut().zip(x) {
                    let x = x.wide();
                    *o = if x <= 0.0 { 0.0 } else { x };
                }
            }
            // SAFETY: S exists; the rows are equally long, and blocks lie within them.
            (Some(rows), true) => unsafe {
                for_blocks!(rows.0.len(), affine::<S>(rows, x, out, |v| S::rectify(v)));
            },
            // SAFETY: as above.
            (Some(rows), false) => unsafe {
                for_blocks!(rows.0.len(), affine::<S>(rows, x, out, |v| v));
            },
        }
    }
}

/// One block of channels of [`Load::apply`].
///
/// # Safety
/// Only where S exists; `first + valid` is at most the length of both rows.
#[inline(always)]
unsafe fn affine<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    (scale, shift): (&[f32], &[f32]),
    x: &[impl Value],
    out: &mut [f32],
    end: impl Fn(S::V) -> S::V,
) {
    let c = scale.len();
    // SAFETY: pixels are whole, and `first + valid` is at most the channels of one.
    unsafe {
        let a = load_block::<S, V, FULL>(scale[first..].as_ptr(), valid);
        let b = load_block::<S, V, FULL>(shift[first..].as_ptr(), valid);
        for (o, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            let mut y = load_block::<S, V, FULL>(x.as_ptr().add(first), valid);
            for v in 0..V {
                y[v] = end(S::fma(y[v], a[v], b[v]));
            }
            store_block::<S, V, FULL>(o.as_mut_ptr().add(first), y, valid);
        }
    }
}
