//! The types that activations are stored in; kernels compute in 32 bits whatever they load and store.

use super::simd::Simd;
use crate::{Bf16, Element};

/// A stored value: exact on loading, rounded to the nearest on storing.
///
/// # Safety
/// As [`Simd`]: functions may only run where the instruction set is, pointers must be valid for its lanes.
pub(crate) trait Value: Element + bytemuck::Pod {
    const ZERO: Self;
    fn narrow(x: f32) -> Self;
    fn wide(self) -> f32;
    unsafe fn load<S: Simd>(p: *const Self) -> S::V;
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V);
    /// What storing and loading makes of `v`.
    unsafe fn round<S: Simd>(v: S::V) -> S::V;
    /// The values themselves, where they need no widening.
    fn floats(values: &[Self]) -> Option<&[f32]>;
    /// The values themselves, where they need no widening, to write.
    fn floats_mut(values: &mut [Self]) -> Option<&mut [f32]>;
}

impl Value for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn narrow(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> S::V {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { S::load(p) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V) {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { S::store(p, v) }
    }
    #[inline(always)]
    unsafe fn round<S: Simd>(v: S::V) -> S::V {
        v
    }
    fn floats(values: &[Self]) -> Option<&[f32]> {
        Some(values)
    }
    fn floats_mut(values: &mut [Self]) -> Option<&mut [f32]> {
        Some(values)
    }
}

impl Value for Bf16 {
    const ZERO: Self = Bf16::from_bits(0);
    #[inline(always)]
    fn narrow(x: f32) -> Self {
        Bf16::from_f32(x)
    }
    #[inline(always)]
    fn wide(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const Self) -> S::V {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { S::load_upper(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(p: *mut Self, v: S::V) {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { S::store_upper(p.cast(), S::round_upper(v)) }
    }
    #[inline(always)]
    unsafe fn round<S: Simd>(v: S::V) -> S::V {
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { S::round_upper(v) }
    }
    fn floats(_: &[Self]) -> Option<&[f32]> {
        None
    }
    fn floats_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}

/// `out` = `x`.
#[inline(always)]
pub(crate) fn widen<E: Value>(x: &[E], out: &mut [f32]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o = x.wide();
    }
}

/// `out` = `x`, rounded.
#[inline(always)]
pub(crate) fn narrow<E: Value>(x: &[f32], out: &mut [E]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o = E::narrow(*x);
    }
}

/// Evaluates `$body` with `$E` the Rust type of activations of type `$dtype`.
macro_rules! typed {
    ($dtype:expr, $E:ident => $body:expr) => {
        match $dtype {
            $crate::DType::Bf16 => {
                type $E = $crate::Bf16;
                $body
            }
            _ => {
                type $E = f32;
                $body
            }
        }
    };
}
pub(crate) use typed;
