//! Convolutions on every instruction set against the twin, forward and backward.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::check::{Expected, FORWARD, GRADIENT, Results, Wanted, check, check_threads};
use common::check::{before, expected_outgoing, outgoing};
use common::random::Random;
use common::values::{Input, target, tensor, wide};
use mlaan_engine::Device;
use mlaan_engine::ops::{Incoming, WeightGrad, Window, norm};
use mlaan_engine::scalar;

/// A convolution and what is asked of it.
#[derive(Clone, Copy, Debug)]
struct Case {
    x: [usize; 4],
    out: usize,
    window: Window,
    /// Normalise and rectify while loading.
    load: (bool, bool),
    bias: bool,
    /// Mean and variance forward; the backward of a normalisation while loading the gradient.
    norm: bool,
    dx: Option<Wanted>,
    dw: bool,
}

/// A case's values, the same on every call.
struct Values {
    x: Input,
    w: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
    raw: Vec<f32>,
    coefficients: Vec<f32>,
    before: Vec<f32>,
}

impl Case {
    fn y(&self) -> [usize; 4] {
        [self.x[0], self.window.output(self.x[1]), self.window.output(self.x[2]), self.out]
    }

    fn weights(&self) -> [usize; 4] {
        [self.out, self.x[3], self.window.kernel, self.window.kernel]
    }

    /// Multiply-adds of the forward pass.
    fn work(&self) -> usize {
        self.y().iter().product::<usize>() * self.window_terms()
    }

    /// Products summed in one output.
    fn window_terms(&self) -> usize {
        self.x[3] * self.window.kernel * self.window.kernel
    }

    fn values(&self) -> Values {
        let mut random = Random::new(self.work() as u64 + 7 * self.window.stride as u64);
        let x = Input::random(&mut random, self.x, self.load.0, self.load.1);
        let y = self.y().iter().product();
        Values {
            w: random.floats(self.weights().iter().product()),
            bias: random.floats(self.out),
            dy: random.floats(y),
            raw: random.floats(y),
            coefficients: random.floats(3 * self.out),
            before: before(&mut random, &x),
            x,
        }
    }
}

fn forward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let (x, w) = (v.x.upload(device), tensor(device, case.weights(), &v.w));
    let bias = case.bias.then(|| tensor(device, [case.out], &v.bias));
    let mut rows = case.norm.then(|| target(device, [norm::ROWS, case.out]));
    let y = device.convolve(case.window, &x.operand(), &w, bias.as_ref(), rows.as_mut()).unwrap();
    assert_eq!(y.shape().dims(), case.y());
    let mut results = vec![("y".to_string(), device.download(&y).unwrap())];
    if let Some(rows) = rows {
        let rows = device.download(&rows).unwrap();
        let row = |r: usize| rows[r * case.out..(r + 1) * case.out].to_vec();
        results.push(("mean".into(), row(norm::MEAN)));
        results.push(("variance".into(), row(norm::INV_STD)));
    }
    results
}

fn expect_forward(case: &Case) -> Vec<Expected> {
    let v = case.values();
    let bias = case.bias.then(|| wide(&v.bias));
    let y = scalar::convolve(&v.x.loaded(), case.x, &wide(&v.w), case.out, bias.as_deref(), case.window);
    let terms = case.window_terms();
    let mut expected = vec![Expected::sums("y", y.clone(), FORWARD, terms)];
    if case.norm {
        let statistics = scalar::mean_and_variance(&y, case.out);
        expected.push(Expected::sums("mean", statistics.mean, FORWARD, terms));
        expected.push(Expected::sums("variance", statistics.variance, FORWARD, terms * terms));
    }
    expected
}

fn backward(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let w = tensor(device, case.weights(), &v.w);
    let (dy, raw) = (tensor(device, case.y(), &v.dy), tensor(device, case.y(), &v.raw));
    let coefficients = tensor(device, [3, case.out], &v.coefficients);
    let dy = Incoming { grad: &dy, norm: case.norm.then_some((&raw, &coefficients)) };
    let (mut weight, mut bias) = (target(device, case.weights()), target(device, [case.out]));
    let dw = case.dw.then(|| WeightGrad { weight: &mut weight, bias: case.bias.then_some(&mut bias) });
    let mut results = match case.dx {
        Some(wanted) => outgoing(device, &v.x, wanted, &v.before, |x, dx| {
            device.convolve_backward(case.window, &x.operand(), &w, &dy, Some(dx), dw).unwrap();
        }),
        None => {
            let x = v.x.upload(device);
            device.convolve_backward(case.window, &x.operand(), &w, &dy, None, dw).unwrap();
            vec![]
        }
    };
    if case.dw {
        results.push(("dw".into(), device.download(&weight).unwrap()));
    }
    if case.dw && case.bias {
        results.push(("dbias".into(), device.download(&bias).unwrap()));
    }
    results
}

fn expect_backward(case: &Case) -> Vec<Expected> {
    let v = case.values();
    let mut dy = wide(&v.dy);
    if case.norm {
        dy = scalar::incoming(&dy, &wide(&v.raw), &wide(&v.coefficients));
    }
    let grad = scalar::convolve_backward(&v.x.loaded(), case.x, &wide(&v.w), case.out, &dy, case.window);
    let k = case.window.kernel;
    let mut expected =
        case.dx.map_or(vec![], |wanted| expected_outgoing(&v.x, wanted, &v.before, &grad.x, case.out * k * k));
    let pixels = case.y()[..3].iter().product();
    if case.dw {
        expected.push(Expected::sums("dw", grad.weight, GRADIENT, pixels));
    }
    if case.dw && case.bias {
        expected.push(Expected::sums("dbias", grad.bias, GRADIENT, pixels));
    }
    expected
}

