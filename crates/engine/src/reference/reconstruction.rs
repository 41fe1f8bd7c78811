//! InfoPro's reconstruction loss (Wang et al. 2021, <https://arxiv.org/abs/2101.10832>).

use super::Loss;
use crate::ops::PixelScale;

/// Binary cross-entropy of sigmoid(`raw`) `[.., 3]` against pixels = images · std + mean, mean over all
/// values: -t · log s - (1 - t) · log(1 - s) = max(raw, 0) - raw · t + log(1 + exp(-|raw|)).
pub fn reconstruction(raw: &[f64], images: &[f64], scale: PixelScale) -> Loss {
    let n = raw.len() as f64;
    let mut loss = Loss { value: 0.0, wrong: 0, grad: Vec::with_capacity(raw.len()) };
    for (i, (&r, image)) in raw.iter().zip(images).enumerate() {
        let pixel = image * f64::from(scale.std[i % 3]) + f64::from(scale.mean[i % 3]);
        loss.value += (r.max(0.0) - r * pixel + (-r.abs()).exp().ln_1p()) / n;
        loss.grad.push((1.0 / (1.0 + (-r).exp()) - pixel) / n);
    }
    loss
}
