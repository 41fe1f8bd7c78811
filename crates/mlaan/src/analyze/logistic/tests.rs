use super::*;
use crate::rng::{RandomStream, Rng};

/// Correlated features of overlapping classes, one of them constant.
fn made(n: usize, width: usize, classes: usize, shift: f32) -> (Vec<f32>, Vec<u32>) {
    let mut rng = Rng::new(7, RandomStream::Shuffle, 0, 0);
    let labels: Vec<u32> = (0..n).map(|i| (i * 7 % classes) as u32).collect();
    let mut values = Vec::new();
    for &label in &labels {
        let common = rng.uniform() as f32;
        for j in 0..width {
            let own = if j % classes == label as usize { 0.4 } else { 0.0 };
            let x = shift + (1 + j) as f32 * (5.0 * common + own + rng.uniform() as f32);
            values.push(if j == 3 { 2.5 } else { x });
        }
    }
    (values, labels)
}

#[test]
fn the_gradient_vanishes_and_is_the_values() {
    let (values, labels) = made(300, 6, 3, 0.0);
    let rows = Rows { width: 6, values: &values, labels: &labels };
    let fit = fit(rows, 3, 1.0);
    assert!(fit.converged && fit.iterations < 200, "{}", fit.iterations);
    let objective = Objective { rows, scale: &fit.scale, classes: 3, penalty: 1.0 / 300.0 };
    let mut g = vec![0.0; fit.weights.len()];
    let mut other = fit.weights.clone();
    other.iter_mut().enumerate().for_each(|(i, w)| *w += 0.1 * (i as f64).sin());
    let at = objective.at(&other, &mut g);
    assert!(at > fit.loss);
    for i in [0, 5, 19] {
        let moved = |by: f64| {
            let mut w = other.clone();
            w[i] += by;
            objective.at(&w, &mut vec![0.0; w.len()])
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((difference - g[i]).abs() < 1e-8, "{difference} {}", g[i]);
    }
}

#[test]
fn units_of_features_do_not_matter_and_threads_change_no_bit() {
    let (values, labels) = made(257, 5, 4, 0.0);
    let scaled: Vec<f32> =
        values.iter().enumerate().map(|(i, v)| v * [1.0, 8.0, 0.25, 2.0, 1.0][i % 5]).collect();
    let run = |values: &[f32], threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rows = Rows { width: 5, values, labels: &labels };
        pool.install(|| {
            let f = fit(rows, 4, 0.5);
            (f.loss, f.wrong(rows), f.weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>())
        })
    };
    let one = run(&values, 1);
    assert!(one == run(&values, 2) && one == run(&values, 3));
    let other = run(&scaled, 2);
    assert!((other.0 - one.0).abs() < 1e-12 && other.1 == one.1);
}

#[test]
fn what_a_line_separates_is_learnt_and_noise_is_not() {
    let values: Vec<f32> = (0..200).flat_map(|i| [i as f32, (i * 37 % 11) as f32]).collect();
    let labels: Vec<u32> = (0..200).map(|i| u32::from(i >= 100)).collect();
    let rows = Rows { width: 2, values: &values, labels: &labels };
    // A weak penalty: the optimum lies far out.
    let far = fit(rows, 2, 1e4);
    assert!(far.converged);
    assert_eq!(far.wrong(rows), 0);
    let constant = vec![1.5; 400];
    let blind = fit(Rows { width: 2, values: &constant, labels: &labels }, 2, 1.0);
    assert!(blind.converged && (blind.loss - 2f64.ln()).abs() < 1e-12);
}

#[test]
fn a_factor_solves() {
    let mut a = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 6.0];
    factor(&mut a, 3);
    // Two columns, of which the product with the matrix is known.
    let mut x = vec![4.0 + 4.0 + 3.0, 4.0, 2.0 + 10.0 + 9.0, 2.0, 1.0 + 6.0 + 18.0, 1.0];
    solve(&a, 3, &mut x);
    for (x, y) in x.iter().zip([1.0, 1.0, 2.0, 0.0, 3.0, 0.0]) {
        assert!((x - y).abs() < 1e-12, "{x} {y}");
    }
}
