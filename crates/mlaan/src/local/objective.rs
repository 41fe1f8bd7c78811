//! What training minimises beside the method's own weights: weights of classes on the devices of stages.

use super::Learner;
use crate::nn::optim::Objective;
use crate::{Error, Result};
use mlaan_engine::ops::ClassLoss;
use mlaan_engine::{Device, Purpose, Tensor};

/// The weights of a stage's classes, 1 each, where its losses have some.
pub(super) fn class_weights(
    device: &Device,
    objective: Option<Objective>,
    classes: usize,
) -> Result<Option<Tensor>> {
    let wanted = objective.is_some_and(|o| o.class_weights);
    Ok(wanted.then(|| device.full([classes], 1.0, Purpose::Data)).transpose()?)
}

/// What a stage's cross-entropies make of their targets.
pub(super) fn class_loss(objective: Option<Objective>, weights: Option<&Tensor>) -> ClassLoss<'_> {
    ClassLoss { smoothing: objective.map_or(0.0, |o| o.label_smoothing), weights }
}

impl Learner {
    /// Gives the classes their weights, in a network whose optimiser asks for some ([`Objective::class_weights`]).
    ///
    /// # Errors
    /// Another number of classes; a network without such weights; what went wrong in a step that is not through.
    pub fn weigh_classes(&mut self, weights: &[f32]) -> Result<()> {
        self.idle()?;
        if weights.len() != self.task.classes {
            let message = format!("{} weights for {} classes", weights.len(), self.task.classes);
            return Err(Error::recipe("train.class_weights", message));
        }
        for stage in &mut self.stages {
            let none =
                || Error::recipe("train.class_weights", "this network was built without class weights");
            stage.device.upload(stage.class_weights.as_mut().ok_or_else(none)?, weights)?;
        }
        Ok(())
    }
}
