//! GELU (Hendrycks & Gimpel 2016, <https://arxiv.org/abs/1606.08415>).

use crate::ops::Gelu;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI, PI};

/// GELU of every value.
pub fn gelu(x: &[f64], form: Gelu) -> Vec<f64> {
    let of = |&x: &f64| match form {
        Gelu::Exact => x * below(x),
        Gelu::Tanh => x * logistic(2.0 * inner(x)),
    };
    x.iter().map(of).collect()
}

/// The gradient of [`gelu`].
pub fn gelu_backward(x: &[f64], form: Gelu, dy: &[f64]) -> Vec<f64> {
    let slope = |x: f64| match form {
        Gelu::Exact => below(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
        Gelu::Tanh => {
            let part = logistic(2.0 * inner(x));
            let rise = FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044_715 * x * x);
            part + 2.0 * x * part * logistic(-2.0 * inner(x)) * rise
        }
    };
    x.iter().zip(dy).map(|(&x, dy)| dy * slope(x)).collect()
}

/// (1 + tanh(u / 2)) / 2, without cancelling where that is next to 0.
fn logistic(u: f64) -> f64 {
    1.0 / (1.0 + (-u).exp())
}

fn inner(x: f64) -> f64 {
    FRAC_2_PI.sqrt() * (x + 0.044_715 * x.powi(3))
}

/// The part of a normal distribution below `x`.
fn below(x: f64) -> f64 {
    let above = 0.5 * above(x.abs() * FRAC_1_SQRT_2);
    if x < 0.0 { above } else { 1.0 - above }
}

/// The complementary error function of z >= 0.
fn above(z: f64) -> f64 {
    let bell = (-z * z).exp();
    if z < 2.0 {
        // Abramowitz and Stegun 7.1.6: all terms have one sign.
        let (mut term, mut sum) = (z, 0.0);
        for k in 1..100 {
            sum += term;
            term *= 2.0 * z * z / f64::from(2 * k + 1);
        }
        return 1.0 - FRAC_2_SQRT_PI * bell * sum;
    }
    // 7.1.14, from its end.
    let fraction = (1..200).rev().fold(z, |f, k| z + 0.5 * f64::from(k) / f);
    0.5 * FRAC_2_SQRT_PI * bell / fraction
}
