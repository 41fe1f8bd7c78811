//! What a step is told.

use super::Branch;
use crate::nn::optim::Rate;

/// What changes of the optimiser from step to step: learning rates, which may differ by part (METHOD §7), and the
/// step's number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// Learning rate of the backbone.
    pub backbone: f32,
    /// Of the independent auxiliary networks.
    pub independent: f32,
    /// Of the cascaded auxiliary networks.
    pub cascaded: f32,
    /// Number of the step since training began, from 1.
    pub step: u64,
}

impl StepOptions {
    /// One learning rate for all parts.
    pub fn uniform(lr: f32, step: u64) -> Self {
        StepOptions { backbone: lr, independent: lr, cascaded: lr, step }
    }

    /// For the backbone.
    pub(super) fn own(&self) -> Rate {
        Rate { lr: self.backbone, step: self.step }
    }

    /// For the auxiliary networks of a branch.
    pub(super) fn of(&self, branch: Branch) -> Rate {
        let lr = if branch == Branch::Independent { self.independent } else { self.cascaded };
        Rate { lr, step: self.step }
    }
}
