//! Adaptive average pooling and bilinear resizing: linear maps of the pixels of each image, along height
//! and width in turn, so that each is defined by how one row of pixels maps to another.

use super::{Extents, at};

/// How much of each input pixel goes into an output pixel.
type Parts = Vec<(usize, f64)>;

/// PyTorch's adaptive windows: output i averages floor(i · from / to) .. ceil((i + 1) · from / to).
fn averages(from: usize, to: usize, i: usize) -> Parts {
    let window = i * from / to..((i + 1) * from).div_ceil(to);
    let part = 1.0 / window.len() as f64;
    window.map(|j| (j, part)).collect()
}

/// Aligned corners: output i lies at i · (from - 1) / (to - 1), between two input pixels.
fn between(from: usize, to: usize, i: usize) -> Parts {
    let (position, steps) = (i * (from - 1), (to - 1).max(1));
    let (left, rest) = (position / steps, (position % steps) as f64 / steps as f64);
    vec![(left, 1.0 - rest), ((left + 1).min(from - 1), rest)]
}

/// Calls `visit` with output position, input position and factor of every product of the map.
fn products(
    x: Extents,
    height: usize,
    width: usize,
    parts: fn(usize, usize, usize) -> Parts,
    mut visit: impl FnMut(usize, usize, f64),
) {
    let y = [x[0], height, width, x[3]];
    for (oh, ow) in (0..height * width).map(|p| (p / width, p % width)) {
        for (h, part_h) in parts(x[1], height, oh) {
            for (w, part_w) in parts(x[2], width, ow) {
                for (n, c) in (0..x[0] * x[3]).map(|i| (i / x[3], i % x[3])) {
                    visit(at(y, [n, oh, ow, c]), at(x, [n, h, w, c]), part_h * part_w);
                }
            }
        }
    }
}

/// Adaptive average pooling of `x` to `[n, height, width, c]`.
pub fn average_pool(x: &[f64], extents: Extents, height: usize, width: usize) -> Vec<f64> {
    let mut y = vec![0.0; extents[0] * height * width * extents[3]];
    products(extents, height, width, averages, |i, j, part| y[i] += part * x[j]);
    y
}

/// The gradient of [`average_pool`] with respect to an input of `extents`.
pub fn average_pool_backward(dy: &[f64], extents: Extents, height: usize, width: usize) -> Vec<f64> {
    let mut dx = vec![0.0; extents.iter().product()];
    products(extents, height, width, averages, |i, j, part| dx[j] += part * dy[i]);
    dx
}

/// Bilinear resizing of `x` to `[n, height, width, c]`, corners aligned.
pub fn resize(x: &[f64], extents: Extents, height: usize, width: usize) -> Vec<f64> {
    let mut y = vec![0.0; extents[0] * height * width * extents[3]];
    products(extents, height, width, between, |i, j, part| y[i] += part * x[j]);
    y
}

/// The gradient of [`resize`] with respect to an input of `extents`.
pub fn resize_backward(dy: &[f64], extents: Extents, height: usize, width: usize) -> Vec<f64> {
    let mut dx = vec![0.0; extents.iter().product()];
    products(extents, height, width, between, |i, j, part| dx[j] += part * dy[i]);
    dx
}
