//! A CUDA device for tests: kernels on the processor, unless the machine's own GPU is asked for.

use mlaan_engine::Device;
use std::sync::OnceLock;

/// The device, or nothing where it cannot be had, which is said once. `MLAAN_TEST_CUDA`: `off` for none, `real` for
/// the machine's own GPU, which then must be there.
pub fn device() -> Option<Device> {
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(open).clone()
}

fn open() -> Option<Device> {
    match std::env::var("MLAAN_TEST_CUDA").as_deref() {
        Ok("off") => return skipped("MLAAN_TEST_CUDA is off"),
        Ok("real") => {}
        _ => {
            if let Err(missing) = mlaan_host_cuda::install() {
                return skipped(&missing);
            }
        }
    }
    Some(Device::cuda(0).unwrap())
}

fn skipped(why: &str) -> Option<Device> {
    eprintln!("SKIPPED on cuda: {why}");
    None
}