const CHANNELS: [usize; 19] = [1, 2, 3, 4, 5, 8, 10, 12, 15, 16, 17, 23, 24, 31, 32, 33, 48, 64, 70];

/// A shape that fits a budget of work.
fn random_shape(random: &mut Random, budget: usize) -> Case {
    loop {
        let kernel: usize = random.pick(&[1, 2, 3, 3, 3, 7]);
        let pad = random.below(kernel.div_ceil(2));
        let (h, w) = (1 + random.below(33), 1 + random.below(33));
        let case = Case {
            x: [1 + random.below(9), h, w, random.pick(&CHANNELS)],
            out: random.pick(&CHANNELS),
            window: Window { kernel, stride: 1 + random.below(3), pad },
            load: (random.one_in(2), random.one_in(2)),
            bias: random.one_in(2),
            norm: random.one_in(2),
            dx: None,
            dw: true,
        };
        if case.work() > 0 && case.work() <= budget {
            return case;
        }
    }
}

/// With the gradients of input and parameters, of one of them only, accumulating, with sums.
fn random_case(random: &mut Random, budget: usize) -> Case {
    let case = random_shape(random, budget);
    let wanted = Wanted { accumulate: random.one_in(3), sums: case.load.0 && !random.one_in(3) };
    let parts = random.below(5);
    Case { dx: (parts != 0).then_some(wanted), dw: parts != 1, ..case }
}

/// Everything at once, at a given shape.
fn full(x: [usize; 4], out: usize, window: Window) -> Case {
    let dx = Some(Wanted { accumulate: false, sums: true });
    Case { x, out, window, load: (true, true), bias: true, norm: true, dx, dw: true }
}

/// The shapes of networks, and those at the edges of blocking.
fn chosen() -> Vec<Case> {
    let w = |kernel, stride, pad| Window { kernel, stride, pad };
    let mut cases = vec![
        full([2, 32, 32, 3], 16, w(3, 1, 1)),
        full([1, 33, 31, 3], 12, w(7, 2, 3)),
        full([2, 16, 16, 16], 32, w(3, 2, 1)),
        full([2, 16, 16, 16], 32, w(1, 2, 0)),
        full([3, 8, 8, 64], 64, w(3, 1, 1)),
        full([1, 4, 4, 128], 70, w(3, 1, 1)),
        full([5, 1, 1, 70], 10, w(1, 1, 0)),
        full([9, 1, 1, 1], 1, w(1, 1, 0)),
        full([1, 1, 1, 1], 1, w(1, 1, 0)),
        full([2, 1, 1, 3], 5, w(3, 1, 1)),
        full([2, 1, 33, 3], 5, w(3, 2, 1)),
        full([2, 33, 1, 3], 5, w(3, 3, 1)),
        full([1, 2, 2, 17], 17, w(7, 1, 3)),
        full([1, 7, 7, 5], 9, w(7, 3, 0)),
        full([2, 5, 6, 3], 4, w(2, 1, 1)),
        full([2, 5, 6, 3], 4, w(3, 1, 2)),
        full([1, 9, 9, 4], 4, w(2, 3, 0)),
        full([1, 12, 12, 33], 31, w(1, 3, 0)),
    ];
    let plain: Vec<Case> = cases.iter().map(|c| Case { load: (false, false), dx: None, ..*c }).collect();
    let sumless = Some(Wanted { accumulate: true, sums: false });
    let bare: Vec<Case> = cases
        .iter()
        .map(|c| Case { load: (false, true), bias: false, norm: false, dx: sumless, dw: false, ..*c })
        .collect();
    cases.extend(plain);
    cases.extend(bare);
    cases
}

#[test]
fn forward_at_chosen_shapes() {
    check(&chosen(), forward, expect_forward);
}

#[test]
fn backward_at_chosen_shapes() {
    check(&chosen(), backward, expect_backward);
}

#[test]
fn forward_over_a_sweep_of_shapes() {
    let mut random = Random::new(11);
    let cases: Vec<Case> =
        (0..300).map(|i| random_shape(&mut random, if i % 10 == 0 { 4 << 20 } else { 1 << 19 })).collect();
    check(&cases, forward, expect_forward);
}

#[test]
fn backward_over_a_sweep_of_shapes() {
    let mut random = Random::new(12);
    let cases: Vec<Case> =
        (0..300).map(|i| random_case(&mut random, if i % 10 == 0 { 4 << 20 } else { 1 << 19 })).collect();
    check(&cases, backward, expect_backward);
}

#[test]
fn every_pair_of_channel_counts_around_a_vector() {
    let counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33];
    let pairs = counts.iter().flat_map(|&c| counts.iter().map(move |&o| (c, o)));
    let window = Window { kernel: 3, stride: 1, pad: 1 };
    let cases: Vec<Case> = pairs.map(|(c, o)| full([1, 5, 4, c], o, window)).collect();
    check(&cases, forward, expect_forward);
    check(&cases, backward, expect_backward);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut random = Random::new(13);
    let mut cases = chosen();
    cases.extend((0..40).map(|_| random_case(&mut random, 1 << 20)));
    check_threads(&cases, forward);
    check_threads(&cases, backward);
}
