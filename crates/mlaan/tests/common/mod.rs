//! What tests of runs share.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

pub mod python;
pub mod trained;

use mlaan_engine::Device;

/// A CUDA device, or nothing where tests have none, which is said.
pub fn cuda() -> Option<Device> {
    mlaan_host_cuda::tests_on().map(|_| Device::cuda(0).unwrap())
}

/// The processor, and a CUDA device where tests have one.
pub fn devices() -> Vec<Device> {
    [Device::cpu(None).unwrap()].into_iter().chain(cuda()).collect()
}
