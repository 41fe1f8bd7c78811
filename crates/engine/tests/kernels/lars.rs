//! LARS on every device against its reference, and its reference against timm's form in PyTorch.

use crate::common::check::{Expected, FORWARD, Results, check, check_again, check_threads};
use crate::common::random::Random;
use crate::common::values::{tensor, wide};
use mlaan_engine::ops::Lars;
use mlaan_engine::reference;
use mlaan_engine::{Device, DeviceKind, MemoryCategory};

const LENGTHS: [usize; 15] = [1, 2, 3, 8, 15, 16, 17, 64, 65, 1000, 2048, 2049, 33_333, 150_001, 600_000];

type Case = (usize, Lars);

fn cases() -> Vec<Case> {
    let options = |momentum, weight_decay, nesterov| Lars {
        lr: 0.5,
        momentum,
        weight_decay,
        trust: 0.02,
        eps: 1e-8,
        nesterov,
    };
    let all = [options(0.9, 1e-2, true), options(0.9, 0.0, false), options(0.0, 0.1, false)];
    LENGTHS.iter().flat_map(|&n| all.map(|o| (n, o))).collect()
}

/// Parameters, and gradients of three steps; in the last the gradient is 0.
fn values(n: usize) -> (Vec<f32>, [Vec<f32>; 3]) {
    let mut random = Random::new(n as u64);
    (random.floats(n), [random.floats(n), random.floats(n), vec![0.0; n]])
}

fn steps(device: &Device, &(n, options): &Case) -> Results {
    let (p, gradients) = values(n);
    let (mut p, mut v) = (tensor(device, [n], &p), device.full([n], 0.0, MemoryCategory::Optimiser).unwrap());
    for g in &gradients {
        device.lars(&mut p, &tensor(device, [n], g), &mut v, options).unwrap();
    }
    vec![("p".into(), device.download(&p).unwrap()), ("v".into(), device.download(&v).unwrap())]
}

fn expect(&(n, options): &Case) -> Vec<Expected> {
    let (p, gradients) = values(n);
    let (mut p, mut v) = (wide(&p), vec![0.0; n]);
    for g in &gradients {
        reference::lars(&mut p, &wide(g), &mut v, options);
    }
    vec![Expected::new("p", p, FORWARD), Expected::new("v", v, FORWARD)]
}

#[test]
fn every_device_does_what_the_reference_does() {
    check(&cases(), steps, expect);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&cases(), steps);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&cases(), steps);
}

#[test]
fn a_plan_is_what_is_used() {
    for n in [5, 150_001] {
        let run = |device: &Device| {
            let mut p = device.full([n], 1.0, MemoryCategory::Parameters).unwrap();
            let (g, mut v) = (tensor(device, [n], &vec![0.5; n]), tensor(device, [n], &vec![0.0; n]));
            device.lars(&mut p, &g, &mut v, cases()[0].1).unwrap();
        };
        let (dry, cpu) =
            (Device::dry(DeviceKind::Cpu { threads: Some(3) }).unwrap(), Device::cpu(Some(3)).unwrap());
        run(&dry);
        cpu.pool().reserve(&dry.usage()).unwrap();
        run(&cpu);
        assert_eq!(cpu.usage(), dry.usage());
    }
}

#[test]
fn five_steps_are_those_of_timm() {
    let gradients = [
        [0.1, -0.2, 0.3, 0.0, -1.5],
        [0.05, 0.4, -0.1, 1e-9, 2.0],
        [-0.3, 0.2, 0.2, 0.0, 0.5],
        [1e-3, -2.0, 0.7, 1e-9, -0.25],
        [0.6, 0.1, -0.4, 0.0, 1.0],
    ];
    // The lines of timm.optim.Lars with always_adapt, by PyTorch 2.11 in 64 bits.
    let right = [
        (
            false,
            [
                0.5139895570957396,
                -1.213924831727076,
                1.919629839890778,
                -1.074120008005883e-10,
                3.401401203513376,
            ],
            [
                1.563998961316916e-2,
                -0.04184188508377716,
                0.03112379117512946,
                6.483434823636661e-11,
                0.1232364985990647,
            ],
        ),
        (
            true,
            [
                0.5071845866240323,
                -1.195943798435736,
                1.905831343104135,
                -1.365920810635197e-10,
                3.34574697395392,
            ],
            [
                0.01532216210780907,
                -0.04133638286839158,
                0.0310980800259238,
                6.469571569526581e-11,
                0.1228609314191879,
            ],
        ),
    ];
    for (nesterov, parameter, velocity) in right {
        let options = Lars { lr: 0.5, momentum: 0.9, weight_decay: 1e-2, trust: 0.02, eps: 1e-8, nesterov };
        let (mut p, mut v) = (vec![0.5, -1.25, 2.0, 0.0, 3.5], vec![0.0; 5]);
        for g in gradients {
            reference::lars(&mut p, &g, &mut v, options);
        }
        let pairs = p.iter().zip(parameter).chain(v.iter().zip(velocity));
        for (found, right) in pairs {
            // The options are 32-bit numbers.
            assert!((found - right).abs() < 1e-6 * right.abs(), "{found:e}, not {right:e}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let t = |n: usize| tensor(&device, [n], &vec![1.0; n]);
    let said = device.lars(&mut t(4), &t(4), &mut t(5), cases()[0].1).unwrap_err().to_string();
    assert_eq!(said, "lars: [4] and [5] must have the same shape");
}
