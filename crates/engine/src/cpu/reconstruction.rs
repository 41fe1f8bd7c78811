//! How well a decoder's values, through a sigmoid, repeat the pixels of the images.

use super::exponential::exp_below_zero;
use super::kernel::kernel;
use super::loss::{self, Target, samples};
use super::parallel::{Carver, Shared};
use super::simd::Isa;
use super::{Cpu, Model};
use crate::backend::Scratch;
use crate::ops::{Kernel, PixelScale, Reconstruction, report};

impl Kernel<Reconstruction<'_>> for Cpu {
    fn scratch(_: &Model, op: &Reconstruction<'_>) -> Option<usize> {
        Some(loss::scratch(op.raw.nhwc()[0], 1))
    }

    fn launch(&self, op: Reconstruction<'_>, (): &mut (), scratch: Scratch<'_>) {
        let (n, target) = (op.raw.nhwc()[0], Target::of(op.target));
        let (raw, images, scratch) = (op.raw.host(), op.images.host(), scratch.host());
        self.run(|| reconstruction(self.isa(), (raw, images), n, op.scale, target, scratch));
    }
}

/// Values that are computed together: whole pixels, and whole vectors of any instruction set.
const GROUP: usize = 48;

/// Binary cross-entropy of sigmoid(raw) against pixels, mean over all values.
fn reconstruction(
    isa: Isa,
    (raw, images): (&[f32], &[f32]),
    n: usize,
    scale: PixelScale,
    target: Target<'_>,
    scratch: &mut [u8],
) {
    let image = raw.len() / n;
    let values = Carver::new(scratch).take::<f64>(n);
    let factor = target.weight / raw.len() as f32;
    let (wants, grad) = (target.grad.is_some(), Shared::new(target.grad.unwrap_or_default()));
    let shared = Shared::new(values);
    samples(n, |i| {
        let at = i * image..(i + 1) * image;
        // SAFETY: one value and one image per sample.
        let (value, grad) =
            unsafe { (shared.part(i..i + 1), grad.part(if wants { at.clone() } else { 0..0 })) };
        sample(isa, &raw[at.clone()], &images[at], scale, factor, grad, &mut value[0]);
    });
    target.row[report::LOSS] = (values.iter().sum::<f64>() / raw.len() as f64) as f32;
}

kernel! {
    /// The sum over one image's values, and their gradients unless `grad` is empty.
    fn sample<S>(raw: &[f32], images: &[f32], scale: PixelScale, factor: f32, grad: &mut [f32], sum: &mut f64) {
        let _ = S::LANES;
        let mut sums = [0f64; GROUP];
        for (i, (x, y)) in raw.chunks(GROUP).zip(images.chunks(GROUP)).enumerate() {
            let (mut xs, mut ys) = ([0f32; GROUP], [0f32; GROUP]);
            xs[..x.len()].copy_from_slice(x);
            ys[..y.len()].copy_from_slice(y);
            let (losses, gradients) = group(&xs, &ys, scale, factor);
            for k in 0..x.len() {
                sums[k] += f64::from(losses[k]);
            }
            if let Some(grad) = grad.get_mut(i * GROUP..i * GROUP + x.len()) {
                grad.copy_from_slice(&gradients[..x.len()]);
            }
        }
        *sum = sums.iter().sum();
    }
}

/// Losses of a group, and their gradients times `factor`. Plain loops over arrays: they become vectors of the kernel's
/// instruction set.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // See `winograd`.
fn group(x: &[f32; GROUP], y: &[f32; GROUP], scale: PixelScale, factor: f32) -> ([f32; GROUP], [f32; GROUP]) {
    let (mut losses, mut gradients) = ([0f32; GROUP], [0f32; GROUP]);
    for k in 0..GROUP {
        let pixel = y[k] * scale.std[k % 3] + scale.mean[k % 3];
        let e = exp_below_zero(-x[k].abs());
        let positive = if x[k] > 0.0 { x[k] } else { 0.0 };
        losses[k] = positive - x[k] * pixel + ln_1p_of_part(e);
        let sigmoid = (if x[k] >= 0.0 { 1.0 } else { e }) / (1.0 + e);
        gradients[k] = factor * (sigmoid - pixel);
        // A value that is no number stays one.
        losses[k] = if x[k].is_nan() { x[k] } else { losses[k] };
        gradients[k] = if x[k].is_nan() { x[k] } else { gradients[k] };
    }
    (losses, gradients)
}

/// `ln(1 + e)` for e from 0 to 1: 2 artanh(e / (2 + e)) by its series, whose next term would be below 2e-8.
#[inline(always)]
fn ln_1p_of_part(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let square = s * s;
    let mut p = 1.0 / 13.0;
    for c in [1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        p = p * square + c;
    }
    2.0 * s * p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_logarithms_are_right_to_a_few_units_in_the_last_place() {
        for i in 0..=200_000 {
            let x = -87.0 * (i as f32 / 200_000.0);
            let (found, right) = (f64::from(exp_below_zero(x)), f64::from(x).exp());
            assert!((found - right).abs() <= 2.5e-7 * right, "exp({x}) is {right}, not {found}");
            let e = i as f32 / 200_000.0;
            let (found, right) = (f64::from(ln_1p_of_part(e)), f64::from(e).ln_1p());
            assert!((found - right).abs() <= 3e-7 * right, "ln(1 + {e}) is {right}, not {found}");
        }
        assert_eq!((exp_below_zero(0.0), ln_1p_of_part(0.0)), (1.0, 0.0));
        assert!(exp_below_zero(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        let scale = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
        let mut x = [0.0; GROUP];
        x[7] = f32::NAN;
        let (losses, gradients) = group(&x, &[0.0; GROUP], scale, 1.0);
        assert!(losses[7].is_nan() && gradients[7].is_nan() && losses[8].is_finite());
    }
}
