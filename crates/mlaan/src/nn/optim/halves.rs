//! Values that are kept in bfloat16: widened to 32 bits to be computed with, and rounded stochastically when they are stored again.
//!
//! Random bits depend on a parameter's name, the step and the element alone: a run that goes on has the same, and so has any
//! number of threads.

use crate::Result;
use crate::rng::{RandomStream, Rng, hash};
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// What the random bits of a parameter depend on in step `step`, from 1.
pub fn key(owner: &str, leaf: &str, step: u64) -> u64 {
    let name = [owner, ".", leaf].into_iter().flat_map(str::bytes);
    Rng::new(0, RandomStream::Round, hash(name), step).bits()
}

/// The same values in 32 bits.
///
/// # Errors
/// Out of memory.
pub fn wide(device: &Device, of: &Tensor, category: MemoryCategory) -> Result<Tensor> {
    let mut wide = device.alloc(of.shape(), DType::F32, category)?;
    device.convert(&mut wide, of)?;
    Ok(wide)
}

/// Lets `f` change values in 32 bits.
///
/// # Errors
/// Out of memory; what `f` returns.
pub fn widened(
    device: &Device,
    tensors: &mut [Tensor],
    key: u64,
    f: impl FnOnce(&mut [Tensor]) -> Result<()>,
) -> Result<()> {
    let all = tensors.iter().map(|t| wide(device, t, MemoryCategory::Workspace));
    let mut all = all.collect::<Result<Vec<Tensor>>>()?;
    f(&mut all)?;
    for (i, (t, wide)) in tensors.iter_mut().zip(&all).enumerate() {
        // Every tensor of a parameter has bits of its own; neighbouring keys would give neighbours the same.
        let own = key ^ (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        device.ema_rounded(t, wide, 0.0, own)?;
    }
    Ok(())
}
