//! LARS.

use crate::ops::{Lars, LarsStep};
use crate::{Device, Result, Tensor};

impl Device {
    /// One LARS step; the velocity begins as zeros.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn lars(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        velocity: &mut Tensor,
        options: Lars,
    ) -> Result<()> {
        self.run(LarsStep { parameter, grad, velocity, options })
    }
}
