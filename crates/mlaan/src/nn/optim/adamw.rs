//! AdamW (Loshchilov & Hutter 2019), as `torch.optim.AdamW` computes it.

use super::update::Update;
use crate::Result;
use mlaan_engine::{Device, ops};

/// p ← p - η λ p; m ← β1 m + (1 - β1) g; v ← β2 v + (1 - β2) g²; p ← p - η m̂ / (√v̂ + ε), where m̂ and v̂ are m and v over
/// 1 - β^t at step t.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// β1 and β2.
    pub betas: [f64; 2],
    /// ε.
    pub eps: f32,
}

impl AdamW {
    /// m and v, by PyTorch's names.
    pub(super) const STATE: &[&str] = &["exp_avg", "exp_avg_sq"];

    pub(super) fn update(self, device: &Device, update: Update<'_>) -> Result<()> {
        let Update { value, grad, state: [first, second], rate, weight_decay, .. } = update else {
            return Err(update.foreign("AdamW"));
        };
        let AdamW { betas, eps } = self;
        // Long before so many steps 1 - β^t is 1.
        let step = u32::try_from(rate.step).unwrap_or(u32::MAX);
        Ok(device.adamw(
            value,
            grad,
            first,
            second,
            ops::AdamW { lr: rate.lr, betas, eps, weight_decay, step },
        )?)
    }
}

/// PyTorch's.
impl Default for AdamW {
    fn default() -> Self {
        AdamW { betas: [0.9, 0.999], eps: 1e-8 }
    }
}
