//! Pooling.

use crate::ops::{
    AveragePool, AveragePoolBackward, Conv2dParams, MaxPool, MaxPoolBackward, Operand, Outgoing,
};
use crate::{Device, Result, Tensor};

impl Device {
    /// Maximum over windows; the border does not take part. The result has the operand's type.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn max_pool(&self, window: Conv2dParams, x: &Operand<'_>) -> Result<Tensor> {
        self.run(MaxPool { window, x: *x })
    }

    /// The gradient of [`Device::max_pool`]; the first maximum of a window takes all.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn max_pool_backward(
        &self,
        window: Conv2dParams,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
    ) -> Result<()> {
        self.run(MaxPoolBackward { window, x: *x, dy, dx })
    }

    /// Adaptive average pooling to `height x width`, as PyTorch's; 1x1 is global. The result is of 32-bit
    /// floats whatever the operand's type: it is small, and most often a loss follows.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn average_pool(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        self.run(AveragePool { x: *x, height, width })
    }

    /// The gradient of [`Device::average_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        self.run(AveragePoolBackward { x: *x, dy, dx })
    }
}
