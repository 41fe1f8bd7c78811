//! Normalisation and additions on every device against the reference.

use crate::common::check::{
    Expected, FORWARD, GRADIENT, Results, check, check_again, check_stored, check_threads, expected_sums,
    read_sums,
};
use crate::common::random::Random;
use crate::common::values::{Input, Sums, stored, tensor, wide};
use mlaan_engine::ops::{NormConstants, norm};
use mlaan_engine::reference::{self, Normalisation, Statistics};
use mlaan_engine::{Device, Precision};
use mlaan_host_cuda::with_new_kernels;

const CONSTANTS: [NormConstants; 3] = [
    NormConstants { eps: 1e-5, momentum: 0.1 },
    NormConstants { eps: 1e-3, momentum: 1.0 },
    NormConstants { eps: 1e-5, momentum: 0.0 },
];

/// Channels, values a channel, constants.
type NormCase = (usize, usize, NormConstants);

fn norm_cases() -> Vec<NormCase> {
    let channels = [1, 2, 3, 5, 8, 10, 12, 15, 16, 17, 23, 31, 32, 33, 48, 64, 70];
    let counts = [2, 3, 64, 5000];
    channels.iter().flat_map(|&c| counts.map(|n| (c, n, CONSTANTS[(c + n) % 3]))).collect()
}

/// Mean, variance, weight, bias, running mean, running variance.
fn norm_values(channels: usize) -> [Vec<f32>; 6] {
    let mut random = Random::new(channels as u64);
    let mut positive = || random.floats(channels).iter().map(|v| v.abs()).collect::<Vec<f32>>();
    let (variance, running_variance) = (positive(), positive());
    let mut any = || random.floats(channels);
    [any(), variance, any(), any(), any(), running_variance]
}

fn split_rows(device: &Device, rows: &mlaan_engine::Tensor) -> Results {
    let names = ["scale", "shift", "mean", "inv_std"];
    let rows = device.download(rows).unwrap();
    let row = |r: usize| rows[r * rows.len() / 4..(r + 1) * rows.len() / 4].to_vec();
    (0..norm::ROWS).map(|r| (names[r].to_string(), row(r))).collect()
}

fn expect_rows(ready: &Normalisation) -> Vec<Expected> {
    let rows = [
        ("scale", &ready.scale),
        ("shift", &ready.shift),
        ("mean", &ready.mean),
        ("inv_std", &ready.inv_std),
    ];
    rows.map(|(name, row)| Expected::new(name, row.clone(), FORWARD)).into()
}

fn train(device: &Device, &(c, count, constants): &NormCase) -> Results {
    let [mean, variance, weight, bias, running_mean, running_variance] = norm_values(c);
    let mut rows = tensor(device, [4, c], &[vec![f32::NAN; 2 * c], mean, variance].concat());
    let vector = |v: &[f32]| tensor(device, [c], v);
    let (weight, bias) = (vector(&weight), vector(&bias));
    let (mut m, mut v) = (vector(&running_mean), vector(&running_variance));
    device.normalise_train(&mut rows, &weight, &bias, (&mut m, &mut v), count, constants).unwrap();
    let mut results = split_rows(device, &rows);
    results.push(("running mean".into(), device.download(&m).unwrap()));
    results.push(("running variance".into(), device.download(&v).unwrap()));
    results
}

fn expect_train(&(c, count, constants): &NormCase) -> Vec<Expected> {
    let [mean, variance, weight, bias, running_mean, running_variance] = norm_values(c).map(|v| wide(&v));
    let batch = Statistics { mean, variance };
    let old = Statistics { mean: running_mean, variance: running_variance };
    let new = reference::running(&old, &batch, count, constants);
    let mut expected = expect_rows(&Normalisation::new(&batch, &weight, &bias, constants));
    expected.push(Expected::new("running mean", new.mean, FORWARD));
    expected.push(Expected::new("running variance", new.variance, FORWARD));
    expected
}

fn eval(device: &Device, &(c, _, constants): &NormCase) -> Results {
    let [_, _, weight, bias, mean, variance] = norm_values(c);
    let mut rows = tensor(device, [4, c], &vec![f32::NAN; 4 * c]);
    let [weight, bias, mean, variance] = [weight, bias, mean, variance].map(|v| tensor(device, [c], &v));
    device.normalise_eval(&mut rows, &weight, &bias, (&mean, &variance), constants).unwrap();
    split_rows(device, &rows)
}

fn expect_eval(&(c, _, constants): &NormCase) -> Vec<Expected> {
    let [_, _, weight, bias, mean, variance] = norm_values(c).map(|v| wide(&v));
    let ready = Normalisation::new(&Statistics { mean, variance }, &weight, &bias, constants);
    expect_rows(&ready)
}

#[test]
fn training() {
    check(&norm_cases(), train, expect_train);
}

#[test]
fn evaluation() {
    check(&norm_cases(), eval, expect_eval);
}

#[test]
fn a_single_value_a_channel_leaves_finite_statistics() {
    check(&[(5, 1, CONSTANTS[0])], train, expect_train);
}

/// An addition: sizes, how the parts are loaded, and whether the result is rectified.
#[derive(Clone, Copy, Debug)]
struct Add {
    x: [usize; 4],
    /// Normalise and rectify each part while loading; no second part.
    first: (bool, bool),
    second: Option<(bool, bool)>,
    relu: bool,
}

