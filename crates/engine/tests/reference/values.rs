//! The reference at values that can be worked out by hand.

use mlaan_engine::ops::{Conv2dParams, Gelu, NormConstants, PixelScale, Sgd};
use mlaan_engine::reference::{self, Statistics};

fn close(actual: &[f64], expected: &[f64]) {
    let near = actual.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-6);
    assert!(near && actual.len() == expected.len(), "{actual:?}, expected {expected:?}");
}

#[test]
fn a_convolution_sums_its_window() {
    let x: Vec<f64> = (1..=9).map(f64::from).collect();
    let ones = Conv2dParams { kernel: 3, stride: 2, pad: 1 };
    close(&reference::convolve(&x, [1, 3, 3, 1], &[1.0; 9], 1, None, ones), &[12.0, 16.0, 24.0, 28.0]);
    // Weights [out, in]: two outputs of two inputs.
    let linear = Conv2dParams { kernel: 1, stride: 1, pad: 0 };
    let y = reference::convolve(
        &[1.0, 2.0],
        [1, 1, 1, 2],
        &[1.0, 10.0, 100.0, 1000.0],
        2,
        Some(&[0.5, 0.0]),
        linear,
    );
    close(&y, &[21.5, 2100.0]);
    // A kernel that is 1 at its upper right corner moves the image down and left.
    let corner = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let y = reference::convolve(
        &x,
        [1, 3, 3, 1],
        &corner,
        1,
        None,
        Conv2dParams { kernel: 3, stride: 1, pad: 1 },
    );
    close(&y, &[0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
}

#[test]
fn statistics_are_biased_in_the_batch_and_unbiased_when_running() {
    let batch = reference::mean_and_variance(&[1.0, 10.0, 3.0, 10.0], 2);
    close(&batch.mean, &[2.0, 10.0]);
    close(&batch.variance, &[1.0, 0.0]);
    let old = Statistics { mean: vec![0.0; 2], variance: vec![1.0; 2] };
    let new = reference::running(&old, &batch, 2, NormConstants::default());
    close(&new.mean, &[0.2, 1.0]);
    close(&new.variance, &[1.1, 0.9]);
}

#[test]
fn pools_and_resizing_follow_their_windows() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0];
    // Windows 0..2, 1..4, 3..5.
    close(&reference::average_pool(&x, [1, 1, 5, 1], 1, 3), &[1.5, 3.0, 4.5]);
    close(&reference::average_pool(&x, [1, 5, 1, 1], 1, 1), &[3.0]);
    close(&reference::resize(&x, [1, 1, 5, 1], 1, 3), &[1.0, 3.0, 5.0]);
    close(&reference::resize(&[0.0, 3.0], [1, 2, 1, 1], 4, 1), &[0.0, 1.0, 2.0, 3.0]);
    close(&reference::resize(&x, [1, 1, 5, 1], 1, 1), &[1.0]);
    let maxima = reference::max_pool(&x, [1, 1, 5, 1], Conv2dParams { kernel: 3, stride: 2, pad: 1 });
    close(&maxima.values, &[2.0, 4.0, 5.0]);
}

#[test]
fn losses() {
    let loss = reference::cross_entropy(&[0.0, 0.0, 0.0, 3.0_f64.ln()], &[1, 1]);
    close(&[loss.value], &[(2.0_f64.ln() + (4.0 / 3.0_f64).ln()) / 2.0]);
    // Of equal logits the first counts as the answer.
    assert_eq!(loss.wrong, 1);
    // Two pairs at right angles: each sample's partner has similarity 1, the two others 0.
    let features = [2.0, 0.0, 0.0, 3.0, 1.0, 0.0, 0.0, 0.5];
    let loss = reference::contrastive(&features, &[7, 8, 7, 8], 1.0);
    close(&[loss.value], &[(1.0 + 2.0 / 1.0_f64.exp()).ln()]);
    assert_eq!(reference::contrastive(&features, &[1, 2, 3, 4], 1.0).value, 0.0);
    let scale = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let loss = reference::reconstruction(&[0.0, 100.0, -100.0], &[1.0, 2.0, -2.0], scale);
    close(&[loss.value], &[2.0_f64.ln() / 3.0]);
}

#[test]
fn updates() {
    let (mut p, mut v) = ([1.0], [1.0]);
    let nesterov = Sgd { lr: 0.5, momentum: 0.5, weight_decay: 0.25, nesterov: true };
    // g = 1 + 0.25; v = 0.5 + 1.25; p = 1 - 0.5 · (1.25 + 0.875).
    reference::sgd(&mut p, &[1.0], &mut v, nesterov);
    close(&[p[0], v[0]], &[-0.0625, 1.75]);
    let mut mean = [1.0];
    reference::ema(&mut mean, &[3.0], 0.75);
    close(&mean, &[1.5]);
    let scale = PixelScale { mean: [0.5, 0.0, 1.0], std: [0.5, 1.0, 0.25] };
    close(&reference::images_from_bytes(&[255, 0, 51], scale), &[1.0, 0.0, -3.2]);
}

#[test]
fn gelu_is_pytorchs() {
    // torch.nn.functional.gelu and its gradient, PyTorch 2.11 in 64 bits.
    let x = [-4.5, -3.0, -2.0, -1.25, -1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 1.5, 2.5, 4.0, 9.0];
    let exact = [
        -1.528952906132419e-5,
        -0.00404969409489031,
        -0.04550026389635842,
        -0.1320622170835691,
        -0.158655253931457,
        -0.1542687693629934,
        -0.0460172162722971,
        0.0,
        0.0539827837277029,
        0.3457312306370066,
        0.841344746068543,
        1.399789198096713,
        2.48447583668556,
        3.999873315032668,
        9.0,
    ];
    let exact_slope = [
        -6.852916185633593e-5,
        -0.01194564720418392,
        -0.08523180107819692,
        -0.1226615830694222,
        -0.08331547058768635,
        0.1325048753438371,
        0.4204769079752698,
        0.5,
        0.5795230920247302,
        0.8674951246561629,
        1.083315470587686,
        1.12746919222998,
        1.037611085908145,
        1.000503649661227,
        1.0,
    ];
    let tanh = [
        -5.136737411925996e-6,
        -0.003637392081772994,
        -0.04540230591222494,
        -0.1322857970302854,
        -0.1588080093917233,
        -0.1542859901748561,
        -0.04601724895456484,
        0.0,
        0.05398275104543517,
        0.3457140098251439,
        0.8411919906082768,
        1.399571576980233,
        2.484915733910001,
        3.999929754051808,
        9.0,
    ];
    let tanh_slope = [
        -2.932227044256869e-5,
        -0.01158416663096965,
        -0.0860992566236183,
        -0.1224926322496486,
        -0.08296408384578258,
        0.1326300964653576,
        0.4204782107282433,
        0.5,
        0.5795217892717567,
        0.8673699035346424,
        1.082964083845783,
        1.127710793151433,
        1.037951576212666,
        1.000335123197122,
        1.0,
    ];
    for (form, y, slope) in [(Gelu::Exact, exact, exact_slope), (Gelu::Tanh, tanh, tanh_slope)] {
        let found = [reference::gelu(&x, form), reference::gelu_backward(&x, form, &[1.0; 15])];
        for (found, right) in found.iter().zip([y, slope]) {
            for ((x, found), right) in x.iter().zip(found).zip(right) {
                assert!((found - right).abs() < 1e-14, "{form:?} at {x}: {found}, not {right}");
            }
        }
    }
}
