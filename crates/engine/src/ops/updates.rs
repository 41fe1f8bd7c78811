//! Updates of parameters.

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{Result, Tensor};

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

/// One step of AdamW (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>) in PyTorch's form: p -= lr·wd·p;
/// m = β1·m + (1 - β1)·g; v = β2·v + (1 - β2)·g²; p -= lr · m/(1 - β1^t) / (√(v/(1 - β2^t)) + eps).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f32,
    /// β1 and β2, in 64 bits, as what they lack to 1 decides.
    pub betas: [f64; 2],
    /// Added to the root.
    pub eps: f32,
    /// Weight decay, which the moments do not see.
    pub weight_decay: f32,
    /// Number t of the step, from 1.
    pub step: u32,
}

/// An [`AdamW`] step in the numbers that every element is computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub(crate) struct AdamWFactors {
    /// What weight decay leaves of a parameter.
    pub(crate) kept: f32,
    /// lr / (1 - β1^t).
    pub(crate) rate: f32,
    /// β1 and 1 - β1.
    pub(crate) first: [f32; 2],
    /// β2 and 1 - β2.
    pub(crate) second: [f32; 2],
    /// 1 / √(1 - β2^t).
    pub(crate) root: f32,
    pub(crate) eps: f32,
}

impl AdamW {
    pub(crate) fn factors(&self) -> AdamWFactors {
        let lr = f64::from(self.lr);
        let [first, second] = self.betas.map(|b| 1.0 - b.powf(f64::from(self.step)));
        AdamWFactors {
            kept: (1.0 - lr * f64::from(self.weight_decay)) as f32,
            rate: (lr / first) as f32,
            first: [self.betas[0] as f32, (1.0 - self.betas[0]) as f32],
            second: [self.betas[1] as f32, (1.0 - self.betas[1]) as f32],
            root: (1.0 / second.sqrt()) as f32,
            eps: self.eps,
        }
    }
}

/// See [`Device::sgd`](crate::Device::sgd).
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

/// See [`Device::adamw`](crate::Device::adamw).
pub(crate) struct AdamWStep<'a> {
    pub(crate) parameter: &'a mut Tensor,
    pub(crate) grad: &'a Tensor,
    /// The moments m and v.
    pub(crate) moments: [&'a mut Tensor; 2],
    pub(crate) options: AdamW,
}

impl Operation for AdamWStep<'_> {
    const NAME: &'static str = "adamw";

    type Made = ();

    fn check(&self) -> Result<()> {
        same_shape(Self::NAME, self.parameter, self.grad)?;
        self.moments.iter().try_for_each(|m| same_shape(Self::NAME, self.parameter, m))?;
        f32_only(Self::NAME, &[self.parameter])?;
        let AdamW { step, betas, .. } = self.options;
        ensure(step > 0, Self::NAME, || "step 0; steps count from 1".into())?;
        ensure(betas.iter().all(|b| (0.0..1.0).contains(b)), Self::NAME, || {
            format!("betas {betas:?}, need from 0 to less than 1")
        })
    }

    fn bytes(&self) -> usize {
        2 * size(self.parameter) + size(self.grad) + 2 * size(self.moments[0]) + 2 * size(self.moments[1])
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.grad.shape())
    }
}

/// See [`Device::ema`](crate::Device::ema).
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