fn additions() -> Vec<Add> {
    let mut random = Random::new(21);
    let channels = [1, 2, 3, 5, 8, 10, 12, 15, 16, 17, 23, 31, 32, 33, 48, 64, 70];
    let random_add = |i: usize| Add {
        x: [1 + random.below(9), 1 + random.below(17), 1 + random.below(17), channels[i % channels.len()]],
        first: (random.one_in(2), random.one_in(3)),
        second: (!random.one_in(4)).then(|| (random.one_in(2), random.one_in(3))),
        relu: random.one_in(2),
    };
    let mut additions: Vec<Add> = (0..150).map(random_add).collect();
    for x in [[1, 1, 1, 1], [4, 32, 32, 16], [3, 33, 31, 70], [2, 8, 8, 256]] {
        additions.push(Add { x, first: (true, false), second: Some((true, false)), relu: true });
    }
    additions
}

impl Add {
    fn parts(&self) -> (Input, Option<Input>, Vec<f32>) {
        let mut random = Random::new(self.x.iter().product::<usize>() as u64);
        let a = Input::random(&mut random, self.x, self.first.0, self.first.1);
        let b = self.second.map(|(norm, relu)| Input::random(&mut random, self.x, norm, relu));
        let grad = random.floats(a.raw.len());
        (a, b, grad)
    }
}

fn add(device: &Device, case: &Add) -> Results {
    let (a, b, _) = case.parts();
    let (a, b) = (a.upload(device), b.map(|b| b.upload(device)));
    let out = device.add(&a.operand(), b.as_ref().map(|b| b.operand()).as_ref(), case.relu).unwrap();
    vec![("out".into(), device.download(&out).unwrap())]
}

fn expect_add(case: &Add, precision: Precision) -> Vec<Expected> {
    let (a, b, _) = case.parts();
    let out = reference::add(&a.loaded(), b.map(|b| b.loaded()).as_deref(), case.relu);
    vec![Expected::sums("out", out, FORWARD, 1).stored(precision)]
}

/// Which parts want sums: those with a normalisation and no rectifier of their own.
fn wants_sums((norm, relu): (bool, bool)) -> bool {
    norm && !relu
}

fn add_backward(device: &Device, case: &Add) -> Results {
    let (a, b, grad) = case.parts();
    let mut grad = stored(device, case.x, &grad);
    let out: Vec<f32> = add_result(&a, &b).iter().map(|&v| v as f32).collect();
    let out = case.relu.then(|| stored(device, case.x, &out));
    let (a, b) = (a.upload(device), b.map(|b| b.upload(device)));
    let (first, second) = (a.operand(), b.as_ref().map(|b| b.operand()));
    let mut sums = [Sums::new(device, case.x[3]), Sums::new(device, case.x[3])];
    let [of_first, of_second] = &mut sums;
    let parts = [
        wants_sums(case.first).then(|| (&first, of_first.grad())),
        second.as_ref().filter(|_| case.second.is_some_and(wants_sums)).map(|x| (x, of_second.grad())),
    ];
    device.add_backward(&mut grad, out.as_ref(), parts).unwrap();
    let mut results = vec![("grad".to_string(), device.download(&grad).unwrap())];
    if wants_sums(case.first) {
        results.extend(read_sums(device, "first ", &sums[0]));
    }
    if case.second.is_some_and(wants_sums) {
        results.extend(read_sums(device, "second ", &sums[1]));
    }
    results
}

/// The rectified addition that the backward pass is told of.
fn add_result(a: &Input, b: &Option<Input>) -> Vec<f64> {
    reference::add(&a.loaded(), b.as_ref().map(|b| b.loaded()).as_deref(), true)
}

fn expect_join_backward(case: &Add) -> Vec<Expected> {
    let (a, b, grad) = case.parts();
    let grad =
        if case.relu { reference::add_backward(&wide(&grad), &add_result(&a, &b)) } else { wide(&grad) };
    let mut expected = vec![Expected::new("grad", grad.clone(), GRADIENT)];
    if wants_sums(case.first) {
        expected.extend(expected_sums("first ", &a, &grad, 1));
    }
    if let Some(b) = b.filter(|_| case.second.is_some_and(wants_sums)) {
        expected.extend(expected_sums("second ", &b, &grad, 1));
    }
    expected
}

#[test]
fn joining() {
    check_stored(&additions(), add, expect_add);
}

#[test]
fn joining_backward() {
    check_stored(&additions(), add_backward, |case, _| expect_join_backward(case));
}

#[test]
fn joining_by_kernels_for_one_shape() {
    if with_new_kernels("normalisation::joining_by_kernels_for_one_shape") {
        let all = additions();
        // Each is compiled: some of all kinds, and the shapes of networks.
        let drawn = if mlaan_host_cuda::thorough() { 12 } else { 7 };
        let some = [&all[..drawn], &all[all.len() - 4..]].concat();
        check_stored(&some, add, expect_add);
        check_stored(&some, add_backward, |case, _| expect_join_backward(case));
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&norm_cases(), train);
    check_threads(&additions(), add);
    check_threads(&additions(), add_backward);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&norm_cases(), train);
    check_again(&additions(), add);
    check_again(&additions(), add_backward);
}
