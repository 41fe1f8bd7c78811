//! Updates and copies on every device against the reference.

use crate::common::check::{Expected, FORWARD, Results, check, check_again, check_stored, check_threads};
use crate::common::random::Random;
use crate::common::values::{rounded, stored, stored_target, target, tensor, wide};
use mlaan_engine::ops::Sgd;
use mlaan_engine::reference;
use mlaan_engine::{Device, MemoryCategory, Precision};

const LENGTHS: [usize; 18] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1000, 4097, 33_333, 150_001];

fn values(n: usize) -> [Vec<f32>; 3] {
    let mut random = Random::new(n as u64);
    [random.floats(n), random.floats(n), random.floats(n)]
}

/// Three steps with these options.
fn sgd(device: &Device, &(n, options): &(usize, Sgd)) -> Results {
    let [p, g, _] = values(n);
    let (mut p, g) = (tensor(device, [n], &p), tensor(device, [n], &g));
    let mut v = device.full([n], 0.0, MemoryCategory::Optimiser).unwrap();
    for _ in 0..3 {
        device.sgd(&mut p, &g, &mut v, options).unwrap();
    }
    vec![("p".into(), device.download(&p).unwrap()), ("v".into(), device.download(&v).unwrap())]
}

fn expect_sgd(&(n, options): &(usize, Sgd)) -> Vec<Expected> {
    let [p, g, _] = values(n);
    let (mut p, g, mut v) = (wide(&p), wide(&g), vec![0.0; n]);
    for _ in 0..3 {
        reference::sgd(&mut p, &g, &mut v, options);
    }
    vec![Expected::new("p", p, FORWARD), Expected::new("v", v, FORWARD)]
}

fn sgd_cases() -> Vec<(usize, Sgd)> {
    let options = |momentum, weight_decay, nesterov| Sgd { lr: 0.1, momentum, weight_decay, nesterov };
    let all = [
        options(0.9, 1e-4, true),
        options(0.9, 5e-2, false),
        options(0.0, 0.0, false),
        options(0.0, 1e-4, true),
    ];
    LENGTHS.iter().flat_map(|&n| all.map(|o| (n, o))).collect()
}

#[test]
fn descent() {
    check(&sgd_cases(), sgd, expect_sgd);
}

fn blend(device: &Device, &n: &usize) -> Results {
    let [a, b, _] = values(n);
    let b = tensor(device, [n], &b);
    let mut results = Results::new();
    for m in [0.0, 0.5, 0.995, 1.0] {
        let mut mean = tensor(device, [n], &a);
        device.ema(&mut mean, &b, m).unwrap();
        results.push((format!("ema {m}"), device.download(&mean).unwrap()));
    }
    let mut sum = tensor(device, [n], &a);
    device.add_assign(&mut sum, &b).unwrap();
    results.push(("sum".into(), device.download(&sum).unwrap()));
    let mut copied = target(device, [n]);
    device.copy(&mut copied, &b).unwrap();
    results.push(("copy".into(), device.download(&copied).unwrap()));
    device.fill(&mut copied, -2.5).unwrap();
    results.push(("fill".into(), device.download(&copied).unwrap()));
    results
}

/// Sums and copies of activations' gradients.
fn total(device: &Device, &n: &usize) -> Results {
    let [a, b, _] = values(n);
    let (mut sum, b) = (stored(device, [n], &a), stored(device, [n], &b));
    device.add_assign(&mut sum, &b).unwrap();
    let mut copied = stored_target(device, [n]);
    device.copy(&mut copied, &b).unwrap();
    let mut filled = stored_target(device, [n]);
    device.fill(&mut filled, -2.5).unwrap();
    let all = [("sum", sum), ("copy", copied), ("fill", filled)];
    all.map(|(name, t)| (name.to_string(), device.download(&t).unwrap())).into()
}

fn expect_total(&n: &usize, precision: Precision) -> Vec<Expected> {
    let [a, b, _] = values(n).map(|v| wide(&v));
    let sum: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    let all = [("sum", rounded(&sum, precision)), ("copy", b), ("fill", vec![-2.5; n])];
    all.map(|(name, values)| Expected::new(name, values, 0.0)).into()
}

#[test]
fn sums_and_copies_in_every_precision() {
    check_stored(&LENGTHS, total, expect_total);
}

fn expect_blend(&n: &usize) -> Vec<Expected> {
    let [a, b, _] = values(n).map(|v| wide(&v));
    let mean = |m: f32| {
        let mut mean = a.clone();
        reference::ema(&mut mean, &b, f64::from(m));
        Expected::new(&format!("ema {m}"), mean, FORWARD)
    };
    let mut expected: Vec<Expected> = [0.0, 0.5, 0.995, 1.0].map(mean).into();
    let sum = a.iter().zip(&b).map(|(a, b)| a + b).collect();
    expected.push(Expected::new("sum", sum, 0.0));
    expected.push(Expected::new("copy", b.clone(), 0.0));
    expected.push(Expected::new("fill", vec![-2.5; n], 0.0));
    expected
}

