//! LARS (You et al. 2017): SGD whose step of every weight tensor is as long as the weights are.

use super::Sgd;
use super::update::Update;
use crate::Result;
use crate::nn::Role;
use mlaan_engine::{Device, ops};

/// d = r (g + λ p) with the trust ratio r = η_t |p| / (|g| + λ |p| + ε); v ← µ v + d; p ← p - η v, or p - η (d + µ v) in
/// Nesterov's form.
///
/// Biases and BatchNorm's parameters have r = 1, which is SGD's step, as usual since You et al.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// Momentum µ.
    pub momentum: f32,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Trust coefficient η_t.
    pub trust: f32,
    /// ε.
    pub eps: f32,
}

impl Lars {
    /// v.
    pub(super) const STATE: &[&str] = Sgd::STATE;

    pub(super) fn update(self, device: &Device, update: Update<'_>) -> Result<()> {
        let Lars { momentum, nesterov, trust, eps } = self;
        if update.role != Role::Weight {
            return Sgd { momentum, nesterov }.update(device, update);
        }
        let Update { value, grad, state: [velocity], rate, weight_decay, .. } = update else {
            return Err(update.foreign("LARS"));
        };
        let options = ops::Lars { lr: rate.lr, momentum, weight_decay, trust, eps, nesterov };
        Ok(device.lars(value, grad, velocity, options)?)
    }
}
