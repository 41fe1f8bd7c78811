//! Stochastic gradient descent with momentum, as `torch.optim.SGD` computes it.

use super::update::Update;
use crate::Result;
use mlaan_engine::{Device, ops};

/// v ← µ v + g + λ p; p ← p - η v, or p - η (g + λ p + µ v) in Nesterov's form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Momentum µ.
    pub momentum: f32,
    /// Nesterov's form.
    pub nesterov: bool,
}

impl Sgd {
    /// v.
    pub(super) const STATE: &[&str] = &["momentum"];

    pub(super) fn update(self, device: &Device, update: Update<'_>) -> Result<()> {
        let Update { value, grad, state: [velocity], rate, weight_decay, .. } = update else {
            return Err(update.foreign("SGD"));
        };
        let Sgd { momentum, nesterov } = self;
        Ok(device.sgd(value, grad, velocity, ops::Sgd { lr: rate.lr, momentum, weight_decay, nesterov })?)
    }
}
