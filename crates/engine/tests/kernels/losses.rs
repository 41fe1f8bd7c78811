//! Losses on every device against the reference.

use crate::common::check::{
    Expected, FORWARD, GRADIENT, Results, check, check_again, check_threads, devices,
};
use crate::common::random::Random;
use crate::common::values::{labels, target, tensor, wide};
use mlaan_engine::Device;
use mlaan_engine::ops::{Labels, LossTarget, Mixed, PixelScale};
use mlaan_engine::reference::{self, Loss};

const SCALE: PixelScale = PixelScale { mean: [0.4914, 0.4822, 0.4465], std: [0.2471, 0.2435, 0.2616] };

#[derive(Clone, Copy, Debug)]
enum LossKind {
    CrossEntropy,
    /// Of samples that are mixtures of two classes.
    Mixed,
    Contrastive(f32),
    Reconstruction,
}

/// A loss of an input `[n, h, w, c]`, its logits or features multiplied by `size`.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: LossKind,
    x: [usize; 4],
    classes: usize,
    size: f32,
    weight: f32,
    grad: bool,
}

/// Rows of the loss table, and the one that is written.
const ROWS: usize = 4;
const ROW: usize = 2;

/// A case's values: input, labels, images.
type Values = (Vec<f32>, Vec<usize>, Vec<f32>);

/// Second labels and the shares of the first, all and nothing among them.
type Second = (Vec<usize>, Vec<f32>);

impl Case {
    fn values(&self) -> Values {
        let mut random = Random::new(self.x.iter().product::<usize>() as u64);
        let n = self.x.iter().product();
        let x = random.floats(n).iter().map(|v| v * self.size).collect();
        let labels = (0..self.x[0]).map(|_| random.below(self.classes)).collect();
        // Normalised images: pixels of [0, 1].
        let pixel = |(i, v): (usize, &f32)| ((v + 1.0) / 2.0 - SCALE.mean[i % 3]) / SCALE.std[i % 3];
        let images = random.floats(n).iter().enumerate().map(pixel).collect();
        (x, labels, images)
    }

    fn second(&self) -> Second {
        let mut random = Random::new(7 + self.x[0] as u64);
        let labels = (0..self.x[0]).map(|_| random.below(self.classes)).collect();
        let share = |(i, v): (usize, f32)| match i % 5 {
            3 => 1.0,
            4 => 0.0,
            _ => (v + 1.0) / 2.0,
        };
        (labels, random.floats(self.x[0]).into_iter().enumerate().map(share).collect())
    }
}

fn run(device: &Device, case: &Case) -> Results {
    let (x, classes, images) = case.values();
    let (x, images) = (tensor(device, case.x, &x), tensor(device, case.x, &images));
    let classes = labels(device, &classes);
    let mut grad = target(device, case.x);
    let mut values = tensor(device, [ROWS, 2], &[7.0; 2 * ROWS]);
    let into = LossTarget {
        weight: case.weight,
        grad: case.grad.then_some(&mut grad),
        values: &mut values,
        row: ROW,
    };
    let done = match case.kind {
        LossKind::CrossEntropy => device.cross_entropy(&x, &classes, into),
        LossKind::Mixed => {
            let (other, share) = case.second();
            let (other, share) = (labels(device, &other), tensor(device, [share.len()], &share));
            let mixed = Some(Mixed { other: &other, share: &share });
            device.cross_entropy(&x, Labels { own: &classes, mixed }, into)
        }
        LossKind::Contrastive(temperature) => device.contrastive(&x, &classes, temperature, into),
        LossKind::Reconstruction => device.reconstruction(&x, &images, SCALE, into),
    };
    done.unwrap();
    let values = device.download(&values).unwrap();
    let wrong = match case.kind {
        LossKind::Contrastive(_) => vec![],
        _ => vec![values[2 * ROW + 1]],
    };
    let others = [&values[..2 * ROW], &values[2 * ROW + 2..]].concat();
    let mut results: Results =
        vec![("loss".into(), vec![values[2 * ROW]]), ("wrong".into(), wrong), ("other rows".into(), others)];
    if case.grad {
        results.push(("grad".into(), device.download(&grad).unwrap()));
    }
    results
}

fn reference_loss(case: &Case) -> Loss {
    let (x, labels, images) = case.values();
    match case.kind {
        LossKind::CrossEntropy => reference::cross_entropy(&wide(&x), &labels),
        LossKind::Mixed => {
            let (other, share) = case.second();
            reference::mixed_cross_entropy(&wide(&x), &labels, &other, &wide(&share))
        }
        LossKind::Contrastive(temperature) => {
            reference::contrastive(&wide(&x), &labels, f64::from(temperature))
        }
        LossKind::Reconstruction => reference::reconstruction(&wide(&x), &wide(&images), SCALE),
    }
}

