//! Updates of parameters.

use crate::ops::{AdamW, AdamWStep, EmaStep, Sgd, SgdStep};
use crate::{Device, Result, Tensor};

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
        self.run(SgdStep { parameter, grad, velocity, options })
    }

    /// One AdamW step; the moments begin as zeros.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn adamw(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        first_moment: &mut Tensor,
        second_moment: &mut Tensor,
        options: AdamW,
    ) -> Result<()> {
        self.run(AdamWStep { parameter, grad, moments: [first_moment, second_moment], options })
    }

    /// target = m · target + (1 - m) · source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) -> Result<()> {
        self.run(EmaStep { target, source, m })
    }
}
