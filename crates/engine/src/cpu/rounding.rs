//! Between types of stored values, and moving averages in half-size floats.

use super::Cpu;
use super::kernel::kernel;
use super::parallel::Shared;
use super::simd::Isa;
use super::update::ranges;
use super::value::{narrow, widen};
use crate::backend::Scratch;
use crate::bf16::random_bits;
use crate::ops::{Convert, EmaRounded, Kernel};
use crate::{Bf16, DType};

impl Kernel<Convert<'_>> for Cpu {
    fn launch(&self, Convert { target, source }: Convert<'_>, (): &mut (), _: Scratch<'_>) {
        // Of one type it is a copy, which the caller makes.
        match source.dtype() {
            DType::Bf16 => {
                let (t, s) = (target.host_mut(), source.host::<Bf16>());
                self.run(|| pieces(t, s, |t, s| widen(s, t)));
            }
            _ => {
                let (t, s) = (target.host_mut::<Bf16>(), source.host());
                self.run(|| pieces(t, s, |t, s| narrow(s, t)));
            }
        }
    }
}

impl Kernel<EmaRounded<'_>> for Cpu {
    fn launch(&self, op: EmaRounded<'_>, (): &mut (), _: Scratch<'_>) {
        let (keys, m) = (op.keys(), op.m);
        let (t, s) = (op.target.host_mut(), op.source.host());
        self.run(|| ema(self.isa(), t, s, m, keys));
    }
}

/// Runs `f` over pieces of both.
fn pieces<T: Send, S: Sync>(target: &mut [T], source: &[S], f: impl Fn(&mut [T], &[S]) + Sync + Send) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| f(unsafe { shared.part(r.clone()) }, &source[r]));
}

fn ema(isa: Isa, target: &mut [Bf16], source: &[f32], m: f32, keys: [u32; 2]) {
    let shared = Shared::new(target);
    ranges(source.len(), 1, |r| {
        // SAFETY: ranges are disjoint.
        let part = unsafe { shared.part(r.clone()) };
        // Which random bits an element has does not depend on the piece.
        mix_rounded(isa, part, &source[r.clone()], [m, 1.0 - m], r.start as u32, keys);
    });
}

kernel! {
    /// t = a · t + b · s, rounded stochastically.
    fn mix_rounded<S>(target: &mut [Bf16], source: &[f32], factors: [f32; 2], first: u32, keys: [u32; 2]) {
        let _ = S::LANES;
        let [a, b] = factors;
        for (i, (t, s)) in target.iter_mut().zip(source).enumerate() {
            // Fused, as on a GPU: the same bits everywhere.
            let x = if a == 0.0 { *s } else { a.mul_add(t.to_f32(), b * s) };
            *t = Bf16::from_f32_by(x, random_bits(keys, first.wrapping_add(i as u32)));
        }
    }
}