fn expect(case: &Case) -> Vec<Expected> {
    let loss = reference_loss(case);
    let wrong = match case.kind {
        LossKind::CrossEntropy | LossKind::Mixed => vec![loss.wrong as f64],
        LossKind::Contrastive(_) => vec![],
        // The column is not touched.
        LossKind::Reconstruction => vec![7.0],
    };
    let mut expected = vec![
        Expected::new("loss", vec![loss.value], FORWARD),
        Expected::new("wrong", wrong, 0.0),
        Expected::new("other rows", vec![7.0; 2 * (ROWS - 1)], 0.0),
    ];
    if case.grad {
        let grad = loss.grad.iter().map(|g| g * f64::from(case.weight)).collect();
        expected.push(Expected::new("grad", grad, GRADIENT));
    }
    expected
}

const COUNTS: [usize; 17] = [1, 2, 3, 5, 8, 10, 12, 15, 16, 17, 23, 31, 32, 33, 48, 64, 70];

fn sweep(seed: u64, shape: impl Fn(&mut Random) -> Case) -> Vec<Case> {
    let mut random = Random::new(seed);
    let mut any = || {
        let case = shape(&mut random);
        Case { weight: random.pick(&[1.0, 0.3, 5.0, -0.5]), grad: !random.one_in(4), ..case }
    };
    (0..120).map(|_| any()).collect()
}

fn base(kind: LossKind, x: [usize; 4]) -> Case {
    Case { kind, x, classes: x[3], size: 1.0, weight: 1.0, grad: true }
}

fn cross_entropies() -> Vec<Case> {
    let mut cases = sweep(41, |random| {
        let x = [random.pick(&COUNTS), 1, 1, random.pick(&COUNTS)];
        Case { size: random.pick(&[0.1, 1.0, 10.0, 80.0]), ..base(LossKind::CrossEntropy, x) }
    });
    // Logits beyond the range of exp, and ties: all equal.
    cases.push(Case { size: 1000.0, ..base(LossKind::CrossEntropy, [9, 1, 1, 10]) });
    cases.push(Case { size: 0.0, ..base(LossKind::CrossEntropy, [9, 1, 1, 10]) });
    cases.push(base(LossKind::CrossEntropy, [128, 1, 1, 1000]));
    cases
}

fn mixtures() -> Vec<Case> {
    cross_entropies().into_iter().map(|c| Case { kind: LossKind::Mixed, ..c }).collect()
}

fn contrastives() -> Vec<Case> {
    let mut cases = sweep(42, |random| {
        let x = [random.pick(&COUNTS), 1, 1, random.pick(&COUNTS[1..])];
        let kind = LossKind::Contrastive(random.pick(&[0.07, 0.5]));
        Case { classes: random.pick(&[1, 2, 3, 10]), size: random.pick(&[0.1, 1.0, 10.0]), ..base(kind, x) }
    });
    cases.push(Case { classes: 1000, ..base(LossKind::Contrastive(0.07), [4, 1, 1, 16]) });
    cases.push(Case { classes: 10, ..base(LossKind::Contrastive(0.07), [128, 1, 1, 128]) });
    cases.push(Case { classes: 7, ..base(LossKind::Contrastive(0.3), [201, 1, 1, 130]) });
    // Squares beyond the range of floats, and below it.
    for size in [1e25, 1e-25] {
        cases.push(Case { classes: 3, size, ..base(LossKind::Contrastive(0.5), [12, 1, 1, 20]) });
    }
    cases
}

fn reconstructions() -> Vec<Case> {
    let mut cases = sweep(43, |random| {
        let x = [1 + random.below(9), 1 + random.below(33), 1 + random.below(33), 3];
        Case { size: random.pick(&[0.1, 1.0, 10.0, 80.0]), ..base(LossKind::Reconstruction, x) }
    });
    cases.push(base(LossKind::Reconstruction, [1, 1, 1, 3]));
    cases
}

#[test]
fn cross_entropy() {
    check(&cross_entropies(), run, expect);
}

#[test]
fn cross_entropy_of_mixtures() {
    check(&mixtures(), run, expect);
}

#[test]
fn contrastive() {
    check(&contrastives(), run, expect);
}

#[test]
fn reconstruction() {
    check(&reconstructions(), run, expect);
}

#[test]
fn what_is_no_number_and_no_class_is_no_finite_loss() {
    for (name, device) in devices() {
        let run = |x: &[f32], classes: &[usize]| {
            let (x, classes) = (tensor(&device, [2, 1, 1, 3], x), labels(&device, classes));
            let (mut values, mut grad) = (target(&device, [1, 2]), target(&device, [2, 1, 1, 3]));
            let into = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 0 };
            device.cross_entropy(&x, &classes, into).unwrap();
            device.download(&values).unwrap()
        };
        assert_eq!(run(&[1.0; 6], &[0, 3]), [f32::INFINITY, 1.0], "{name}");
        let lost = run(&[1.0, f32::NAN, 0.0, 1.0, 0.0, 0.0], &[0, 0]);
        assert!(lost[0].is_nan() && lost[1] == 0.0, "{name}: {lost:?}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for cases in [cross_entropies(), mixtures(), contrastives(), reconstructions()] {
        check_threads(&cases, run);
    }
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    for cases in [cross_entropies(), mixtures(), contrastives(), reconstructions()] {
        check_again(&cases, run);
    }
}
