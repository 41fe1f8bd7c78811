//! The work of a run on a device that computes nothing.

use super::Sizes;
use crate::Result;
use crate::backbone::Backbone;
use crate::data::BatchSource;
use crate::local::{Learner, Meter, Method, Offload, StepOptions, Task};
use mlaan_engine::{Device, DeviceKind};

/// What each module costs in a step over `n` images, in the mean where steps differ.
pub(super) fn metered(learner: &mut Learner, source: &BatchSource, n: usize) -> Result<Vec<Meter>> {
    let task = learner.task();
    learner.mean_meters(&mut |learner, number| {
        let input = source.to_device(learner.device(), None, n, task.image.height, task.pixels)?;
        // Learning rates do not matter to a plan.
        learner.step(input.images, &input.labels, &StepOptions::uniform(0.0, number))?;
        Ok(())
    })
}

/// An evaluation on the dry device, of so many images (none: whole batches only) in batches, the logits of `at_once` of
/// which wait there.
pub(super) fn classify(
    learner: &mut Learner,
    source: &BatchSource,
    (images, batch): (Option<usize>, usize),
    at_once: usize,
) -> Result<()> {
    let (task, device, batch) = (learner.task(), learner.device().clone(), batch.max(1));
    let (full, rest) = images.map_or((at_once, 0), |n| (n / batch, n % batch));
    // The first ones may pack weights, which lie there from the second ones on; those between are as these.
    let full = if full > 2 * at_once { 2 * at_once + full % at_once } else { full };
    let mut waiting = Vec::new();
    for n in std::iter::repeat_n(batch, full).chain((rest > 0).then_some(rest)) {
        let input = source.to_device(&device, None, n, task.image.height, task.pixels)?;
        waiting.push(learner.logits(input.images)?);
        if waiting.len() == at_once {
            waiting.clear();
        }
    }
    Ok(())
}

/// What each module costs in a step.
pub(super) fn meters(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
) -> Result<Vec<Meter>> {
    // Cuts are part of what is learnt: they must not depend on the device or the number of threads.
    let device = Device::dry(DeviceKind::Cpu { threads: Some(1) })?.with_precision(sizes.precision);
    let method = Method { offload: Offload::None, ..method.clone() };
    let mut learner = Learner::new(&device, backbone, &method, task, 0, sizes.optimizer)?;
    metered(&mut learner, &BatchSource::Host, sizes.batch)
}
