//! Pooling and resizing on every device against the reference.

use crate::common::check::{
    Expected, FORWARD, Results, Wanted, before, check_again, check_stored, check_threads, expected_outgoing,
    outgoing,
};
use crate::common::random::Random;
use crate::common::values::{Input, stored, tensor, wide};
use mlaan_engine::ops::Conv2dParams;
use mlaan_engine::reference;
use mlaan_engine::{Device, Precision};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Maximum(Conv2dParams),
    Average(usize, usize),
    Resize(usize, usize),
}

/// An operation and what is asked of it.
#[derive(Clone, Copy, Debug)]
struct Case {
    operation: Operation,
    x: [usize; 4],
    /// Normalise and rectify while loading.
    load: (bool, bool),
    dx: Wanted,
}

/// A case's values: operand, gradient of the result, what the operand's gradient is added to.
type Values = (Input, Vec<f32>, Vec<f32>);

impl Case {
    fn y(&self) -> [usize; 4] {
        let [n, h, w, c] = self.x;
        let (oh, ow) = match self.operation {
            Operation::Maximum(window) => (window.output(h), window.output(w)),
            Operation::Average(oh, ow) | Operation::Resize(oh, ow) => (oh, ow),
        };
        [n, oh, ow, c]
    }

    fn values(&self) -> Values {
        let mut random = Random::new(self.x.iter().chain(&self.y()).product::<usize>() as u64);
        let x = Input::random(&mut random, self.x, self.load.0, self.load.1);
        let dy = random.floats(self.y().iter().product());
        let before = before(&mut random, &x);
        (x, dy, before)
    }
}

fn forward(device: &Device, case: &Case) -> Results {
    let x = case.values().0.upload(device);
    let y = match case.operation {
        Operation::Maximum(window) => device.max_pool(window, &x.operand()),
        Operation::Average(h, w) => device.average_pool(&x.operand(), h, w),
        Operation::Resize(h, w) => device.resize(&x.operand(), h, w),
    };
    let y = y.unwrap();
    assert_eq!(y.shape().dims(), case.y());
    vec![("y".into(), device.download(&y).unwrap())]
}

fn expect_forward(case: &Case, precision: Precision) -> Vec<Expected> {
    let x = case.values().0.loaded();
    let y = match case.operation {
        Operation::Maximum(window) => reference::max_pool(&x, case.x, window).values,
        Operation::Average(h, w) => reference::average_pool(&x, case.x, h, w),
        Operation::Resize(h, w) => reference::resize(&x, case.x, h, w),
    };
    let average = matches!(case.operation, Operation::Average(..));
    vec![Expected::sums("y", y, FORWARD, 1).stored(if average { Precision::F32 } else { precision })]
}

fn backward(device: &Device, case: &Case) -> Results {
    let (x, dy, before) = case.values();
    // An average is of 32 bits whatever it is taken of.
    let dy = match case.operation {
        Operation::Average(..) => tensor(device, case.y(), &dy),
        _ => stored(device, case.y(), &dy),
    };
    outgoing(device, &x, case.dx, &before, |x, dx| {
        let done = match case.operation {
            Operation::Maximum(window) => device.max_pool_backward(window, &x.operand(), &dy, dx),
            Operation::Average(..) => device.average_pool_backward(&x.operand(), &dy, dx),
            Operation::Resize(..) => device.resize_backward(&x.operand(), &dy, dx),
        };
        done.unwrap();
    })
}

fn expect_backward(case: &Case, precision: Precision) -> Vec<Expected> {
    let (x, dy, before) = case.values();
    let dy = wide(&dy);
    let dx = match case.operation {
        Operation::Maximum(window) => {
            let maxima = reference::max_pool(&x.loaded(), case.x, window);
            reference::max_pool_backward(&maxima, &dy, x.raw.len())
        }
        Operation::Average(h, w) => reference::average_pool_backward(&dy, case.x, h, w),
        Operation::Resize(h, w) => reference::resize_backward(&dy, case.x, h, w),
    };
    expected_outgoing(&x, case.dx, &before, &dx, 1, precision)
}

const CHANNELS: [usize; 17] = [1, 2, 3, 5, 8, 10, 12, 15, 16, 17, 23, 31, 32, 33, 48, 64, 70];

