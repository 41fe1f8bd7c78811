//! Every backward reference against central differences of its forward reference.

use crate::common::random::Random;
use mlaan_engine::ops::{Conv2dParams, Gelu, NormConstants, PixelScale};
use mlaan_engine::reference::{self, Normalisation};

/// Compares `gradient` with the central differences of `f` at `x`.
fn check(what: &str, x: &[f64], gradient: &[f64], f: impl Fn(&[f64]) -> f64) {
    const STEP: f64 = 1e-5;
    assert_eq!(x.len(), gradient.len(), "{what}");
    let size = gradient.iter().fold(1e-3_f64, |a, b| a.max(b.abs()));
    let mut moved = x.to_vec();
    for i in 0..x.len() {
        let mut at = |v: f64| {
            moved[i] = v;
            let y = f(&moved);
            moved[i] = x[i];
            y
        };
        let difference = (at(x[i] + STEP) - at(x[i] - STEP)) / (2.0 * STEP);
        let error = (difference - gradient[i]).abs() / size;
        assert!(error < 1e-6, "{what}: element {i} is {}, differences say {difference}", gradient[i]);
    }
}

/// A scalar of a result, so that its gradient with respect to the result is `along`.
fn project(y: &[f64], along: &[f64]) -> f64 {
    assert_eq!(y.len(), along.len());
    y.iter().zip(along).map(|(a, b)| a * b).sum()
}

#[test]
fn of_a_convolution() {
    let mut random = Random::new(1);
    for (extents, out, window) in [
        ([2, 5, 4, 3], 2, Conv2dParams { kernel: 3, stride: 1, pad: 1 }),
        ([1, 6, 7, 2], 3, Conv2dParams { kernel: 3, stride: 2, pad: 0 }),
        ([2, 4, 5, 1], 2, Conv2dParams { kernel: 2, stride: 3, pad: 0 }),
        ([1, 7, 8, 2], 1, Conv2dParams { kernel: 7, stride: 2, pad: 3 }),
        ([3, 1, 1, 5], 4, Conv2dParams { kernel: 1, stride: 1, pad: 0 }),
    ] {
        let k = window.kernel;
        let x = random.doubles(extents.iter().product());
        let w = random.doubles(out * extents[3] * k * k);
        let b = random.doubles(out);
        let y = |x: &[f64], w: &[f64], b: &[f64]| reference::convolve(x, extents, w, out, Some(b), window);
        let dy = random.doubles(y(&x, &w, &b).len());
        let grad = reference::convolve_backward(&x, extents, &w, out, &dy, window);
        check("input", &x, &grad.x, |x| project(&y(x, &w, &b), &dy));
        check("weight", &w, &grad.weight, |w| project(&y(&x, w, &b), &dy));
        check("bias", &b, &grad.bias, |b| project(&y(&x, &w, b), &dy));
    }
}

#[test]
fn of_a_normalisation_by_a_batch_and_by_its_coefficients() {
    let mut random = Random::new(2);
    for (pixels, channels) in [(6, 3), (13, 1), (2, 5)] {
        let x = random.doubles(pixels * channels);
        let (weight, bias) = (random.doubles(channels), random.doubles(channels));
        let dy = random.doubles(x.len());
        let norm = |x: &[f64], weight: &[f64], bias: &[f64]| {
            let batch = reference::mean_and_variance(x, channels);
            Normalisation::new(&batch, weight, bias, NormConstants::default())
        };
        let f = |x: &[f64], w: &[f64], b: &[f64]| project(&norm(x, w, b).apply(x), &dy);
        let ready = norm(&x, &weight, &bias);
        let (dx, sums) = (ready.backward(&x, &dy), ready.sums(&x, &dy));
        check("input", &x, &dx, |x| f(x, &weight, &bias));
        check("weight", &weight, &sums.weight, |w| f(&x, w, &bias));
        check("bias", &bias, &sums.bias, |b| f(&x, &weight, b));
        let by_coefficients = reference::incoming(&dy, &x, &ready.coefficients(&sums, pixels));
        check("coefficients", &x, &by_coefficients, |x| f(x, &weight, &bias));
    }
}

#[test]
fn of_a_rectified_operand() {
    let mut random = Random::new(3);
    let x = random.doubles(24);
    let norm = Normalisation { scale: vec![-0.8], shift: vec![0.1], mean: vec![0.0], inv_std: vec![1.0] };
    let dy = random.doubles(24);
    let normalised = norm.apply(&x);
    let grad = reference::load_backward(&x, Some(&norm), true, &dy);
    // The gradient is the one after the normalisation: differences are taken there.
    check("operand", &normalised, &grad, |v| project(&reference::load(v, None, true), &dy));
    assert_eq!(reference::load(&x, Some(&norm), true), reference::load(&normalised, None, true));
    assert_eq!(reference::load_backward(&x, None, false, &dy), dy);
}

