//! Values in and out of tensors, copies and sums.

use super::Device;
use super::checks::{ensure, floats, same_shape};
use crate::{DType, Element, Error, Result, Tensor};

impl Device {
    /// Copies host values into a tensor of the same type and length.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn upload<T: Element>(&self, tensor: &mut Tensor, values: &[T]) -> Result<()> {
        ensure(tensor.len() == values.len() && tensor.dtype() == T::DTYPE, "upload", || {
            format!(
                "{} values of {:?} for {:?} {:?}",
                values.len(),
                T::DTYPE,
                tensor.dtype(),
                tensor.shape().dims()
            )
        })?;
        // The match is on a constant; the casts are from a type to itself.
        match T::DTYPE {
            DType::F32 => self.0.backend.upload_f32(tensor, cast(values)),
            DType::Bf16 => self.0.backend.upload_bf16(tensor, cast(values)),
            DType::U32 => self.0.backend.upload_u32(tensor, cast(values)),
            DType::U8 => self.0.backend.upload_u8(tensor, cast(values)),
            DType::F64 => {
                return Err(Error::Shape { operation: "upload", message: "64-bit sums stay inside".into() });
            }
        }
        Ok(())
    }

    /// Copies a tensor of floats to the host, as 32-bit ones; zeros on `dry`. Waits for the operations before it.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Failed`] when an operation before it failed.
    pub fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let mut values = vec![0.0; tensor.len()];
        self.download_into(tensor, &mut values)?;
        Ok(values)
    }

    /// As [`Device::download`], into an existing slice.
    ///
    /// # Errors
    /// As [`Device::download`].
    pub fn download_into(&self, tensor: &Tensor, values: &mut [f32]) -> Result<()> {
        floats("download", tensor)?;
        ensure(tensor.len() == values.len(), "download", || {
            format!("{} places for {:?}", values.len(), tensor.shape().dims())
        })?;
        self.0.backend.download_f32(tensor, values);
        self.sound()
    }

    /// Copies a tensor's elements to the host as they are stored, whatever their type; leaves `bytes` on `dry`. Waits for
    /// the operations before it.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Failed`] when an operation before it failed.
    pub fn download_bytes(&self, tensor: &Tensor, bytes: &mut [u8]) -> Result<()> {
        as_many("download", tensor, bytes.len())?;
        self.0.backend.download_bytes(tensor, bytes);
        self.sound()
    }

    /// Copies into a tensor what [`Device::download_bytes`] gave, on this device or another.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn upload_bytes(&self, tensor: &mut Tensor, bytes: &[u8]) -> Result<()> {
        as_many("upload", tensor, bytes.len())?;
        self.0.backend.upload_bytes(tensor, bytes);
        Ok(())
    }

    /// Every element of a tensor of floats becomes `value`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn fill(&self, tensor: &mut Tensor, value: f32) -> Result<()> {
        floats("fill", tensor)?;
        self.0.backend.fill(tensor, value);
        Ok(())
    }

    /// target = source.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn copy(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        same_shape("copy", target, source)?;
        floats("copy", source)?;
        self.0.backend.copy(target, source);
        Ok(())
    }

    /// target += source.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn add(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        same_shape("add", target, source)?;
        floats("add", source)?;
        self.0.backend.add(target, source);
        Ok(())
    }
}

fn as_many(operation: &'static str, tensor: &Tensor, bytes: usize) -> Result<()> {
    ensure(tensor.len() * tensor.dtype().bytes() == bytes, operation, || {
        format!("{bytes} bytes for {:?} {:?}", tensor.dtype(), tensor.shape().dims())
    })
}

/// A slice of `T` as a slice of the same type under another name.
fn cast<T: Element, U: Element>(values: &[T]) -> &[U] {
    if T::DTYPE != U::DTYPE {
        return &[];
    }
    // SAFETY: `DTYPE` names each element type once, so T and U are the same type.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<U>(), values.len()) }
}
