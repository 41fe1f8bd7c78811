//! Cross-entropy with smoothed labels and weighted classes: every device against the reference, and the reference against PyTorch.

use crate::common::check::{
    Expected, FORWARD, GRADIENT, Results, check, check_again, check_threads, devices,
};
use crate::common::misuse::refused;
use crate::common::random::Random;
use crate::common::values::{labels, target, tensor, wide};
use mlaan_engine::ops::{ClassLoss, Labels, LossTarget, Mixed};
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Tensor, reference};

/// Logits `[n, classes]`, multiplied by `size`.
#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    classes: usize,
    size: f32,
    smoothing: f32,
    weighted: bool,
    mixed: bool,
    weight: f32,
    grad: bool,
}

struct Values {
    x: Vec<f32>,
    own: Vec<usize>,
    other: Vec<usize>,
    /// All and nothing among them.
    share: Vec<f32>,
    weights: Vec<f32>,
}

const COUNTS: [usize; 12] = [1, 2, 3, 5, 8, 10, 17, 31, 32, 33, 64, 70];

fn cases() -> Vec<Case> {
    let mut random = Random::new(51);
    let mut any = || Case {
        n: random.pick(&COUNTS),
        classes: random.pick(&COUNTS),
        size: random.pick(&[0.1, 1.0, 10.0, 80.0]),
        smoothing: random.pick(&[0.0, 0.1, 0.5, 0.999]),
        weighted: !random.one_in(3),
        mixed: random.one_in(2),
        weight: random.pick(&[1.0, 0.3, 5.0, -0.5]),
        grad: !random.one_in(4),
    };
    let mut cases: Vec<Case> = (0..120).map(|_| any()).collect();
    let all = Case {
        n: 300,
        classes: 1000,
        size: 1.0,
        smoothing: 0.1,
        weighted: true,
        mixed: false,
        weight: 1.0,
        grad: true,
    };
    cases.extend([all, Case { mixed: true, ..all }, Case { n: 9, classes: 10, size: 1000.0, ..all }]);
    cases
}

impl Case {
    fn values(&self) -> Values {
        let mut random = Random::new((self.n * self.classes) as u64);
        let x = random.floats(self.n * self.classes).iter().map(|v| v * self.size).collect();
        let mut draw = || (0..self.n).map(|_| random.below(self.classes)).collect();
        let (own, other) = (draw(), draw());
        let share = |(i, v): (usize, f32)| match i % 5 {
            3 => 1.0,
            4 => 0.0,
            _ => (v + 1.0) / 2.0,
        };
        let share = random.floats(self.n).into_iter().enumerate().map(share).collect();
        let weights = random.floats(self.classes).iter().map(|v| 1.1 + v).collect();
        Values { x, own, other, share, weights }
    }
}

fn run(device: &Device, case: &Case) -> Results {
    let v = case.values();
    let (x, weights) =
        (tensor(device, [case.n, 1, 1, case.classes], &v.x), tensor(device, [case.classes], &v.weights));
    let (own, other, share) =
        (labels(device, &v.own), labels(device, &v.other), tensor(device, [case.n], &v.share));
    let (mut values, mut grad) = (tensor(device, [3, 2], &[7.0; 6]), target(device, x.shape()));
    let into =
        LossTarget { weight: case.weight, grad: case.grad.then_some(&mut grad), values: &mut values, row: 1 };
    let mixed = case.mixed.then_some(Mixed { other: &other, share: &share });
    let options = ClassLoss { smoothing: case.smoothing, weights: case.weighted.then_some(&weights) };
    device.cross_entropy_with(&x, Labels { own: &own, mixed }, options, into).unwrap();
    let values = device.download(&values).unwrap();
    let mut results: Results = vec![
        ("loss".into(), vec![values[2]]),
        ("wrong".into(), vec![values[3]]),
        ("other rows".into(), [&values[..2], &values[4..]].concat()),
    ];
    if case.grad {
        results.push(("grad".into(), device.download(&grad).unwrap()));
    }
    results
}

