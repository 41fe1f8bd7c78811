//! What the dry device says is what a computing one uses, to the byte.

use crate::common::network::{Network, step};
use crate::common::random::Random;
use crate::common::values::{Input, Sums, labels, target, tensor};
use mlaan_engine::ops::{Conv2dParams, Incoming, LossTarget, Outgoing, Padding, PixelScale, Sgd, WeightGrad};
use mlaan_engine::{DType, Device, DeviceKind, Isa, MemoryCategory, Usage};

/// Runs on the dry device, then on one with its plan reserved, and compares.
fn compare(what: &str, run: impl Fn(&Device)) {
    for threads in [1, 2, 3, 7] {
        let dry = Device::dry(DeviceKind::Cpu { threads: Some(threads) }).unwrap();
        run(&dry);
        let plan: Usage = dry.usage();
        let cpu = Device::cpu(Some(threads)).unwrap();
        cpu.pool().reserve(&plan).unwrap();
        run(&cpu);
        assert_eq!(cpu.usage(), plan, "{what}, {threads} threads");
        assert_eq!(cpu.flops(), dry.flops(), "{what}, {threads} threads");
        let unplanned = Device::cpu(Some(threads)).unwrap();
        run(&unplanned);
        let usage = Usage {
            held: plan.held,
            held_small: plan.held_small,
            footprint: plan.footprint,
            ..unplanned.usage()
        };
        assert_eq!(usage, plan, "{what}, {threads} threads, nothing reserved");
    }
}

#[test]
fn steps_of_networks() {
    for (images, channels, classes) in
        [([4, 9, 8, 3], [8, 16], 10), ([16, 32, 32, 3], [17, 70], 100), ([1, 1, 1, 3], [1, 1], 2)]
    {
        let network = Network { images, channels, classes };
        compare(&format!("{network:?}"), |device| drop((step(device, &network), step(device, &network))));
    }
}

/// A convolution and its gradients.
fn convolution(device: &Device, x: [usize; 4], out: usize, window: Conv2dParams) {
    let input = Input::random(&mut Random::new(1), x, true, true).upload(device);
    let shape = [out, x[3], window.kernel, window.kernel];
    let w = device.full(shape, 0.1, MemoryCategory::Parameters).unwrap();
    let y = device.convolve(window, &input.operand(), &w, None, None).unwrap();
    let (mut dx, mut dw) = (target(device, x), target(device, shape));
    let mut sums = Sums::new(device, x[3]);
    let dx = Outgoing { grad: &mut dx, accumulate: false, norm: Some(sums.grad()) };
    let dw = WeightGrad { weight: &mut dw, bias: None };
    let dy = Incoming { grad: &y, norm: None };
    device.convolve_backward(window, &input.operand(), &w, &dy, None, Some(dw)).unwrap();
    device.convolve_backward(window, &input.operand(), &w, &dy, Some(dx), None).unwrap();
}

#[test]
fn convolutions() {
    for (x, out, kernel, stride) in
        [([9, 15, 16, 23], 33, 3, 1), ([2, 33, 33, 3], 12, 7, 2), ([3, 1, 1, 70], 10, 1, 1)]
    {
        compare("convolution", |device| convolution(device, x, out, Conv2dParams::same(kernel, stride)));
    }
}

/// Every pool and resize, both ways.
fn resampling(device: &Device) {
    let x = Input::random(&mut Random::new(2), [5, 9, 11, 17], true, true).upload(device);
    let window = Conv2dParams::same(3, 2);
    let mut dx = target(device, x.tensor.shape());
    let mut sums = Sums::new(device, 17);
    let y = device.max_pool(window, &x.operand()).unwrap();
    let out = Outgoing { grad: &mut dx, accumulate: false, norm: Some(sums.grad()) };
    device.max_pool_backward(window, &x.operand(), &y, out).unwrap();
    let y = device.average_pool(&x.operand(), 3, 2).unwrap();
    let out = Outgoing { grad: &mut dx, accumulate: true, norm: Some(sums.grad()) };
    device.average_pool_backward(&x.operand(), &y, out).unwrap();
    let y = device.resize(&x.operand(), 20, 20).unwrap();
    let out = Outgoing { grad: &mut dx, accumulate: true, norm: Some(sums.grad()) };
    device.resize_backward(&x.operand(), &y, out).unwrap();
    let sum = device.add(&x.operand(), None, true).unwrap();
    device.add_assign(&mut dx, &sum).unwrap();
    device.add_backward(&mut dx, Some(&sum), [None, None]).unwrap();
}

