//! What is done to values while loading them, and the addition at the end of a residual block.

use super::Normalisation;

fn relu(v: f64) -> f64 {
    v.max(0.0)
}

/// The value of an operand: `x` `[.., c]`, normalised and rectified if asked.
pub fn load(x: &[f64], norm: Option<&Normalisation>, rectified: bool) -> Vec<f64> {
    let y = norm.map_or_else(|| x.to_vec(), |n| n.apply(x));
    if rectified { y.into_iter().map(relu).collect() } else { y }
}

/// From the gradient of an operand's value to the gradient before the rectifier and after the
/// normalisation: 0 where the rectifier gave 0.
pub fn load_backward(x: &[f64], norm: Option<&Normalisation>, rectified: bool, dy: &[f64]) -> Vec<f64> {
    let passes = load(x, norm, rectified);
    dy.iter().zip(passes).map(|(&g, v)| if rectified && v <= 0.0 { 0.0 } else { g }).collect()
}

/// A gradient with the backward of a normalisation behind it: dy · a + x · b + c, coefficients `[3, c]`.
pub fn incoming(dy: &[f64], x: &[f64], coefficients: &[f64]) -> Vec<f64> {
    let c = coefficients.len() / 3;
    let row = |r: usize, i: usize| coefficients[r * c + i % c];
    dy.iter().zip(x).enumerate().map(|(i, (g, x))| g * row(0, i) + x * row(1, i) + row(2, i)).collect()
}

/// a + b (or a alone), rectified if asked.
pub fn add(a: &[f64], b: Option<&[f64]>, rectified: bool) -> Vec<f64> {
    let sum: Vec<f64> = (0..a.len()).map(|i| a[i] + b.map_or(0.0, |b| b[i])).collect();
    load(&sum, None, rectified)
}

/// The gradient of both parts of a rectified addition with result `out`.
pub fn add_backward(dy: &[f64], out: &[f64]) -> Vec<f64> {
    load_backward(out, None, true, dy)
}
