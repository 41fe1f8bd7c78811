//! What goes up to a GPU arrives as it was, however late the GPU takes it and whatever becomes of the host's bytes; and
//! nobody waits for it. What comes down is read when it is there.
#![allow(clippy::unwrap_used, clippy::panic)]

use mlaan_engine::{DType, Device, MemoryCategory, Tensor};
use mlaan_host_cuda::{Calls, On, calls, tests_on};
use std::process::Command;

/// The bytes of upload `i`.
fn bytes(i: usize, len: usize) -> Vec<f32> {
    (0..len).map(|k| (i * 31 + k % 97) as f32).collect()
}

/// Uploads of these lengths, one behind the other without a wait, then read; what the driver was called for until then.
fn up(lengths: &[usize]) -> Calls {
    let device = Device::cuda(0).unwrap();
    let tensors = lengths.iter().map(|&n| device.full([n], 0.0, MemoryCategory::Data).unwrap());
    let mut tensors: Vec<Tensor> = tensors.collect();
    // Compiles its kernel.
    device.synchronize().unwrap();
    let before = calls().unwrap();
    for (i, t) in tensors.iter_mut().enumerate() {
        device.upload(t, &bytes(i, t.len())).unwrap();
    }
    let found = calls().unwrap().since(before);
    for (i, t) in tensors.iter().enumerate() {
        assert!(t.dtype() == DType::F32 && device.download(t).unwrap() == bytes(i, t.len()), "upload {i}");
    }
    found
}

/// Small ones and large ones, more than there are blocks for.
fn many() -> Vec<usize> {
    [vec![1000; 250], vec![20_000; 9]].concat()
}

/// As many that grow, so that blocks are made anew.
fn growing() -> Vec<usize> {
    (0..250).map(|i| 1 + 37 * i).chain((0..9).map(|i| 30_000 * (i + 1))).collect()
}

/// Copies tensors down, small ones and such as come in several pieces; what the driver was called for.
fn down() -> Calls {
    let device = Device::cuda(0).unwrap();
    let mut found = Calls::default();
    // Bytes: of a loss, of a piece and beside it, of three pieces and a part.
    for n in [1, 1000, 1 << 20, (1 << 20) + 1, 3 * (1 << 20) + 17] {
        let mut t = device.full([n], 0.0, MemoryCategory::Data).unwrap();
        let values = bytes(n % 89, n);
        device.upload(&mut t, &values).unwrap();
        let before = calls().unwrap();
        assert!(device.download(&t).unwrap() == values, "{n} values");
        let asked = calls().unwrap().since(before);
        found.downloads += asked.downloads;
        found.pageable += asked.pageable;
    }
    found
}

#[test]
#[ignore = "`a_gpu_that_is_late_gets_what_was_sent` runs it on a driver that does things late"]
fn late() {
    tests_on().unwrap();
    let found = down();
    assert_eq!((found.downloads, found.pageable), (1 + 1 + 1 + 2 + 4, 0), "{found:?}");
    let found = up(&many());
    assert_eq!((found.downloads, found.waits, found.pageable), (0, 0, 0), "{found:?}");
    // There are 96 blocks for small copies and 3 for large ones: the others wait for the copy before them, and only for it.
    assert_eq!(found.event_waits, 250 - 96 + 9 - 3, "{found:?}");
    let found = up(&growing());
    assert_eq!((found.downloads, found.waits, found.pageable), (0, 0, 0), "{found:?}");
}

#[test]
#[ignore = "`a_gpu_that_is_late_gets_what_was_sent` runs it where no memory can be locked"]
fn unlocked() {
    tests_on().unwrap();
    let found = up(&many());
    assert_eq!(found.pageable, many().len() as u64, "{found:?}");
    let found = down();
    assert_eq!((found.downloads, found.pageable), (5, 5), "{found:?}");
}

#[test]
fn a_gpu_that_is_late_gets_what_was_sent() {
    if tests_on() != Some(On::Host) {
        return;
    }
    // At once, too: a block that is filled again before it was emptied would show.
    let found = down();
    assert_eq!((found.downloads, found.pageable), (9, 0), "{found:?}");
    for (test, variables) in [
        ("late", vec!["MLAAN_HOST_CUDA_LATE=1"]),
        ("unlocked", vec!["MLAAN_HOST_CUDA_LATE=1", "MLAAN_HOST_CUDA_LOCKED=0"]),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--ignored"]);
        command.envs(variables.iter().filter_map(|v| v.split_once('=')));
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("1 passed"), "{test}: {said}");
    }
}
