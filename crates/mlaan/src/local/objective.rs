//! What training minimises beside the method's own weights: weights of classes on the devices of stages.

use crate::Result;
use crate::nn::optim::Objective;
use mlaan_engine::ops::ClassLoss;
use mlaan_engine::{Device, MemoryCategory, Tensor};

/// The weights of a stage's classes, 1 each, where its losses have some.
pub(super) fn class_weights(
    device: &Device,
    objective: Option<Objective>,
    classes: usize,
) -> Result<Option<Tensor>> {
    let wanted = objective.is_some_and(|o| o.class_weights);
    Ok(wanted.then(|| device.full([classes], 1.0, MemoryCategory::Data)).transpose()?)
}

/// What a stage's cross-entropies make of their targets.
pub(super) fn class_loss(objective: Option<Objective>, weights: Option<&Tensor>) -> ClassLoss<'_> {
    ClassLoss { smoothing: objective.map_or(0.0, |o| o.label_smoothing), weights }
}
