//! Updates of parameters.

use super::Device;
use super::checks::*;
use crate::ops::Sgd;
use crate::{Result, Tensor};

impl Device {
    /// One SGD step.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn sgd(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        velocity: &mut Tensor,
        options: Sgd,
    ) -> Result<()> {
        same_shape("sgd", parameter, grad)?;
        same_shape("sgd", parameter, velocity)?;
        f32_only("sgd", &[parameter])?;
        self.0.backend.sgd(parameter, grad, velocity, options);
        Ok(())
    }

    /// target = m · target + (1 - m) · source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) -> Result<()> {
        same_shape("ema", target, source)?;
        f32_only("ema", &[target])?;
        self.0.backend.ema(target, source, m);
        Ok(())
    }
}
