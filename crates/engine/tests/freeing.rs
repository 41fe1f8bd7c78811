//! A GPU's memory is given back when nothing that was asked for reads or writes it any more.
#![allow(clippy::unwrap_used, clippy::panic)]

use mlaan_engine::{Device, MemoryCategory};
use mlaan_host_cuda::{On, calls, tests_on};
use std::process::Command;

#[test]
#[ignore = "`memory_is_given_back_when_its_device_is_done` runs it on a driver that does things late"]
fn late() {
    tests_on().unwrap();
    let device = Device::cuda(0).unwrap();
    let mut tensor = device.full([1000], 1.0, MemoryCategory::Data).unwrap();
    // Compiles the kernel: until then launches would wait here and not on the stream.
    device.synchronize().unwrap();
    let before = calls().unwrap();
    device.fill(&mut tensor, 2.0).unwrap();
    device.upload(&mut tensor, &[3f32; 1000]).unwrap();
    let asked = calls().unwrap().since(before);
    assert_eq!((asked.waits, asked.event_waits), (0, 0), "nothing is left to do: {asked:?}");
    // The last of the device gives its memory back.
    drop((tensor, device));
    let found = calls().unwrap().since(before);
    assert_eq!(found.early_frees, 0, "{found:?}");
    assert!(found.waits > 0, "{found:?}");
}

#[test]
fn memory_is_given_back_when_its_device_is_done() {
    if tests_on() != Some(On::Host) {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "late", "--nocapture", "--ignored"]).env("MLAAN_HOST_CUDA_LATE", "1");
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}
