//! What testing, classifying and looking into a trained network need.

use super::dry::classify;
use super::{Needs, Process, TensorSizes};
use crate::Result;
use crate::backbone::Backbone;
use crate::data::BatchSource;
use crate::local::{Learner, Method, Task};
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Precision};

/// Batches whose logits wait on a device that runs behind the processor ([`DeviceKind::runs_behind`]).
const AT_ONCE: usize = 8;

/// Batches of an evaluation on a device of this kind whose logits are read together.
pub fn read_at_once(kind: DeviceKind) -> usize {
    if kind.runs_behind() { AT_ONCE } else { 1 }
}

/// What the memory of an inference depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inference {
    /// Images at a time.
    pub batch: usize,
    /// Images in all; their number decides the size of the last batch.
    pub images: usize,
    /// Batches whose logits are read together ([`read_at_once`] of them by an evaluation).
    pub at_once: usize,
    /// Whether BatchNorm is taken into the convolutions first ([`Learner::fuse`]).
    pub folded: bool,
    /// Bytes of host memory for data, outside of the device.
    pub data_bytes: usize,
    /// What activations are stored in.
    pub precision: Precision,
    /// What computes.
    pub kind: DeviceKind,
}

/// Plans an inference on a device that computes nothing.
///
/// # Errors
/// Images too small for the network.
pub fn inference(backbone: &dyn Backbone, task: Task, sizes: &Inference) -> Result<Needs> {
    let device = Device::dry(sizes.kind)?.with_precision(sizes.precision);
    device.pool().count(MemoryCategory::Data, isize::try_from(sizes.data_bytes).unwrap_or(isize::MAX));
    let mut network = Learner::for_inference(&device, backbone, &Method::default(), task, 0)?;
    if sizes.folded {
        network.fuse()?;
    }
    let tensors = TensorSizes::of(&mut network)?;
    classify(&mut network, &BatchSource::Host, (Some(sizes.images), sizes.batch), sizes.at_once.max(1))?;
    Ok(Needs { usage: device.usage(), process: tensors.process(sizes.kind, Process::Inference), messages: 0 })
}
