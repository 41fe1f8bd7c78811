//! What the kernels of single operations would ask of a GPU, counted on the processor; `bench/kernels.py` reads it.
//!
//! `MLAAN_HOST_CUDA_COUNT=FILE cargo run -p mlaan-engine --example kernel_counts -- BATCHES OPERATION...`
//!
//! Batches are divided by commas; operations are named as a profile names them (`convolve 3x3 16→16 32x32`) and run in
//! bf16. With `MLAAN_HOST_CUDA_PROGRAMS=DIR` the kernels' programs are left there, too.

#[path = "../tests/common/operation.rs"]
mod operation;

use mlaan_engine::{Device, Precision};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let batches = args.next().ok_or("give batches and operations")?;
    let operations: Vec<String> = args.collect();
    let counts = std::env::var(mlaan_host_cuda::counts::VARIABLE)
        .map_err(|_| "MLAAN_HOST_CUDA_COUNT names no file")?;
    mlaan_host_cuda::install()?;
    let device = Device::cuda(0)?.with_precision(Precision::Bf16);
    for name in &operations {
        for batch in batches.split(',') {
            let mut file = OpenOptions::new().create(true).append(true).open(&counts)?;
            let shown = name.replace('"', "");
            writeln!(file, "{{\"operation\":\"{shown}\",\"batch\":{batch}}}")?;
            if !operation::run(&device, name, batch.parse()?)? {
                eprintln!("{name}: not a name that is known here");
            }
            device.synchronize()?;
        }
    }
    Ok(())
}
