//! Resizing.

use crate::ops::{Operand, Outgoing, Resize, ResizeBackward};
use crate::{Device, Result, Tensor};

impl Device {
    /// Bilinear resizing to `height x width`, corners aligned. The result has the operand's type.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resize(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        self.run(Resize { x: *x, height, width })
    }

    /// The gradient of [`Device::resize`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        self.run(ResizeBackward { x: *x, dy, dx })
    }
}