fn expect(case: &Case) -> Vec<Expected> {
    let v = case.values();
    let weights = if case.weighted { wide(&v.weights) } else { vec![1.0; case.classes] };
    let share = wide(&v.share);
    let mixed = case.mixed.then_some((&v.other[..], &share[..]));
    let loss =
        reference::cross_entropy_with(&wide(&v.x), &v.own, mixed, (f64::from(case.smoothing), &weights));
    let mut expected = vec![
        Expected::new("loss", vec![loss.value], FORWARD),
        Expected::new("wrong", vec![loss.wrong as f64], 0.0),
        Expected::new("other rows", vec![7.0; 4], 0.0),
    ];
    if case.grad {
        let grad = loss.grad.iter().map(|g| g * f64::from(case.weight)).collect();
        expected.push(Expected::new("grad", grad, GRADIENT));
    }
    expected
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

/// `torch.nn.functional.cross_entropy` of PyTorch 2.11 in 64 bits; mixtures as class probabilities.
#[test]
fn the_reference_is_pytorchs() {
    let x = [0.5, -1.25, 2.0, 0.0, 3.5, 0.25, -0.75, 1.0, -2.0, 0.125, 0.5, 1.5];
    let (own, other, share) = ([2, 0, 1], [0, 0, 3], [0.75, 0.5, 0.125]);
    let (alike, weights) = ([1.0; 4], [0.5, 2.0, 1.25, 3.0]);
    let mixed = Some((&other[..], &share[..]));
    let right = [
        (None, 0.1, alike, 0.9218985185624754, 0.044897850010702754, 0.19357472767733347),
        (None, 0.0, weights, 1.1291080126258377, 0.05323118334403608, 0.3230528976170668),
        (None, 0.1, weights, 1.314929553035855, 0.051760941427744026, 0.29800519609180015),
        (mixed, 0.1, alike, 0.6734610185624752, -0.03010214998929724, -0.06892527232266657),
        (mixed, 0.1, weights, 1.0908206610946876, 0.01821841459537394, -0.2559909068393498),
    ];
    for (mixed, smoothing, weights, value, first, last) in right {
        let found = reference::cross_entropy_with(&x, &own, mixed, (smoothing, &weights));
        for (found, right) in [(found.value, value), (found.grad[0], first), (found.grad[11], last)] {
            assert!((found - right).abs() < 1e-12, "{smoothing} {weights:?}: {found}, not {right}");
        }
    }
}

#[test]
fn without_smoothing_and_weights_it_is_plain_cross_entropy() {
    let labels = [0, 2, 1, 2, 0, 4];
    let x: Vec<f64> = Random::new(9).doubles(30).iter().map(|v| 3.0 * v).collect();
    let (plain, found) = (
        reference::cross_entropy(&x, &labels),
        reference::cross_entropy_with(&x, &labels, None, (0.0, &[1.0; 5])),
    );
    assert!((plain.value - found.value).abs() < 1e-12);
    assert!(plain.grad.iter().zip(&found.grad).all(|(a, b)| (a - b).abs() < 1e-12));
}

#[test]
fn what_is_no_number_and_no_class_is_no_finite_loss() {
    for (name, device) in devices() {
        let run = |x: &[f32], classes: &[usize]| {
            let (x, classes) = (tensor(&device, [2, 1, 1, 3], x), labels(&device, classes));
            let (mut values, mut grad) = (target(&device, [1, 2]), target(&device, [2, 1, 1, 3]));
            let weights = tensor(&device, [3], &[1.0, 2.0, 3.0]);
            let into = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 0 };
            let options = ClassLoss { smoothing: 0.1, weights: Some(&weights) };
            device.cross_entropy_with(&x, &classes, options, into).unwrap();
            device.download(&values).unwrap()
        };
        assert_eq!(run(&[1.0; 6], &[0, 3]), [f32::INFINITY, 1.0], "{name}");
        let lost = run(&[1.0, f32::NAN, 0.0, 1.0, 0.0, 0.0], &[0, 0]);
        assert!(lost[0].is_nan() && lost[1] == 0.0, "{name}: {lost:?}");
    }
}

#[test]
fn a_plan_is_what_is_used() {
    let run = |device: &Device| {
        for case in [cases()[120], cases()[121]] {
            let weights = device.full([case.classes], 1.0, MemoryCategory::Data).unwrap();
            let x = device.full([case.n, 1, 1, case.classes], 0.5, MemoryCategory::Activations).unwrap();
            let (mut values, own) = (target(device, [1, 2]), labels(device, &vec![1; case.n]));
            let into = LossTarget { weight: 1.0, grad: None, values: &mut values, row: 0 };
            let options = ClassLoss { smoothing: 0.1, weights: Some(&weights) };
            device.cross_entropy_with(&x, &own, options, into).unwrap();
        }
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
    let (x, own) = (tensor(&device, [2, 1, 1, 3], &[0.0; 6]), labels(&device, &[0, 1]));
    let run = |own: &Tensor, smoothing: f32, weights: Option<&Tensor>| {
        let mut values = target(&device, [1, 2]);
        let into = LossTarget { weight: 1.0, grad: None, values: &mut values, row: 0 };
        device.cross_entropy_with(&x, own, ClassLoss { smoothing, weights }, into)
    };
    const OP: &str = "cross_entropy_with";
    refused("all spread", OP, "smoothing of 1", || run(&own, 1.0, None));
    refused("less than none", OP, "smoothing of -0.1", || run(&own, -0.1, None));
    refused("no number", OP, "NaN", || run(&own, f32::NAN, None));
    refused("weights", OP, "[4]", || run(&own, 0.0, Some(&tensor(&device, [4], &[1.0; 4]))));
    let whole = device.alloc([3], DType::U32, MemoryCategory::Data).unwrap();
    refused("type", OP, "U32", || run(&own, 0.0, Some(&whole)));
    refused("labels", OP, "3 labels", || run(&labels(&device, &[0, 1, 2]), 0.1, None));
}
