//! Per-channel values: the backward of a normalisation, and gradients of operands.

use super::kernel::kernel;
use super::load::Load;
use super::parallel::Shared;
use super::simd::Isa;
use super::value::{Value, narrow, widen};
use crate::ops::norm;

/// Where the gradients of a normalisation go, as slices.
pub(crate) struct SinkNorm<'a> {
    /// `[3, c]`.
    pub coefficients: &'a mut [f32],
    pub weight: Option<&'a mut [f32]>,
    pub bias: Option<&'a mut [f32]>,
}

/// From `[2][c]` sums (gradient; gradient times centred value) over `count` values to BatchNorm's gradients:
/// with x̂ = (x - mean)/σ, dx = scale · (g - mean(g) - x̂ · mean(g·x̂)) = g·a + x·b + c (Ioffe & Szegedy 2015).
pub(crate) fn finish_norm(rows: &[f32], total: &[f64], count: usize, mut out: SinkNorm<'_>) {
    let c = rows.len() / norm::ROWS;
    for i in 0..c {
        let row = |r: usize| f64::from(rows[r * c + i]);
        let (scale, mean, inv_std) = (row(norm::SCALE), row(norm::MEAN), row(norm::INV_STD));
        let (sum, product) = (total[i], total[c + i] * inv_std);
        let b = -scale * inv_std * product / count as f64;
        out.coefficients[i] = scale as f32;
        out.coefficients[c + i] = b as f32;
        out.coefficients[2 * c + i] = (-scale * sum / count as f64 - b * mean) as f32;
        if let Some(w) = out.weight.as_deref_mut() {
            w[i] = product as f32;
        }
        if let Some(b) = out.bias.as_deref_mut() {
            b[i] = sum as f32;
        }
    }
}

/// The gradient of an operand of a pooling or resizing operation: filled image by image, then finished with
/// the rectifier and the normalisation's sums. It is filled in 32 bits, elsewhere where it is stored in less, as an
/// element is a sum of many.
pub(crate) struct ImageSink<'a, X> {
    grad: Shared<'a, X>,
    accumulate: bool,
    raw: &'a [X],
    load: Load<'a>,
    /// Mean row, when sums are wanted.
    mean: Option<&'a [f32]>,
    image: usize,
}

impl<'a, X: Value> ImageSink<'a, X> {
    /// `image`: values of an image; `rows`: the operand's normalisation.
    pub(crate) fn new(
        grad: &'a mut [X],
        accumulate: bool,
        raw: &'a [X],
        load: Load<'a>,
        rows: Option<&'a [f32]>,
        image: usize,
        channels: usize,
    ) -> Self {
        let mean = rows.map(|t| &t[norm::MEAN * channels..(norm::MEAN + 1) * channels]);
        ImageSink { grad: Shared::new(grad), accumulate, raw, load, mean, image }
    }

    /// The raw values of image `n`.
    pub(crate) fn raw(&self, n: usize) -> &'a [X] {
        &self.raw[n * self.image..(n + 1) * self.image]
    }

    /// The gradient of image `n`: `fill` adds to it, then the rectifier is applied and `[2][c]` sums are added to.
    /// `room`: an image's floats, where the gradient is not of floats itself.
    ///
    /// # Safety
    /// One user per image.
    pub(crate) unsafe fn image(
        &self,
        isa: Isa,
        n: usize,
        room: &mut [f32],
        sums: &mut [f64],
        fill: impl FnOnce(&mut [f32]),
    ) {
        // SAFETY: images are disjoint.
        let out = unsafe { self.grad.part(n * self.image..(n + 1) * self.image) };
        if let Some(grad) = X::floats_mut(out) {
            if !self.accumulate {
                grad.fill(0.0);
            }
            fill(grad);
            finish_image(isa, self.load, self.mean, self.raw(n), grad, sums);
            return;
        }
        if self.accumulate {
            widen(out, room);
        } else {
            room.fill(0.0);
        }
        fill(room);
        finish_image(isa, self.load, self.mean, self.raw(n), room, sums);
        narrow(room, out);
    }
}

kernel! {
    /// The sums are those of the gradient as it will be stored.
    fn finish_image<S, X>(load: Load<'_>, mean: Option<&[f32]>, raw: &[X], grad: &mut [f32], sums: &mut [f64]) {
        let _ = S::LANES;
        for g in grad.iter_mut() {
            *g = X::narrow(*g).wide();
        }
        if load.relu {
            match load.affine() {
                None => {
                    for (g, x) in grad.iter_mut().zip(raw) {
                        *g = if x.wide() > 0.0 { *g } else { 0.0 };
                    }
                }
                Some((scale, shift)) => {
                    let c = scale.len();
                    for (g, x) in grad.chunks_exact_mut(c).zip(raw.chunks_exact(c)) {
                        for (((g, x), a), b) in g.iter_mut().zip(x).zip(scale).zip(shift) {
                            *g = if x.wide() * a + b > 0.0 { *g } else { 0.0 };
                        }
                    }
                }
            }
        }
        if let Some(mean) = mean {
            let c = mean.len();
            let (sum, product) = sums.split_at_mut(c);
            for (g, x) in grad.chunks_exact(c).zip(raw.chunks_exact(c)) {
                for ((((g, x), m), s), p) in g.iter().zip(x).zip(mean).zip(&mut *sum).zip(&mut *product) {
                    *s += f64::from(*g);
                    *p += f64::from(g * (x.wide() - m));
                }
            }
        }
    }
}
