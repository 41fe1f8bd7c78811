//! Batch normalisation (Ioffe and Szegedy 2015, <https://arxiv.org/abs/1502.03167>).

use crate::ops::{NormConstants, norm};

/// Per-channel mean and variance, `[c]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Mean.
    pub mean: Vec<f64>,
    /// Variance; of a batch the biased one, of running statistics the unbiased one.
    pub variance: Vec<f64>,
}

/// Mean and biased variance of each channel of `x` `[pixels, c]`.
pub fn mean_and_variance(x: &[f64], channels: usize) -> Statistics {
    let pixels = (x.len() / channels) as f64;
    let per_channel = |f: &dyn Fn(usize, f64) -> f64| {
        let channel = |c| x.iter().skip(c).step_by(channels).map(|&v| f(c, v)).sum::<f64>() / pixels;
        (0..channels).map(channel).collect::<Vec<f64>>()
    };
    let mean = per_channel(&|_, v| v);
    let variance = per_channel(&|c, v| (v - mean[c]).powi(2));
    Statistics { mean, variance }
}

/// Running statistics after a batch of `count` values a channel: (1 - momentum) · old + momentum · batch,
/// with the unbiased variance (of a single value, 0).
pub fn running(old: &Statistics, batch: &Statistics, count: usize, constants: NormConstants) -> Statistics {
    let (m, count) = (f64::from(constants.momentum), count as f64);
    let move_to = |old: &[f64], new: &[f64], factor: f64| {
        old.iter().zip(new).map(|(o, n)| (1.0 - m) * o + m * factor * n).collect::<Vec<f64>>()
    };
    Statistics {
        mean: move_to(&old.mean, &batch.mean, 1.0),
        variance: move_to(&old.variance, &batch.variance, count / (count - 1.0).max(1.0)),
    }
}

/// A normalisation that is ready to apply; `[c]` each, rows of [`norm`].
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// weight · inv_std.
    pub scale: Vec<f64>,
    /// bias - mean · scale.
    pub shift: Vec<f64>,
    /// Mean.
    pub mean: Vec<f64>,
    /// 1 / sqrt(variance + eps).
    pub inv_std: Vec<f64>,
}

/// Gradients of a normalisation's parameters, `[c]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct NormSums {
    /// Σ dy · (x - mean) · inv_std.
    pub weight: Vec<f64>,
    /// Σ dy.
    pub bias: Vec<f64>,
}

impl Normalisation {
    /// From statistics and the parameters `[c]`.
    pub fn new(statistics: &Statistics, weight: &[f64], bias: &[f64], constants: NormConstants) -> Self {
        let eps = f64::from(constants.eps);
        let inv_std: Vec<f64> = statistics.variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        let scale: Vec<f64> = weight.iter().zip(&inv_std).map(|(w, s)| w * s).collect();
        let shift = (0..scale.len()).map(|c| bias[c] - statistics.mean[c] * scale[c]).collect();
        Normalisation { scale, shift, mean: statistics.mean.clone(), inv_std }
    }

    /// From the rows `[4, c]` of a normalisation tensor.
    pub fn from_rows(rows: &[f64]) -> Self {
        let c = rows.len() / norm::ROWS;
        let row = |r: usize| rows[r * c..(r + 1) * c].to_vec();
        Normalisation {
            scale: row(norm::SCALE),
            shift: row(norm::SHIFT),
            mean: row(norm::MEAN),
            inv_std: row(norm::INV_STD),
        }
    }

    /// The rows `[4, c]` of a normalisation tensor.
    pub fn rows(&self) -> Vec<f64> {
        [&self.scale[..], &self.shift, &self.mean, &self.inv_std].concat()
    }

    /// y = x · scale + shift for `x` `[pixels, c]`.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let c = self.scale.len();
        x.iter().enumerate().map(|(i, x)| x * self.scale[i % c] + self.shift[i % c]).collect()
    }

    fn normalised(&self, i: usize, x: f64) -> f64 {
        let c = i % self.mean.len();
        (x - self.mean[c]) * self.inv_std[c]
    }

    /// The gradients of weight and bias for `dy`, of the shape of `x`.
    pub fn sums(&self, x: &[f64], dy: &[f64]) -> NormSums {
        let c = self.mean.len();
        let mut sums = NormSums { weight: vec![0.0; c], bias: vec![0.0; c] };
        for (i, (x, dy)) in x.iter().zip(dy).enumerate() {
            sums.weight[i % c] += dy * self.normalised(i, *x);
            sums.bias[i % c] += dy;
        }
        sums
    }

    /// The gradient of `x` when mean and variance are the batch's own:
    /// dx = scale · (dy - mean(dy) - x̂ · mean(dy · x̂)), x̂ the normalised x.
    pub fn backward(&self, x: &[f64], dy: &[f64]) -> Vec<f64> {
        let (c, sums) = (self.mean.len(), self.sums(x, dy));
        let pixels = (x.len() / c) as f64;
        let pairs = x.iter().zip(dy).enumerate();
        pairs
            .map(|(i, (x, dy))| {
                let (mean_dy, mean_dy_x) = (sums.bias[i % c] / pixels, sums.weight[i % c] / pixels);
                self.scale[i % c] * (dy - mean_dy - self.normalised(i, *x) * mean_dy_x)
            })
            .collect()
    }

    /// [`Normalisation::backward`] sorted by dy and x: rows a, b, c `[3, c]` of dx = dy · a + x · b + c.
    pub fn coefficients(&self, sums: &NormSums, pixels: usize) -> Vec<f64> {
        let (pixels, channels) = (pixels as f64, 0..self.mean.len());
        let b: Vec<f64> =
            channels.clone().map(|c| -self.scale[c] * self.inv_std[c] * sums.weight[c] / pixels).collect();
        let c = channels.map(|c| -self.scale[c] * sums.bias[c] / pixels - b[c] * self.mean[c]).collect();
        [self.scale.clone(), b, c].concat()
    }
}
