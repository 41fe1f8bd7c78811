//! Updates of parameters.

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{Device, Result, Tensor};

/// One step of SGD in PyTorch's form: g += wd·p; v = µ·v + g; p -= lr·(g + µ·v), or lr·v without Nesterov.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum µ.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Nesterov's form.
    pub nesterov: bool,
}

/// See [`Device::sgd`].
pub(crate) struct SgdStep<'a> {
    pub(crate) parameter: &'a mut Tensor,
    pub(crate) grad: &'a Tensor,
    pub(crate) velocity: &'a mut Tensor,
    pub(crate) options: Sgd,
}

impl Operation for SgdStep<'_> {
    const NAME: &'static str = "sgd";

    type Made = ();

    fn check(&self) -> Result<()> {
        same_shape(Self::NAME, self.parameter, self.grad)?;
        same_shape(Self::NAME, self.parameter, self.velocity)?;
        f32_only(Self::NAME, &[self.parameter])
    }

    fn bytes(&self) -> usize {
        2 * size(self.parameter) + size(self.grad) + 2 * size(self.velocity)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.grad.shape())
    }
}

/// See [`Device::ema`].
pub(crate) struct EmaStep<'a> {
    pub(crate) target: &'a mut Tensor,
    pub(crate) source: &'a Tensor,
    pub(crate) m: f32,
}

impl Operation for EmaStep<'_> {
    const NAME: &'static str = "ema";

    type Made = ();

    fn check(&self) -> Result<()> {
        same_shape(Self::NAME, self.target, self.source)?;
        f32_only(Self::NAME, &[self.target])
    }

    fn bytes(&self) -> usize {
        2 * size(self.target) + size(self.source)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.source.shape())
    }
}

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

    /// target = m · target + (1 - m) · source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) -> Result<()> {
        self.run(EmaStep { target, source, m })
    }
}
