//! What a step costs, module by module; read on a dry device, for plans.

use super::Learner;
use super::stage::Stage;
use crate::Result;
use mlaan_engine::Purpose;

/// What one module costs in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Floating-point operations of its forward pass.
    pub forward: u64,
    /// Of its auxiliary networks (the last module: of the classifier), forward and backward.
    pub auxiliary: u64,
    /// Of the passes back through it.
    pub backward: u64,
    /// Bytes that its auxiliary networks take at the most, beside what is there before.
    pub auxiliary_bytes: usize,
    /// Bytes that its forward pass keeps.
    pub activations: usize,
    /// Most bytes in use on the device at any moment of work on it.
    pub peak: usize,
}

/// Which cost a piece of work adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Forward,
    Auxiliary,
    Backward,
}

impl Stage {
    /// Does work for module `j`, and meters it while a plan is made.
    pub(super) fn metered<R>(
        &mut self,
        j: usize,
        part: Part,
        work: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        if self.meters.is_none() {
            return work(self);
        }
        let device = self.device.clone();
        let kept = |d: &mlaan_engine::Device| d.usage().by_purpose[Purpose::Activations as usize];
        device.pool().reset_peak();
        let (flops, before, all) = (device.flops(), kept(&device), device.usage().current);
        let done = work(self)?;
        let flops = device.flops() - flops;
        let at = j - self.range.start;
        if let Some(m) = self.meters.as_mut().and_then(|m| m.get_mut(at)) {
            m.peak = m.peak.max(device.usage().peak);
            match part {
                Part::Forward => {
                    m.forward += flops;
                    m.activations += kept(&device).saturating_sub(before);
                }
                Part::Auxiliary => {
                    m.auxiliary += flops;
                    m.auxiliary_bytes = m.auxiliary_bytes.max(device.usage().peak.saturating_sub(all));
                }
                Part::Backward => m.backward += flops,
            }
        }
        Ok(done)
    }
}

impl Learner {
    /// Begins to meter steps.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn start_meters(&mut self) -> Result<()> {
        self.idle()?;
        for stage in &mut self.stages {
            stage.meters = Some(vec![Meter::default(); stage.modules.len()]);
        }
        Ok(())
    }

    /// What the steps since [`Learner::start_meters`] cost, module by module.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn take_meters(&mut self) -> Result<Vec<Meter>> {
        self.idle()?;
        Ok(self.stages.iter_mut().filter_map(|s| s.meters.take()).flatten().collect())
    }
}
