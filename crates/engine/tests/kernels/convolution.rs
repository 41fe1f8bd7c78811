//! Convolutions on every device against the reference, forward and backward.

use crate::common::check::{Wanted, check_again, check_products, check_sweep, check_threads};
use crate::common::convolution::{Case, backward, expect_backward, expect_forward, forward};
use crate::common::random::Random;
use mlaan_engine::ops::Conv2dParams;

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
            window: Conv2dParams { kernel, stride: 1 + random.below(3), pad },
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
fn full(x: [usize; 4], out: usize, window: Conv2dParams) -> Case {
    let dx = Some(Wanted { accumulate: false, sums: true });
    Case { x, out, window, load: (true, true), bias: true, norm: true, dx, dw: true }
}

/// The shapes of networks, and those at the edges of blocking.
fn chosen() -> Vec<Case> {
    let w = |kernel, stride, pad| Conv2dParams { kernel, stride, pad };
    let mut cases = vec![
        full([2, 32, 32, 3], 16, w(3, 1, 1)),
        full([1, 33, 31, 3], 12, w(7, 2, 3)),
        full([2, 16, 16, 16], 32, w(3, 2, 1)),
        full([2, 16, 16, 16], 32, w(1, 2, 0)),
        full([3, 8, 8, 64], 64, w(3, 1, 1)),
        full([1, 4, 4, 128], 70, w(3, 1, 1)),
        full([3, 5, 7, 70], 130, w(1, 1, 0)),
        full([2, 6, 6, 24], 300, w(1, 1, 0)),
        full([1, 5, 6, 136], 128, w(3, 1, 1)),
        full([1, 8, 56, 512], 2, w(3, 1, 2)),
        full([2, 6, 6, 300], 24, w(1, 1, 0)),
        full([1, 13, 1, 17], 272, w(1, 1, 0)),
        full([2, 5, 6, 264], 24, w(3, 1, 1)),
        full([5, 7, 7, 9], 33, w(3, 1, 1)),
        full([1, 9, 3, 24], 8, w(3, 1, 1)),
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
    check_products(&chosen(), forward, expect_forward);
}

#[test]
fn backward_at_chosen_shapes() {
    check_products(&chosen(), backward, expect_backward);
}

#[test]
fn forward_over_a_sweep_of_shapes() {
    let mut random = Random::new(11);
    let cases: Vec<Case> =
        (0..300).map(|i| random_shape(&mut random, if i % 10 == 0 { 4 << 20 } else { 1 << 19 })).collect();
    check_sweep(&cases, forward, expect_forward);
}

#[test]
fn backward_over_a_sweep_of_shapes() {
    let mut random = Random::new(12);
    let cases: Vec<Case> =
        (0..300).map(|i| random_case(&mut random, if i % 10 == 0 { 4 << 20 } else { 1 << 19 })).collect();
    check_sweep(&cases, backward, expect_backward);
}

#[test]
fn every_pair_of_channel_counts_around_a_vector() {
    let counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33];
    let pairs = counts.iter().flat_map(|&c| counts.iter().map(move |&o| (c, o)));
    let window = Conv2dParams { kernel: 3, stride: 1, pad: 1 };
    let cases: Vec<Case> = pairs.map(|(c, o)| full([1, 5, 4, c], o, window)).collect();
    check_sweep(&cases, forward, expect_forward);
    check_sweep(&cases, backward, expect_backward);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let mut random = Random::new(13);
    let mut cases = chosen();
    cases.extend((0..14).map(|_| random_case(&mut random, 1 << 20)));
    check_threads(&cases, forward);
    check_threads(&cases, backward);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    let mut random = Random::new(14);
    let cases: Vec<Case> = (0..20).map(|_| random_case(&mut random, 1 << 19)).collect();
    check_again(&cases, forward);
    check_again(&cases, backward);
}
