//! What the operations of a step cost.

use super::rig::Rig;
use crate::recipe::Recipe;
use crate::{Device, Result};
use mlaan_engine::OperationCost;
use std::time::Instant;

/// See the module.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Steps that were recorded.
    pub steps: usize,
    /// Seconds of all of them.
    pub seconds: f64,
    /// Every kind and shape of operation over these steps, the slowest first.
    pub operations: Vec<OperationCost>,
}

impl Profile {
    /// Records `steps` steps of the recipe, or as many as it takes until their work repeats itself, after one that is not recorded.
    pub(super) fn measure(device: &Device, recipe: &Recipe, steps: usize) -> Result<Self> {
        let device = device.profiled();
        let mut rig = Rig::new(&device, recipe)?;
        let steps = steps.max(1).next_multiple_of(rig.period());
        rig.step()?;
        rig.synchronize()?;
        device.reset_profile();
        let begin = Instant::now();
        for _ in 0..steps {
            rig.step()?;
        }
        rig.synchronize()?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Profile { steps, seconds, operations: device.profile() })
    }

    /// Seconds within operations.
    pub fn inside(&self) -> f64 {
        self.operations.iter().map(|o| o.seconds).sum()
    }

    /// Seconds between them: bookkeeping, allocation, and the recording itself.
    pub fn outside(&self) -> f64 {
        (self.seconds - self.inside()).max(0.0)
    }
}