/// Every loss, and what moves parameters.
fn losses_and_updates(device: &Device) {
    let scale = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let mut bytes = device.alloc([7, 5, 5, 3], DType::U8, MemoryCategory::Data).unwrap();
    device.upload(&mut bytes, &[100u8; 525]).unwrap();
    let mut images = target(device, [7, 5, 5, 3]);
    device.images_from_bytes(&bytes, scale, &mut images).unwrap();
    let mut draws = device.alloc([7, 4], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut draws, &[1u32; 28]).unwrap();
    device.images_from_set(&bytes, &draws, Padding::NONE, scale, &mut images).unwrap();
    let raw = device.full([7, 5, 5, 3], 0.5, MemoryCategory::Activations).unwrap();
    let features = tensor(device, [7, 1, 1, 10], &Random::new(3).floats(70));
    let classes = labels(device, &[0, 1, 2, 0, 1, 2, 3]);
    let (mut values, mut grad) = (target(device, [3, 2]), target(device, [7, 1, 1, 10]));
    let into = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 0 };
    device.cross_entropy(&features, &classes, into).unwrap();
    let into = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 1 };
    device.contrastive(&features, &classes, 0.07, into).unwrap();
    let into = LossTarget { weight: 1.0, grad: None, values: &mut values, row: 2 };
    device.reconstruction(&raw, &images, scale, into).unwrap();
    let options = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 1e-4, nesterov: true };
    let mut velocity = device.full([7, 1, 1, 10], 0.0, MemoryCategory::Optimiser).unwrap();
    let mut parameter = device.full([7, 1, 1, 10], 0.0, MemoryCategory::Parameters).unwrap();
    device.copy(&mut parameter, &features).unwrap();
    device.sgd(&mut parameter, &grad, &mut velocity, options).unwrap();
    device.ema(&mut parameter, &features, 0.9).unwrap();
}

#[test]
fn everything_else() {
    compare("resampling", resampling);
    compare("losses and updates", losses_and_updates);
}

#[test]
fn a_plan_holds_for_every_instruction_set() {
    let network = Network { images: [16, 32, 32, 3], channels: [24, 40], classes: 100 };
    let run = |device: &Device| {
        drop((step(device, &network), step(device, &network)));
        for (channels, out, kernel) in [(24, 40, 3), (68, 100, 1), (3, 20, 3)] {
            let window = Conv2dParams::same(kernel, 1);
            let x = Input::random(&mut Random::new(1), [2, 8, 8, channels], true, true).upload(device);
            let w = device.full([out, channels, kernel, kernel], 0.1, MemoryCategory::Parameters).unwrap();
            let packed = device.prepack(window, &x.operand(), &w).unwrap().unwrap();
            device.convolve(window, &x.operand(), &packed, None, None).unwrap();
        }
    };
    let dry = Device::dry(DeviceKind::Cpu { threads: Some(2) }).unwrap();
    run(&dry);
    for isa in Isa::available() {
        let cpu = Device::cpu_with(Some(2), isa).unwrap();
        cpu.pool().reserve(&dry.usage()).unwrap();
        run(&cpu);
        assert_eq!(cpu.usage(), dry.usage(), "{isa:?}");
    }
}

#[test]
fn nothing_is_behind_a_dry_tensor() {
    let dry = Device::dry(DeviceKind::Cpu { threads: Some(2) }).unwrap();
    assert!(!dry.computes());
    let vast = dry.full([1 << 20, 1 << 10, 1 << 10], 1.0, MemoryCategory::Activations).unwrap();
    assert_eq!(dry.usage().current, 1 << 42);
    drop(vast);
    assert_eq!((dry.usage().current, dry.usage().peak), (0, 1 << 42));
    let small = dry.full([3], 1.0, MemoryCategory::Data).unwrap();
    assert_eq!(dry.download(&small).unwrap(), [0.0; 3]);
}

#[test]
fn a_gpu_is_planned_without_one() {
    let network = Network { images: [16, 32, 32, 3], channels: [17, 70], classes: 100 };
    let planned = || {
        let dry = Device::dry(DeviceKind::Cuda).unwrap();
        assert_eq!((dry.name(), dry.kind(), dry.free_memory()), ("dry", DeviceKind::Cuda, None));
        drop((step(&dry, &network), step(&dry, &network)));
        dry.synchronize().unwrap();
        (dry.usage(), dry.flops())
    };
    let (usage, flops) = planned();
    assert!(usage.footprint > 0 && flops > 0);
    assert_eq!(planned(), (usage, flops));
}

#[test]
fn a_device_says_what_it_is() {
    let cpu = Device::cpu(Some(3)).unwrap();
    assert_eq!((cpu.name(), cpu.kind()), ("cpu", DeviceKind::Cpu { threads: Some(3) }));
    assert_eq!(cpu.profiled().kind(), cpu.kind());
    assert!(!cpu.kind().has_own_memory() && cpu.free_memory().is_none());
    assert_eq!((DeviceKind::Cuda.name(), DeviceKind::Cuda.has_own_memory()), ("cuda", true));
}
