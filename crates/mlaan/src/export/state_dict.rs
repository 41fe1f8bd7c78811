//! A state dict as PyTorch has it, with the counters that its BatchNorm keeps.

use super::about;
use crate::Result;
use crate::nn::SlotKind;
use crate::train::{NamedTensor, Trained, write_tensors_with};
use mlaan_engine::Device;
use std::path::Path;

/// Behind this tensor of a BatchNorm comes its counter.
const LAST: &str = "running_var";
/// The counter: batches that moved the running statistics.
const COUNTER: &str = "num_batches_tracked";

pub(super) fn write(trained: &mut Trained, device: &Device, out: &Path) -> Result<()> {
    let mut network = trained.network(device)?;
    let steps = i64::try_from(trained.manifest.step).unwrap_or(i64::MAX);
    let (mut tensors, mut counters) = (Vec::new(), Vec::new());
    network.slots(&mut |slot| {
        let value = match slot.kind {
            SlotKind::Parameter(p) => &p.value,
            SlotKind::Buffer(t) => t,
        };
        let name = format!("{}.{}", slot.owner, slot.leaf);
        tensors.push(NamedTensor::new(name, slot.shape, device.download(value)?));
        if slot.leaf == LAST {
            counters.push(NamedTensor::integer(format!("{}.{COUNTER}", slot.owner), steps));
        }
        Ok(())
    })?;
    // The wider type first: readers look at the file's bytes as they lie, and want them aligned.
    counters.append(&mut tensors);
    write_tensors_with(out, &counters, about(trained)).map(drop)
}
