//! Activations on every device against the reference.

use crate::common::check::{
    Expected, FORWARD, Results, Wanted, before, check_again, check_stored, check_threads, expected_outgoing,
    outgoing,
};
use crate::common::random::Random;
use crate::common::values::{Input, stored, tensor, wide};
use mlaan_engine::ops::{Gelu, Operand, Outgoing};
use mlaan_engine::reference;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Precision};

#[derive(Clone, Copy, Debug)]
struct Case {
    form: Gelu,
    x: [usize; 4],
    /// Normalise and rectify while loading.
    load: (bool, bool),
    dx: Wanted,
}

impl Case {
    /// Operand, gradient of the result, what the operand's gradient is added to.
    fn values(&self) -> (Input, Vec<f32>, Vec<f32>) {
        let mut random = Random::new(self.x.iter().product::<usize>() as u64);
        let mut x = Input::random(&mut random, self.x, self.load.0, self.load.1);
        // So that all of the curve is seen.
        x.raw.iter_mut().for_each(|v| *v *= 4.0);
        let dy = random.floats(x.raw.len());
        let before = before(&mut random, &x);
        (x, dy, before)
    }
}

fn cases() -> Vec<Case> {
    let mut random = Random::new(41);
    let mut cases = Vec::new();
    for form in [Gelu::Exact, Gelu::Tanh] {
        for c in [1, 2, 3, 8, 15, 16, 17, 48, 63, 64, 65, 70, 136] {
            for _ in 0..3 {
                let x = [1 + random.below(5), 1 + random.below(9), 1 + random.below(9), c];
                let load = (random.one_in(2), random.one_in(3));
                let dx = Wanted { accumulate: random.one_in(3), sums: load.0 && random.one_in(2) };
                cases.push(Case { form, x, load, dx });
            }
        }
        let dx = Wanted { accumulate: true, sums: true };
        cases.push(Case { form, x: [70, 9, 8, 24], load: (true, true), dx });
    }
    cases
}

fn forward(device: &Device, case: &Case) -> Results {
    let x = case.values().0.upload(device);
    let y = device.gelu(&x.operand(), case.form).unwrap();
    assert_eq!((y.shape(), y.dtype()), (x.tensor.shape(), x.tensor.dtype()));
    vec![("y".into(), device.download(&y).unwrap())]
}

fn expect_forward(case: &Case, precision: Precision) -> Vec<Expected> {
    let y = reference::gelu(&case.values().0.loaded(), case.form);
    vec![Expected::new("y", y, FORWARD).stored(precision)]
}

fn backward(device: &Device, case: &Case) -> Results {
    let (x, dy, before) = case.values();
    let dy = stored(device, case.x, &dy);
    outgoing(device, &x, case.dx, &before, |x, dx| {
        device.gelu_backward(&x.operand(), case.form, &dy, dx).unwrap();
    })
}

fn expect_backward(case: &Case, precision: Precision) -> Vec<Expected> {
    let (x, dy, before) = case.values();
    let dx = reference::gelu_backward(&x.loaded(), case.form, &wide(&dy));
    expected_outgoing(&x, case.dx, &before, &dx, 1, precision)
}

#[test]
fn gelu() {
    check_stored(&cases(), forward, expect_forward);
}

#[test]
fn gelu_backward() {
    check_stored(&cases(), backward, expect_backward);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    check_threads(&cases(), forward);
    check_threads(&cases(), backward);
}

#[test]
fn two_runs_on_cuda_give_the_same_bits() {
    check_again(&cases(), forward);
    check_again(&cases(), backward);
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu(Some(1)).unwrap();
    let (x, dy) = (tensor(&device, [2, 3], &[1.0; 6]), tensor(&device, [3, 2], &[1.0; 6]));
    let mut dx = tensor(&device, [2, 3], &[0.0; 6]);
    let out = Outgoing { grad: &mut dx, accumulate: false, norm: None };
    let said = device.gelu_backward(&Operand::plain(&x), Gelu::Exact, &dy, out).unwrap_err().to_string();
    assert_eq!(said, "gelu_backward: [2, 3] and [3, 2] must have the same shape");
    let classes = device.alloc([3], DType::U32, MemoryCategory::Data).unwrap();
    let said = device.gelu(&Operand::plain(&classes), Gelu::Tanh).unwrap_err().to_string();
    assert_eq!(said, "gelu: takes values of F32 or Bf16, not U32");
}

#[test]
fn a_plan_is_what_is_used_and_a_profile_names_it() {
    let steps = |device: &Device| {
        let input = Input::random(&mut Random::new(3), [3, 4, 5, 6], true, true).upload(device);
        let y = device.gelu(&input.operand(), Gelu::Tanh).unwrap();
        let mut dx = stored(device, [3, 4, 5, 6], &[0.0; 360]);
        let out = Outgoing { grad: &mut dx, accumulate: true, norm: None };
        device.gelu_backward(&input.operand(), Gelu::Tanh, &y, out).unwrap();
    };
    for precision in [Precision::F32, Precision::Bf16] {
        let dry = Device::dry(DeviceKind::Cpu { threads: Some(2) }).unwrap().with_precision(precision);
        let cpu = Device::cpu(Some(2)).unwrap().with_precision(precision);
        let profiled = cpu.profiled();
        steps(&dry);
        cpu.pool().reserve(&dry.usage()).unwrap();
        steps(&profiled);
        assert_eq!(cpu.usage(), dry.usage());
        let found = profiled.profile().into_iter().filter(|c| c.name.starts_with("gelu"));
        let mut found: Vec<_> = found.map(|c| (c.name, c.calls, c.bytes)).collect();
        found.sort();
        let (values, rows) = (360 * precision.dtype().bytes() as u64, 4 * 6 * 4);
        if precision == Precision::F32 {
            let forward = ("gelu 3x4x5x6".to_string(), 1, 2 * values + rows);
            assert_eq!(found, [forward, ("gelu_backward 3x4x5x6".to_string(), 1, 4 * values + rows)]);
        }
    }
}
