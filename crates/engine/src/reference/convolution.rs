//! Convolution; a linear layer is a 1x1 convolution of 1x1 pixels.

use super::{Extents, at, under};
use crate::ops::Conv2dParams;

/// The gradients of [`convolve`].
#[derive(Clone, Debug, PartialEq)]
pub struct ConvolutionGrad {
    /// Of the input, `[n, h, w, in]`.
    pub x: Vec<f64>,
    /// Of the weights, `[out, in, k, k]`.
    pub weight: Vec<f64>,
    /// Of the bias, `[out]`.
    pub bias: Vec<f64>,
}

fn output(x: Extents, out: usize, window: Conv2dParams) -> Extents {
    [x[0], window.output(x[1]), window.output(x[2]), out]
}

/// Calls `visit` with the positions in output, input and weights of every product of the convolution.
fn products(x: Extents, out: usize, window: Conv2dParams, mut visit: impl FnMut(usize, usize, usize)) {
    let (k, y) = (window.kernel, output(x, out, window));
    for [n, oh, ow, kh, kw] in places(y, k) {
        let (Some(h), Some(w)) = (under(window, oh, kh, x[1]), under(window, ow, kw, x[2])) else {
            continue;
        };
        for o in 0..out {
            for c in 0..x[3] {
                visit(at(y, [n, oh, ow, o]), at(x, [n, h, w, c]), at([out, x[3], k, k], [o, c, kh, kw]));
            }
        }
    }
}

/// Every output pixel with every tap of its window.
fn places(y: Extents, k: usize) -> impl Iterator<Item = [usize; 5]> {
    let pixels = (0..y[0] * y[1] * y[2]).map(move |p| [p / (y[1] * y[2]), p / y[2] % y[1], p % y[2]]);
    pixels.flat_map(move |[n, h, w]| (0..k * k).map(move |t| [n, h, w, t / k, t % k]))
}

/// `y[o] = bias[o] + Σ x[c] · weight[o, c]` over the window, zeros outside.
pub fn convolve(
    x: &[f64],
    extents: Extents,
    weight: &[f64],
    out: usize,
    bias: Option<&[f64]>,
    window: Conv2dParams,
) -> Vec<f64> {
    let mut y = vec![0.0; output(extents, out, window).iter().product()];
    for (i, y) in y.iter_mut().enumerate() {
        *y = bias.map_or(0.0, |b| b[i % out]);
    }
    products(extents, out, window, |i, j, k| y[i] += x[j] * weight[k]);
    y
}

/// The gradients of [`convolve`] for `dy` `[n, oh, ow, out]`.
pub fn convolve_backward(
    x: &[f64],
    extents: Extents,
    weight: &[f64],
    out: usize,
    dy: &[f64],
    window: Conv2dParams,
) -> ConvolutionGrad {
    let mut grad =
        ConvolutionGrad { x: vec![0.0; x.len()], weight: vec![0.0; weight.len()], bias: vec![0.0; out] };
    products(extents, out, window, |i, j, k| {
        grad.x[j] += dy[i] * weight[k];
        grad.weight[k] += dy[i] * x[j];
    });
    for (i, dy) in dy.iter().enumerate() {
        grad.bias[i % out] += dy;
    }
    grad
}
