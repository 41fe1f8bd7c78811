//! A CUDA device for tests.

use mlaan_engine::Device;
use std::process::Command;
use std::sync::OnceLock;

/// The device, or nothing where tests have none, which is said once.
pub fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| mlaan_host_cuda::tests_on().map(|_| Device::cuda(0).unwrap())).clone()
}

/// Which kernels run is chosen when a device is opened, by this variable.
const KERNELS: &str = "MLAAN_CUDA_KERNELS";

/// Runs `test` of this program in a process that has chosen the new kernels; there it is true.
pub fn with_new_kernels(test: &str) -> bool {
    if std::env::var(KERNELS).as_deref() == Ok("new") {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(KERNELS, "new").status().unwrap();
    assert!(status.success(), "{test} with {KERNELS}=new: {status}");
    false
}
