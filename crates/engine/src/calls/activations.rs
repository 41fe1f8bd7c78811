//! Activations.

use crate::ops::{Gelu, GeluBackward, GeluForward, Operand, Outgoing};
use crate::{Device, Result, Tensor};

impl Device {
    /// GELU of every value. The result has the operand's type.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn gelu(&self, x: &Operand<'_>, form: Gelu) -> Result<Tensor> {
        self.run(GeluForward { x: *x, form })
    }

    /// The gradient of [`Device::gelu`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn gelu_backward(&self, x: &Operand<'_>, form: Gelu, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        self.run(GeluBackward { x: *x, form, dy, dx })
    }
}
