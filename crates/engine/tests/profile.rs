//! A profiled handle: the same bits, every operation counted once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::network::{Network, step};
use common::values::tensor;
use mlaan_engine::ops::{Conv2dParams, Operand};
use mlaan_engine::{Device, DeviceKind, OperationCost};

const NETWORK: Network = Network { images: [4, 9, 8, 3], channels: [8, 16], classes: 10 };

fn find<'a>(costs: &'a [OperationCost], name: &str) -> &'a OperationCost {
    costs.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no {name} in {costs:#?}"))
}

#[test]
fn a_profiled_step_has_the_same_bits_and_all_of_its_operations() {
    let device = Device::cpu(Some(2)).unwrap();
    let plain = step(&device, &NETWORK);
    let profiled = device.profiled();
    let same = step(&profiled, &NETWORK);
    assert_eq!(format!("{plain:?}"), format!("{same:?}"));
    assert_eq!(device.profile(), []);

    let costs = profiled.profile();
    assert_eq!(costs.iter().map(|c| c.flops).sum::<u64>(), profiled.flops());
    assert_eq!(profiled.flops(), device.flops());
    assert_eq!(costs.iter().map(|c| c.bytes).sum::<u64>(), profiled.bytes_accessed());
    assert_eq!(profiled.bytes_accessed(), device.bytes_accessed());
    assert!(costs.windows(2).all(|w| w[0].seconds >= w[1].seconds), "the slowest first");
    assert!(costs.iter().all(|c| c.calls > 0 && c.seconds >= 0.0 && c.bytes > 0));
    let names = ["convolve 3x3 3→8 9x8", "convolve 3x3/2 8→16 9x8", "convolve 1x1/2 8→16 9x8"];
    assert!(names.iter().all(|n| find(&costs, n).calls == 1));

    step(&profiled, &NETWORK);
    let twice = profiled.profile();
    assert_eq!(find(&twice, names[0]).calls, 2);
    assert_eq!(find(&twice, names[0]).bytes, 2 * find(&costs, names[0]).bytes);
    profiled.reset_profile();
    assert_eq!(profiled.profile(), []);
}

#[test]
fn a_convolution_has_its_operations_and_bytes() {
    let device = Device::cpu(Some(1)).unwrap().profiled();
    let (x, w) = (vec![1.0; 2 * 6 * 5 * 4], vec![1.0; 7 * 4 * 9]);
    let (x, w) = (tensor(&device, [2, 6, 5, 4], &x), tensor(&device, [7, 4, 3, 3], &w));
    device.reset_profile();
    device.convolve(Conv2dParams::same(3, 1), &Operand::plain(&x), &w, None, None).unwrap();
    let costs = device.profile();
    let cost = find(&costs, "convolve 3x3 4→7 6x5");
    assert_eq!(cost.flops, 2 * (2 * 6 * 5 * 7) * 4 * 9);
    assert_eq!(cost.bytes, 4 * (2 * 6 * 5 * 4 + 7 * 4 * 9 + 2 * 6 * 5 * 7));
}

#[test]
fn multiply_adds_are_counted_for_every_thread() {
    let one = Device::cpu(Some(1)).unwrap().multiply_adds(10);
    assert!(one > 0);
    let three = Device::cpu(Some(3)).unwrap();
    assert_eq!(three.multiply_adds(10), 3 * one);
    assert_eq!(three.profiled().multiply_adds(10), 3 * one);
    assert_eq!(Device::dry(DeviceKind::Cpu { threads: Some(3) }).unwrap().multiply_adds(10), 0);
}
