//! A state dict as PyTorch has it, with the counters that its BatchNorm keeps.

use super::about::about;
use crate::Result;
use crate::local::{Learner, Method};
use crate::train::{TensorFile, TensorSource, TensorView, Trained, Values, write_tensors_with};
use mlaan_engine::{Device, DeviceKind};
use std::path::Path;

/// Behind this tensor of a BatchNorm comes its counter.
const LAST: &str = "running_var";
/// The counter: batches that moved the running statistics.
const COUNTER: &str = "num_batches_tracked";

/// Writes it from the checkpoint's file, tensor by tensor; the network is built without memory, for names and shapes.
pub(super) fn write(trained: &Trained, out: &Path) -> Result<()> {
    let device = Device::dry(DeviceKind::Cpu { threads: Some(1) })?;
    let mut network =
        Learner::for_inference(&device, &trained.backbone()?, &Method::default(), trained.task(), 0)?;
    let steps = i64::try_from(trained.manifest.step).unwrap_or(i64::MAX);
    let source = StateDict { network: &mut network, file: trained.model_file(), steps };
    write_tensors_with(out, source, about(trained)).map(drop)
}

struct StateDict<'a> {
    network: &'a mut Learner,
    file: &'a TensorFile,
    steps: i64,
}

impl TensorSource for StateDict<'_> {
    fn each(&mut self, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        let StateDict { network, file, steps } = self;
        // The wider type first: readers look at the file's bytes as they lie, and want them aligned.
        network.visit(&mut |param| match param.leaf {
            LAST => {
                let name = format!("{}.{COUNTER}", param.owner);
                show(&TensorView { name: &name, shape: &[], values: Values::Integer(*steps) })
            }
            _ => Ok(()),
        })?;
        network.visit(&mut |param| {
            let (name, shape) = (param.name(), param.shape.dims());
            let read = || file.read(&name, shape);
            show(&TensorView { name: &name, shape, values: Values::Lazy(&read) })
        })
    }
}
