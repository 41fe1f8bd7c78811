//! LARS (You et al. 2017, <https://arxiv.org/abs/1708.03888>).

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{Result, Tensor};

/// One step of LARS in timm's form (`Lars`), momentum as PyTorch's SGD has it: d = r·(g + wd·p); v = µ·v + d;
/// p -= lr·v, or lr·(d + µ·v) with Nesterov. The trust ratio r = η·|p| / (|g| + wd·|p| + eps), with the norms of the
/// whole tensor; 1 where one of them is 0. It differs from the paper's, which has the learning rate inside v, only where that
/// rate changes. Every tensor is adapted: for those that shall not be (biases, normalisations), there is
/// [`Device::sgd`](crate::Device::sgd).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// Learning rate.
    pub lr: f32,
    /// Momentum µ.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Trust coefficient η.
    pub trust: f32,
    /// Added to the ratio's denominator.
    pub eps: f32,
    /// Nesterov's form.
    pub nesterov: bool,
}

/// See [`Device::lars`](crate::Device::lars).
pub(crate) struct LarsStep<'a> {
    pub(crate) parameter: &'a mut Tensor,
    pub(crate) grad: &'a Tensor,
    pub(crate) velocity: &'a mut Tensor,
    pub(crate) options: Lars,
}

impl Operation for LarsStep<'_> {
    const NAME: &'static str = "lars";

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
