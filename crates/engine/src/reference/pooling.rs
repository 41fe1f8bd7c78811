//! Maximum pooling.

use super::{Extents, at, under};
use crate::ops::Conv2dParams;

/// The result of [`max_pool`].
#[derive(Clone, Debug, PartialEq)]
pub struct Maxima {
    /// `[n, oh, ow, c]`.
    pub values: Vec<f64>,
    /// Where in the input each value was found.
    pub positions: Vec<usize>,
}

/// The largest value of each window, the first of equals; the border does not take part.
pub fn max_pool(x: &[f64], extents: Extents, window: Conv2dParams) -> Maxima {
    let [n, h, w, c] = extents;
    let y = [n, window.output(h), window.output(w), c];
    let mut maxima = Maxima { values: Vec::new(), positions: Vec::new() };
    for i in 0..y.iter().product() {
        let (n, oh, ow, c) = (i / (y[1] * y[2] * c), i / (y[2] * c) % y[1], i / c % y[2], i % c);
        let (mut value, mut position) = (f64::NEG_INFINITY, 0);
        for tap in 0..window.kernel * window.kernel {
            let (kh, kw) = (tap / window.kernel, tap % window.kernel);
            let (Some(h), Some(w)) = (under(window, oh, kh, h), under(window, ow, kw, w)) else {
                continue;
            };
            let p = at(extents, [n, h, w, c]);
            if x[p] > value {
                (value, position) = (x[p], p);
            }
        }
        maxima.values.push(value);
        maxima.positions.push(position);
    }
    maxima
}

/// The gradient of [`max_pool`], `length` long: each maximum's position takes all of its output's.
pub fn max_pool_backward(maxima: &Maxima, dy: &[f64], length: usize) -> Vec<f64> {
    let mut dx = vec![0.0; length];
    for (&p, dy) in maxima.positions.iter().zip(dy) {
        dx[p] += dy;
    }
    dx
}
