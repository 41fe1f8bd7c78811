//! AdamW on every device against its reference, and its reference against PyTorch.

use crate::common::check::{Expected, FORWARD, Results, check, check_again, check_threads};
use crate::common::random::Random;
use crate::common::values::{tensor, wide};
use mlaan_engine::ops::AdamW;
use mlaan_engine::reference;
use mlaan_engine::{Device, MemoryCategory};

const LENGTHS: [usize; 14] = [1, 2, 3, 8, 9, 16, 17, 33, 64, 65, 1000, 4097, 33_333, 150_001];

fn options(step: u32) -> AdamW {
    AdamW { lr: 0.01, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.05, step }
}

/// Parameters, and gradients of three steps.
fn values(n: usize) -> (Vec<f32>, [Vec<f32>; 3]) {
    let mut random = Random::new(n as u64);
    (random.floats(n), [0; 3].map(|_| random.floats(n)))
}

fn steps(device: &Device, &n: &usize) -> Results {
    let (p, gradients) = values(n);
    let mut p = tensor(device, [n], &p);
    let [mut m, mut v] = [0; 2].map(|_| device.full([n], 0.0, MemoryCategory::Optimiser).unwrap());
    for (g, step) in gradients.iter().zip(1..) {
        device.adamw(&mut p, &tensor(device, [n], g), &mut m, &mut v, options(step)).unwrap();
    }
    [("p", p), ("m", m), ("v", v)].map(|(name, t)| (name.to_string(), device.download(&t).unwrap())).into()
}

fn expect(&n: &usize) -> Vec<Expected> {
    let (p, gradients) = values(n);
    let (mut p, mut m, mut v) = (wide(&p), vec![0.0; n], vec![0.0; n]);
    for (g, step) in gradients.iter().zip(1..) {
        reference::adamw(&mut p, &wide(g), &mut m, &mut v, options(step));
    }
    [("p", p), ("m", m), ("v", v)].map(|(name, values)| Expected::new(name, values, FORWARD)).into()
}

#[test]
fn every_device_does_what_the_reference_does() {
    check(&LENGTHS, steps, expect);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&LENGTHS, steps);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&LENGTHS, steps);
}

/// As a run asks for them: many small parameters, the same one twice, and other options right behind.
fn together(device: &Device, &parameters: &usize) -> Results {
    let full = |n: usize, x: f32| device.full([n], x, MemoryCategory::Optimiser).unwrap();
    let mut all: Vec<_> = (1..=parameters).map(|n| [full(n, 1.0), full(n, 0.0), full(n, 0.0)]).collect();
    for step in [1, 1, 2] {
        for [p, m, v] in &mut all {
            let g = full(p.len(), 0.5);
            device.adamw(p, &g, m, v, options(step)).unwrap();
        }
        let [p, m, v] = &mut all[0];
        device.adamw(p, &full(1, -0.25), m, v, options(step)).unwrap();
    }
    let each = all.iter().flat_map(|[p, ..]| device.download(p).unwrap());
    vec![("p".into(), each.collect())]
}

fn expect_together(&parameters: &usize) -> Vec<Expected> {
    let mut all: Vec<_> = (1..=parameters).map(|n| [vec![1.0; n], vec![0.0; n], vec![0.0; n]]).collect();
    for step in [1, 1, 2] {
        for [p, m, v] in &mut all {
            let g = vec![0.5; p.len()];
            reference::adamw(p, &g, m, v, options(step));
        }
        let [p, m, v] = &mut all[0];
        reference::adamw(p, &[-0.25], m, v, options(step));
    }
    let values = all.into_iter().flat_map(|[p, ..]| p).collect();
    vec![Expected::new("p", values, FORWARD)]
}

#[test]
fn many_parameters_together() {
    check(&[1, 2, 63, 64, 65, 130], together, expect_together);
}

/// Gradients of five steps.
const GRADIENTS: [[f32; 5]; 5] = [
    [0.1, -0.2, 0.3, 0.0, -1.5],
    [0.05, 0.4, -0.1, 1e-9, 2.0],
    [-0.3, 0.2, 0.2, 0.0, 0.5],
    [1e-3, -2.0, 0.7, 1e-9, -0.25],
    [0.6, 0.1, -0.4, 0.0, 1.0],
];

#[test]
fn five_steps_are_pytorchs() {
    // torch.optim.AdamW with these options and gradients, PyTorch 2.11 in 64 bits: parameters after each step.
    let right = [
        [0.4897500009999999, -1.2393750005, 1.989000000333333, 0.0, 3.508249999933333],
        [
            0.4801833307906871,
            -1.242416348154354,
            1.984003314792642,
            -0.0004915493116144774,
            3.504560770852948,
        ],
        [
            0.4834154740071437,
            -1.246987547958839,
            1.976980448500052,
            -0.0008052794530487708,
            3.500088099762381,
        ],
        [0.4859998335055761, -1.241730289659201, 1.968538887630654, -0.001296426124936724, 3.496688110296038],
        [0.482066576061123, -1.23746220063997, 1.964386310950434, -0.001669908317050176, 3.491654512650576],
    ];
    let device = Device::cpu(Some(1)).unwrap();
    let begin = [0.5, -1.25, 2.0, 0.0, 3.5];
    let (mut p, mut m, mut v) = (wide(&begin), vec![0.0; 5], vec![0.0; 5]);
    let mut own = tensor(&device, [5], &begin);
    let [mut first, mut second] = [0; 2].map(|_| device.full([5], 0.0, MemoryCategory::Optimiser).unwrap());
    for ((g, right), step) in GRADIENTS.iter().zip(right).zip(1..) {
        reference::adamw(&mut p, &wide(g), &mut m, &mut v, options(step));
        device.adamw(&mut own, &tensor(&device, [5], g), &mut first, &mut second, options(step)).unwrap();
        for ((value, own), right) in p.iter().zip(device.download(&own).unwrap()).zip(right) {
            // The reference's learning rate and decay are 32-bit numbers.
            assert!((value - right).abs() < 2e-8, "step {step}: {value}, not {right}");
            assert!((f64::from(own) - right).abs() < 6e-7, "step {step}: {own}, not {right}");
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let t = |n: usize| tensor(&device, [n], &vec![1.0; n]);
    let said = |n: usize, options: AdamW| {
        device.adamw(&mut t(4), &t(4), &mut t(4), &mut t(n), options).unwrap_err().to_string()
    };
    assert_eq!(said(5, options(1)), "adamw: [4] and [5] must have the same shape");
    assert_eq!(said(4, options(0)), "adamw: step 0; steps count from 1");
    let betas = AdamW { betas: [0.9, 1.0], ..options(1) };
    assert_eq!(said(4, betas), "adamw: betas [0.9, 1.0], need from 0 to less than 1");
}
