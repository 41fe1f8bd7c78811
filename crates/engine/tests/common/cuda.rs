//! A CUDA device for tests.

use mlaan_engine::Device;
use std::sync::OnceLock;

/// The device, or nothing where tests have none, which is said once.
pub fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| mlaan_host_cuda::tests_on().map(|_| Device::cuda(0).unwrap())).clone()
}
