//! Clipping of gradients by their norm.

use super::Cpu;
use super::kernel::kernel;
use super::parallel::{self, Shared};
use super::simd::Isa;
use super::update::{cut, ranges};
use crate::backend::Scratch;
use crate::ops::{ClipCoefficient, Kernel, PIECE, Scale, SumSquares, square_sums};

impl Kernel<SumSquares<'_>> for Cpu {
    fn launch(&self, op: SumSquares<'_>, (): &mut (), _: Scratch<'_>) {
        let (values, count) = (op.values.host(), square_sums(op.values.len()));
        let sums = &mut op.sums.host_mut::<f32>()[op.first..op.first + count];
        self.run(|| sum_squares(self.isa(), values, sums));
    }
}

impl Kernel<ClipCoefficient<'_>> for Cpu {
    fn launch(&self, op: ClipCoefficient<'_>, (): &mut (), _: Scratch<'_>) {
        let sum: f64 = op.sums.host::<f32>().iter().map(|&s| f64::from(s)).sum();
        let coefficient = f64::from(op.max_norm) / (sum.sqrt() + 1e-6);
        // What is no number stays so.
        let clamped = if coefficient > 1.0 { 1.0 } else { coefficient };
        op.coefficient.host_mut::<f32>()[0] = clamped as f32;
    }
}

impl Kernel<Scale<'_>> for Cpu {
    fn launch(&self, op: Scale<'_>, (): &mut (), _: Scratch<'_>) {
        let (factor, values) = (op.factor.host::<f32>()[0], op.values.host_mut::<f32>());
        self.run(|| {
            let (len, shared) = (values.len(), Shared::new(values));
            // SAFETY: ranges are disjoint.
            ranges(len, 1, |r| multiply(self.isa(), unsafe { shared.part(r) }, factor));
        });
    }
}

fn sum_squares(isa: Isa, values: &[f32], sums: &mut [f32]) {
    let (count, shared) = (sums.len(), Shared::new(sums));
    let pieces = cut(values.len(), PIECE).min(count.max(1));
    parallel::for_each(pieces, |i| {
        for k in parallel::piece(count, pieces, i) {
            let end = values.len().min((k + 1) * PIECE);
            // SAFETY: one sum each.
            squares(isa, &values[k * PIECE..end], unsafe { &mut shared.part(k..k + 1)[0] });
        }
    });
}

/// Sums beside each other: whole vectors of any instruction set.
const GROUP: usize = 16;

kernel! {
    fn squares<S>(values: &[f32], sum: &mut f32) {
        let _ = S::LANES;
        let mut sums = [0f64; GROUP];
        for values in values.chunks(GROUP) {
            for (s, x) in sums.iter_mut().zip(values) {
                *s += f64::from(*x) * f64::from(*x);
            }
        }
        *sum = sums.iter().sum::<f64>() as f32;
    }
}

kernel! {
    fn multiply<S>(values: &mut [f32], factor: f32) {
        let _ = S::LANES;
        for v in values {
            *v *= factor;
        }
    }
}
