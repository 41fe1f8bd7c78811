//! Clipping of gradients: every device against the reference, and the reference against PyTorch.

use crate::common::check::{Expected, FORWARD, Results, check, check_again, check_threads, devices};
use crate::common::misuse::refused;
use crate::common::random::Random;
use crate::common::values::{target, tensor, wide};
use mlaan_engine::ops::{Sgd, square_sums};
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Result, Tensor, reference};

/// Lengths of the gradients of a group, and their largest norm.
type Case = (Vec<usize>, f32);

fn cases() -> Vec<Case> {
    let many = (0..150).map(|i| 1 + i * 7).collect();
    let groups = [vec![1], vec![5, 2048, 1], vec![2049, 3], vec![150_001, 64, 600_000], many];
    groups.into_iter().flat_map(|g| [1e-3, 1.0, 1e4].map(|max| (g.clone(), max))).collect()
}

fn gradients((lengths, _): &Case) -> Vec<Vec<f32>> {
    let mut random = Random::new(lengths.len() as u64);
    lengths.iter().map(|&n| random.floats(n)).collect()
}

fn clip(device: &Device, gradients: &mut [Tensor], max: f32) -> Result<Tensor> {
    let count = gradients.iter().map(|g| square_sums(g.len())).sum::<usize>();
    let (mut sums, mut coefficient) = (target(device, [count]), target(device, [1]));
    let mut first = 0;
    for g in gradients.iter() {
        device.sum_squares(g, &mut sums, first)?;
        first += square_sums(g.len());
    }
    device.clip_coefficient(&sums, max, &mut coefficient)?;
    gradients.iter_mut().try_for_each(|g| device.scale(g, &coefficient))?;
    Ok(coefficient)
}

/// Clipped gradients, and what an update makes of them that waits beside others.
fn run(device: &Device, case: &Case) -> Results {
    let up = |g: &Vec<f32>| tensor(device, [g.len()], g);
    let mut gradients: Vec<Tensor> = gradients(case).iter().map(up).collect();
    let coefficient = clip(device, &mut gradients, case.1).unwrap();
    let zeros = |g: &Tensor| device.full(g.shape(), 0.0, MemoryCategory::Parameters).unwrap();
    let mut moved: Vec<Tensor> = gradients.iter().map(zeros).collect();
    let options = Sgd { lr: 2.0, momentum: 0.0, weight_decay: 0.0, nesterov: false };
    for (p, g) in moved.iter_mut().zip(&gradients) {
        device.sgd(p, g, &mut zeros(g), options).unwrap();
    }
    let read = |t: &[Tensor]| t.iter().flat_map(|t| device.download(t).unwrap()).collect();
    vec![
        ("coefficient".into(), device.download(&coefficient).unwrap()),
        ("clipped".into(), read(&gradients)),
        ("moved".into(), read(&moved)),
    ]
}

fn expect(case: &Case) -> Vec<Expected> {
    let gradients: Vec<Vec<f64>> = gradients(case).iter().map(|g| wide(g)).collect();
    let slices: Vec<&[f64]> = gradients.iter().map(Vec::as_slice).collect();
    let coefficient = reference::clip_coefficient(&slices, f64::from(case.1));
    let clipped: Vec<f64> = gradients.iter().flatten().map(|g| coefficient * g).collect();
    let moved = clipped.iter().map(|g| -2.0 * g).collect();
    vec![
        Expected::new("coefficient", vec![coefficient], FORWARD),
        Expected::new("clipped", clipped, FORWARD),
        Expected::new("moved", moved, FORWARD),
    ]
}

#[test]
fn every_device_does_what_the_reference_does() {
    check(&cases(), run, expect);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&cases(), run);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&cases(), run);
}

/// `torch.nn.utils.clip_grad_norm_` of PyTorch 2.11 in 64 bits.
#[test]
fn the_reference_is_pytorchs() {
    let (a, b) = ([0.5, -1.0, 2.0], [3.0, 0.25]);
    let found = reference::clip_coefficient(&[&a, &b], 1.0);
    assert!((found * a[0] - 0.13216368515652938).abs() < 1e-15);
    assert!((found * b[0] - 0.7929821109391763).abs() < 1e-15);
    assert_eq!(reference::clip_coefficient(&[&a, &b], 100.0), 1.0);
}

/// As PyTorch: what is no number makes all of the group none; what is infinite makes the others 0.
#[test]
fn what_is_not_finite_is_seen() {
    for (name, device) in devices() {
        for (bad, others) in [(f32::NAN, f32::NAN), (f32::INFINITY, 0.0), (f32::NEG_INFINITY, 0.0)] {
            let mut gradients = [tensor(&device, [3], &[bad, 1.0, -2.0]), tensor(&device, [2], &[1.0, 4.0])];
            clip(&device, &mut gradients, 1.0).unwrap();
            let [first, second] = gradients.map(|g| device.download(&g).unwrap());
            assert!(first[0].is_nan(), "{name}: {first:?}");
            let rest: Vec<f32> = first[1..].iter().chain(&second).copied().collect();
            let right = |x: &f32| if others.is_nan() { x.is_nan() } else { *x == 0.0 };
            assert!(rest.iter().all(right), "{name} after {bad}: {rest:?}");
        }
    }
}

#[test]
fn a_plan_is_what_is_used() {
    let run = |device: &Device| {
        let mut gradients = [5, 150_001].map(|n| device.full([n], 0.5, MemoryCategory::Gradients).unwrap());
        drop(clip(device, &mut gradients, 1.0).unwrap());
    };
    let (dry, cpu) =
        (Device::dry(DeviceKind::Cpu { threads: Some(3) }).unwrap(), Device::cpu(Some(3)).unwrap());
    run(&dry);
    cpu.pool().reserve(&dry.usage()).unwrap();
    run(&cpu);
    assert_eq!(cpu.usage(), dry.usage());
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let t = |n: usize| tensor(&device, [n], &vec![1.0; n]);
    let whole = || device.alloc([1], DType::U32, MemoryCategory::Data).unwrap();
    refused("room", "sum_squares", "2 sums from number 1 on, in a table of 2", || {
        device.sum_squares(&t(2049), &mut t(2), 1)
    });
    refused("place", "sum_squares", "table of 2", || device.sum_squares(&t(1), &mut t(2), usize::MAX));
    refused("type", "sum_squares", "U32", || device.sum_squares(&whole(), &mut t(1), 0));
    for max in [0.0, -1.0, f32::NAN] {
        refused("norm", "clip_coefficient", "above 0", || device.clip_coefficient(&t(1), max, &mut t(1)));
    }
    refused("sizes", "clip_coefficient", "[2]", || device.clip_coefficient(&t(1), 1.0, &mut t(2)));
    refused("factor", "scale", "[2]", || device.scale(&mut t(1), &t(2)));
    refused("type", "scale", "U32", || device.scale(&mut whole(), &t(1)));
}