#[test]
fn means_sums_and_copies() {
    check(&LENGTHS, blend, expect_blend);
}

/// Steps of a network of this many small parameters, as a run asks for them: everything that may be done at once, and
/// what depends on it right behind.
fn together(device: &Device, &parameters: &usize) -> Results {
    let lengths = || (0..parameters).map(|i| 1 + i * 37 % 2500);
    let all = |which: usize| lengths().map(|n| tensor(device, [n], &values(n)[which])).collect::<Vec<_>>();
    let (mut weights, gradients, mut shadows) = (all(0), all(1), all(2));
    let mut velocities: Vec<_> =
        lengths().map(|n| device.full([n], 0.0, MemoryCategory::Optimiser).unwrap()).collect();
    for lr in [0.1, 0.01] {
        let options = Sgd { lr, momentum: 0.9, weight_decay: 1e-3, nesterov: true };
        for ((p, g), v) in weights.iter_mut().zip(&gradients).zip(&mut velocities) {
            device.sgd(p, g, v, options).unwrap();
        }
        for (shadow, p) in shadows.iter_mut().zip(&weights) {
            device.ema(shadow, p, 0.9).unwrap();
        }
    }
    // A chain: each average reads the one before it.
    let last = parameters - 1;
    let mut chain = [0.5, 0.25].map(|x| device.full([weights[last].len()], x, MemoryCategory::Data).unwrap());
    let [first, second] = &mut chain;
    device.ema(first, &shadows[last], 0.5).unwrap();
    device.ema(second, first, 0.5).unwrap();
    let options = Sgd { lr: 1.0, momentum: 0.5, weight_decay: 0.0, nesterov: false };
    // Twice the same parameter, then with what came of it as a gradient.
    let (mut a, mut b) = (tensor(device, [3], &[1.0, 2.0, 3.0]), tensor(device, [3], &[0.0; 3]));
    let [mut u, mut v] = [0, 1].map(|_| device.full([3], 0.0, MemoryCategory::Optimiser).unwrap());
    let g = tensor(device, [3], &[1.0, 1.0, 1.0]);
    device.sgd(&mut a, &g, &mut u, options).unwrap();
    device.sgd(&mut a, &g, &mut u, options).unwrap();
    device.sgd(&mut b, &a, &mut v, options).unwrap();
    let mut results = Results::new();
    for (name, tensors) in [("p", &weights), ("v", &velocities), ("shadow", &shadows)] {
        let each = tensors.iter().flat_map(|t| device.download(t).unwrap());
        results.push((name.into(), each.collect()));
    }
    let rest = [("first", &chain[0]), ("second", &chain[1]), ("a", &a), ("b", &b)];
    results.extend(rest.map(|(name, t)| (name.to_string(), device.download(t).unwrap())));
    results
}

fn expect_together(&parameters: &usize) -> Vec<Expected> {
    let lengths = || (0..parameters).map(|i| 1 + i * 37 % 2500);
    let all = |which: usize| lengths().map(|n| wide(&values(n)[which])).collect::<Vec<_>>();
    let (mut weights, gradients, mut shadows) = (all(0), all(1), all(2));
    let mut velocities: Vec<_> = lengths().map(|n| vec![0.0; n]).collect();
    for lr in [0.1, 0.01] {
        let options = Sgd { lr, momentum: 0.9, weight_decay: 1e-3, nesterov: true };
        for (((p, g), v), shadow) in weights.iter_mut().zip(&gradients).zip(&mut velocities).zip(&mut shadows)
        {
            reference::sgd(p, g, v, options);
            reference::ema(shadow, p, f64::from(0.9f32));
        }
    }
    let last = &shadows[parameters - 1];
    let [mut first, mut second] = [0.5, 0.25].map(|x| vec![x; last.len()]);
    reference::ema(&mut first, last, 0.5);
    reference::ema(&mut second, &first, 0.5);
    let all = [("p", &weights), ("v", &velocities), ("shadow", &shadows)];
    let mut expected: Vec<Expected> =
        all.map(|(name, values)| Expected::new(name, values.concat(), FORWARD)).into();
    let a = vec![-1.5, -0.5, 0.5];
    let b = a.iter().map(|x| -x).collect();
    let rest = [("first", first), ("second", second), ("a", a), ("b", b)];
    expected.extend(rest.map(|(name, values)| Expected::new(name, values, FORWARD)));
    expected
}

#[test]
fn many_parameters_together() {
    check(&[1, 2, 63, 64, 65, 200], together, expect_together);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&sgd_cases(), sgd);
    check_again(&LENGTHS, blend);
    check_again(&[150], together);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&sgd_cases(), sgd);
    check_threads(&LENGTHS, blend);
    check_threads(&LENGTHS, total);
}
