//! Where gradients of inputs go: the rule of [`crate::ops`], the same however they were computed.

use crate::cpu::blocks::{as_stored, load_block, store_block};
use crate::cpu::parallel::Shared;
use crate::cpu::simd::Simd;
use crate::cpu::value::Value;
use crate::ops::norm;

/// Where input gradients go and what is done to them on the way (the rule of [`crate::ops`]).
pub(super) struct Sink<'a, X> {
    grad: Shared<'a, X>,
    accumulate: bool,
    /// `[4, c]` of the operand.
    norm: Option<&'a [f32]>,
    relu: bool,
    pub sums: bool,
    /// The operand's raw values.
    raw: &'a [X],
    channels: usize,
}

impl<'a, X> Sink<'a, X> {
    /// Of an operand of `channels` channels.
    ///
    /// # Panics
    /// Where lengths do not match.
    ///
    /// # Safety
    /// Kernels that run at the same time must write other pixels or other channels of it.
    pub(super) unsafe fn new(
        channels: usize,
        grad: &'a mut [X],
        accumulate: bool,
        norm: Option<&'a [f32]>,
        relu: bool,
        sums: bool,
        raw: &'a [X],
    ) -> Self {
        assert!(raw.len() == grad.len() && norm.is_none_or(|t| t.len() == crate::ops::norm::ROWS * channels));
        Sink { grad: Shared::new(grad), accumulate, norm, relu, sums, raw, channels }
    }
}

impl<X> Sink<'_, X> {
    /// For kernels that write pixels of `channels` channels.
    #[inline(always)]
    pub(super) fn check(&self, channels: usize) {
        assert_eq!(self.channels, channels);
    }

    /// Whether values of 0 change nothing: what is there stays, and nobody looks at it.
    pub(super) fn ignores_zeros(&self) -> bool {
        self.accumulate && !self.relu && !self.sums
    }
}

/// One block of channels of a sink: rows of the operand's normalisation, and sums of what was written.
pub(super) struct Put<S: Simd, const V: usize> {
    scale: [S::V; V],
    shift: [S::V; V],
    mean: [S::V; V],
    pub sum: [S::V; V],
    /// Of values times centred raw values.
    pub product: [S::V; V],
}

impl<S: Simd, const V: usize> Put<S, V> {
    /// The block of `valid` channels from `first` on, of `channels`.
    ///
    /// # Safety
    /// Only where S exists; the block lies within the channels.
    #[inline(always)]
    pub unsafe fn new<const FULL: bool>(
        sink: &Sink<'_, impl Value>,
        channels: usize,
        first: usize,
        valid: usize,
    ) -> Self {
        // SAFETY: rows of a normalisation hold a value for every channel.
        unsafe {
            let (mut rows, zero) = ([[S::zero(); V]; 3], [S::zero(); V]);
            match sink.norm {
                Some(t) => {
                    for (row, at) in rows.iter_mut().zip([norm::SCALE, norm::SHIFT, norm::MEAN]) {
                        *row = load_block::<S, V, FULL>(t[at * channels + first..].as_ptr(), valid);
                    }
                }
                // Without a normalisation the rectifier looks at the value itself.
                None => rows[0] = [S::splat(1.0); V],
            }
            let [scale, shift, mean] = rows;
            Put { scale, shift, mean, sum: zero, product: zero }
        }
    }

    /// Writes the block of one pixel, `at` values into the operand's tensor.
    ///
    /// # Safety
    /// Only where S exists; nobody else writes this block; `at + valid` lies in the tensor.
    #[inline(always)]
    pub unsafe fn write<const FULL: bool>(
        &mut self,
        sink: &Sink<'_, impl Value>,
        at: usize,
        mut value: [S::V; V],
        valid: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let out = sink.grad.part(at..at + valid).as_mut_ptr();
            if sink.accumulate {
                let old = load_block::<S, V, FULL>(out, valid);
                for v in 0..V {
                    value[v] = S::add(value[v], old[v]);
                }
            }
            if sink.relu || sink.sums {
                let raw = load_block::<S, V, FULL>(sink.raw.as_ptr().add(at), valid);
                for v in 0..V {
                    if sink.relu {
                        let z = S::fma(raw[v], self.scale[v], self.shift[v]);
                        value[v] = S::where_positive(z, value[v]);
                    }
                    // Sums are those of the values that are loaded again.
                    value[v] = as_stored::<S, _>(out, value[v]);
                    self.sum[v] = S::add(self.sum[v], value[v]);
                    self.product[v] = S::fma(value[v], S::sub(raw[v], self.mean[v]), self.product[v]);
                }
            }
            store_block::<S, V, FULL>(out, value, valid);
        }
    }

    /// Hands the sums on to `[2][channels]` 64-bit ones and starts anew.
    ///
    /// # Safety
    /// Only where S exists.
    #[inline(always)]
    pub unsafe fn hand_on(&mut self, block: (usize, usize, usize), sums: &mut [f64]) {
        // SAFETY: the caller's promise.
        unsafe {
            hand_on::<S, V>((self.sum, self.product), block, sums);
            (self.sum, self.product) = ([S::zero(); V], [S::zero(); V]);
        }
    }
}

/// Adds vectors of the `valid` channels from `first` on to `[2][channels]` 64-bit sums.
///
/// # Safety
/// Only where S exists.
#[inline(always)]
pub(super) unsafe fn hand_on<S: Simd, const V: usize>(
    (sum, other): ([S::V; V], [S::V; V]),
    (first, valid, channels): (usize, usize, usize),
    sums: &mut [f64],
) {
    let (mut a, mut b) = ([0f32; 32], [0f32; 32]);
    // SAFETY: the arrays hold two vectors of any instruction set.
    unsafe {
        for v in 0..V {
            S::store(a.as_mut_ptr().add(v * S::LANES), sum[v]);
            S::store(b.as_mut_ptr().add(v * S::LANES), other[v]);
        }
    }
    for i in 0..valid {
        sums[first + i] += f64::from(a[i]);
        sums[channels + first + i] += f64::from(b[i]);
    }
}
