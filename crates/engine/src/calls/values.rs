//! Values in and out of tensors, copies and sums.

use crate::memory::MemoryCategory;
use crate::operation::Operation;
use crate::ops::{AddAssign, CopyTensor, Download, DownloadBytes, Fill, Upload, UploadBytes};
use crate::{Bf16, DType, Device, Element, Result, Shape, Tensor};

impl Device {
    /// A new tensor of 32-bit floats, all `value`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn full(&self, shape: impl Into<Shape>, value: f32, category: MemoryCategory) -> Result<Tensor> {
        let mut t = self.alloc(shape, DType::F32, category)?;
        self.run(Fill { tensor: &mut t, value })?;
        Ok(t)
    }

    /// Copies host values into a tensor of the same type and length: to the device, or where it is
    /// [offloaded](Device::offload), to where it is kept.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape); a tensor that is on its way to the device.
    pub fn upload<T: Element>(&self, tensor: &mut Tensor, values: &[T]) -> Result<()> {
        let operation = Upload { tensor, values };
        let Some((keeper, offset)) = operation.tensor.keeper() else { return self.run(operation) };
        operation.check()?;
        keeper.write(offset, bytemuck::cast_slice(values))
    }

    /// Copies a tensor of floats to the host, as 32-bit ones; zeros on `dry`. Waits for the operations before it. An
    /// [offloaded](Device::offload) one is read where it is kept, without the device.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape); [`Error::Failed`](crate::Error::Failed) when an operation before it failed.
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
        let Some((keeper, offset)) = tensor.keeper() else {
            self.run(Download { tensor, values })?;
            return self.sound();
        };
        Download { tensor, values }.check()?;
        if tensor.dtype() == DType::F32 {
            return keeper.read(offset, bytemuck::cast_slice_mut(values));
        }
        let mut halves = vec![Bf16::default(); values.len()];
        keeper.read(offset, bytemuck::cast_slice_mut(&mut halves))?;
        values.iter_mut().zip(halves).for_each(|(v, h)| *v = h.to_f32());
        Ok(())
    }

    /// Copies a tensor's elements to the host as they are stored, whatever their type; leaves `bytes` on `dry`. Waits for
    /// the operations before it.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape); [`Error::Failed`](crate::Error::Failed) when an operation before it failed.
    pub fn download_bytes(&self, tensor: &Tensor, bytes: &mut [u8]) -> Result<()> {
        let Some((keeper, offset)) = tensor.keeper() else {
            self.run(DownloadBytes { tensor, bytes })?;
            return self.sound();
        };
        DownloadBytes { tensor, bytes }.check()?;
        keeper.read(offset, bytes)
    }

    /// Copies into a tensor what [`Device::download_bytes`] gave, on this device or another.
    ///
    /// # Errors
    /// As [`Device::upload`].
    pub fn upload_bytes(&self, tensor: &mut Tensor, bytes: &[u8]) -> Result<()> {
        let operation = UploadBytes { tensor, bytes };
        let Some((keeper, offset)) = operation.tensor.keeper() else { return self.run(operation) };
        operation.check()?;
        keeper.write(offset, bytes)
    }

    /// Every element of a tensor of floats becomes `value`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn fill(&self, tensor: &mut Tensor, value: f32) -> Result<()> {
        self.run(Fill { tensor, value })
    }

    /// target = source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn copy(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        self.run(CopyTensor { target, source })
    }

    /// target += source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn add_assign(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        self.run(AddAssign { target, source })
    }
}
