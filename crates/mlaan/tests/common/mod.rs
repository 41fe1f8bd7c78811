//! What tests of runs share.

use mlaan_engine::Device;

/// A CUDA device, or nothing where it cannot be had, which is said. Its kernels run on the processor, unless
/// `MLAAN_TEST_CUDA` is `real`; `off` is for none.
pub fn cuda() -> Option<Device> {
    let installed = match std::env::var("MLAAN_TEST_CUDA").as_deref() {
        Ok("off") => Err("MLAAN_TEST_CUDA is off".into()),
        Ok("real") => Ok(()),
        _ => mlaan_host_cuda::install(),
    };
    match installed {
        Ok(()) => Some(Device::cuda(0).unwrap()),
        Err(why) => {
            eprintln!("SKIPPED on cuda: {why}");
            None
        }
    }
}