/// Random sizes, loads and wishes for an operation chosen for the sizes.
fn sweep(seed: u64, operation: impl Fn(&mut Random, [usize; 4]) -> Operation) -> Vec<Case> {
    let mut random = Random::new(seed);
    let mut cases = Vec::new();
    while cases.len() < 150 {
        let side = random.pick(&[5, 9, 17, 33]);
        let (h, w) = (1 + random.below(side), 1 + random.below(side));
        let x = [1 + random.below(9), h, w, random.pick(&CHANNELS)];
        let load = (random.one_in(2), random.one_in(2));
        let dx = Wanted { accumulate: random.one_in(3), sums: load.0 && random.one_in(2) };
        let case = Case { operation: operation(&mut random, x), x, load, dx };
        if (1..60_000).contains(&case.y().iter().product::<usize>()) && x.iter().product::<usize>() < 60_000 {
            cases.push(case);
        }
    }
    cases
}

/// An operation at sizes, everything asked.
fn full(operation: Operation, x: [usize; 4]) -> Case {
    Case { operation, x, load: (true, true), dx: Wanted { accumulate: true, sums: true } }
}

fn maxima() -> Vec<Case> {
    let mut cases = sweep(31, |random, _| {
        let kernel: usize = random.pick(&[1, 2, 3, 3, 7]);
        let pad = random.below(kernel / 2 + 1);
        Operation::Maximum(Conv2dParams { kernel, stride: 1 + random.below(3), pad })
    });
    let window = |kernel, stride, pad| Operation::Maximum(Conv2dParams { kernel, stride, pad });
    cases.extend([
        full(window(3, 2, 1), [2, 32, 32, 64]),
        full(window(3, 2, 1), [1, 1, 1, 1]),
        full(window(2, 2, 1), [1, 5, 4, 3]),
        full(window(1, 3, 0), [1, 5, 4, 3]),
        full(window(7, 1, 3), [1, 2, 3, 17]),
    ]);
    cases
}

fn averages() -> Vec<Case> {
    let mut cases = sweep(32, |random, x| match random.below(3) {
        0 => Operation::Average(1, 1),
        1 => Operation::Average(1 + random.below(x[1]), 1 + random.below(x[2])),
        _ => Operation::Average(1 + random.below(9), 1 + random.below(9)),
    });
    cases.extend([
        full(Operation::Average(1, 1), [9, 8, 8, 70]),
        full(Operation::Average(1, 1), [1, 1, 1, 1]),
        full(Operation::Average(3, 5), [2, 7, 5, 17]),
        full(Operation::Average(5, 7), [2, 2, 3, 3]),
    ]);
    cases
}

fn resizes() -> Vec<Case> {
    let mut cases = sweep(33, |random, x| match random.below(3) {
        0 => Operation::Resize(2 * x[1], 2 * x[2]),
        1 => Operation::Resize(1 + random.below(x[1]), 1 + random.below(x[2])),
        _ => Operation::Resize(1 + random.below(33), 1 + random.below(33)),
    });
    cases.extend([
        full(Operation::Resize(32, 32), [2, 8, 8, 64]),
        full(Operation::Resize(32, 32), [1, 1, 1, 3]),
        full(Operation::Resize(1, 1), [1, 7, 5, 3]),
        full(Operation::Resize(7, 1), [1, 7, 5, 3]),
        full(Operation::Resize(7, 5), [2, 7, 5, 17]),
        full(Operation::Resize(33, 31), [1, 3, 2, 5]),
    ]);
    cases
}

#[test]
fn maximum_pooling() {
    check_stored(&maxima(), forward, expect_forward);
}

#[test]
fn maximum_pooling_backward() {
    check_stored(&maxima(), backward, expect_backward);
}

#[test]
fn average_pooling() {
    check_stored(&averages(), forward, expect_forward);
}

#[test]
fn average_pooling_backward() {
    check_stored(&averages(), backward, expect_backward);
}

#[test]
fn resizing() {
    check_stored(&resizes(), forward, expect_forward);
}

#[test]
fn resizing_backward() {
    check_stored(&resizes(), backward, expect_backward);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for cases in [maxima(), averages(), resizes()] {
        check_threads(&cases, forward);
        check_threads(&cases, backward);
    }
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    for cases in [maxima(), averages(), resizes()] {
        check_again(&cases, forward);
        check_again(&cases, backward);
    }
}
