//! Batches from host bytes to the device.

use crate::Result;
use crate::data::Batch;
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, Purpose, Tensor};

/// Images normalised on the device, and labels.
#[derive(Debug)]
pub struct Fed {
    /// `[n, size, size, 3]`.
    pub images: Tensor,
    /// `[n]`.
    pub labels: Tensor,
}

/// Room for a batch of `n` images, with values when `batch` is given (a plan has none).
///
/// # Errors
/// Out of memory.
pub fn feed(device: &Device, batch: Option<&Batch>, n: usize, size: usize, scale: PixelScale) -> Result<Fed> {
    let mut labels = device.alloc([n], DType::U32, Purpose::Data)?;
    let mut images = device.alloc([n, size, size, 3], DType::F32, Purpose::Data)?;
    let mut bytes = device.alloc([n, size, size, 3], DType::U8, Purpose::Data)?;
    if let Some(b) = batch {
        device.upload(&mut labels, &b.labels)?;
        device.upload(&mut bytes, &b.bytes)?;
    }
    device.images_from_bytes(&bytes, scale, &mut images)?;
    Ok(Fed { images, labels })
}