#[test]
fn of_a_join() {
    let mut random = Random::new(4);
    let (a, b, dy) = (random.doubles(30), random.doubles(30), random.doubles(30));
    let grad = reference::add_backward(&dy, &reference::add(&a, Some(&b), true));
    check("first", &a, &grad, |a| project(&reference::add(a, Some(&b), true), &dy));
    check("second", &b, &grad, |b| project(&reference::add(&a, Some(b), true), &dy));
    check("plain", &a, &dy, |a| project(&reference::add(a, Some(&b), false), &dy));
}

#[test]
fn of_maximum_pooling() {
    let mut random = Random::new(5);
    for (extents, window) in [
        ([2, 7, 5, 3], Conv2dParams { kernel: 3, stride: 2, pad: 1 }),
        ([1, 4, 6, 2], Conv2dParams { kernel: 2, stride: 2, pad: 0 }),
        ([1, 5, 5, 1], Conv2dParams { kernel: 3, stride: 1, pad: 1 }),
    ] {
        let x = random.doubles(extents.iter().product());
        let maxima = reference::max_pool(&x, extents, window);
        let dy = random.doubles(maxima.values.len());
        let dx = reference::max_pool_backward(&maxima, &dy, x.len());
        check("input", &x, &dx, |x| project(&reference::max_pool(x, extents, window).values, &dy));
    }
}

#[test]
fn the_first_of_equal_maxima_takes_all_and_the_border_nothing() {
    let window = Conv2dParams { kernel: 3, stride: 2, pad: 1 };
    let maxima = reference::max_pool(&[-1.0; 16], [1, 4, 4, 1], window);
    assert_eq!(maxima.values, [-1.0; 4]);
    assert_eq!(maxima.positions, [0, 1, 4, 5]);
    assert_eq!(
        reference::max_pool_backward(&maxima, &[1.0, 2.0, 3.0, 4.0], 16)[..6],
        [1.0, 2.0, 0.0, 0.0, 3.0, 4.0]
    );
}

#[test]
fn of_average_pooling_and_resizing() {
    let mut random = Random::new(6);
    for (extents, height, width) in [
        ([2, 7, 5, 3], 1, 1),
        ([1, 7, 5, 2], 3, 2),
        ([2, 2, 3, 1], 5, 7),
        ([1, 1, 4, 2], 3, 4),
        ([1, 6, 1, 2], 2, 3),
    ] {
        let x = random.doubles(extents.iter().product());
        let dy = random.doubles(extents[0] * height * width * extents[3]);
        let dx = reference::average_pool_backward(&dy, extents, height, width);
        check("average", &x, &dx, |x| project(&reference::average_pool(x, extents, height, width), &dy));
        let dx = reference::resize_backward(&dy, extents, height, width);
        check("resize", &x, &dx, |x| project(&reference::resize(x, extents, height, width), &dy));
    }
}

#[test]
fn of_the_losses() {
    let mut random = Random::new(7);
    let labels = [0, 2, 1, 2, 0, 4];
    let x: Vec<f64> = random.doubles(6 * 5).iter().map(|v| 3.0 * v).collect();
    let grad = reference::cross_entropy(&x, &labels).grad;
    check("cross-entropy", &x, &grad, |x| reference::cross_entropy(x, &labels).value);
    let (other, share) = ([1, 2, 0, 3, 4, 0], [0.5, 0.9, 0.0, 1.0, 0.7, 0.25]);
    let mixed = |x: &[f64]| reference::mixed_cross_entropy(x, &labels, &other, &share);
    check("of mixtures", &x, &mixed(&x).grad, |x| mixed(x).value);
    let weights = [0.5, 2.0, 1.25, 3.0, 0.1];
    for mixed in [None, Some((&other[..], &share[..]))] {
        let smoothed = |x: &[f64]| reference::cross_entropy_with(x, &labels, mixed, (0.1, &weights));
        check("smoothed and weighted", &x, &smoothed(&x).grad, |x| smoothed(x).value);
    }
    for temperature in [0.07, 0.5, 1.0] {
        let grad = reference::contrastive(&x, &labels, temperature).grad;
        check("contrastive", &x, &grad, |x| reference::contrastive(x, &labels, temperature).value);
    }
    let scale = PixelScale { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] };
    let images = random.doubles(30);
    let grad = reference::reconstruction(&x, &images, scale).grad;
    check("reconstruction", &x, &grad, |x| reference::reconstruction(x, &images, scale).value);
}

#[test]
fn of_gelu() {
    let mut random = Random::new(8);
    let x: Vec<f64> = random.doubles(40).iter().map(|v| 4.0 * v).collect();
    let dy = random.doubles(40);
    for form in [Gelu::Exact, Gelu::Tanh] {
        let dx = reference::gelu_backward(&x, form, &dy);
        check(&format!("{form:?}"), &x, &dx, |x| project(&reference::gelu(x, form), &dy));
    }
}
