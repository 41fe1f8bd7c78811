//! Between a learner and the tensors of a checkpoint.

use super::checkpoint::{Part, Parts, Tensors};
use super::tensor_writer::{TensorView, Values};
use crate::Result;
use crate::local::Learner;
use crate::nn::Learned;

/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";

/// The name of a tensor that an optimiser keeps of the parameter `name`, as `momentum.conv1.weight`.
pub(crate) fn state_name(kind: &str, name: &str) -> String {
    format!("{kind}.{name}")
}

/// The network's own tensors are the model; auxiliary networks, shadows and what the optimiser keeps are the state.
impl Parts for Learner {
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        self.visit_on(&mut |device, param| {
            let (name, shape) = (param.name(), param.shape.dims());
            let mut shown = |name: &str, tensor| {
                show(&TensorView { name, shape, values: Values::Device(device, tensor) })
            };
            if let (Some(state), Part::State) = (param.state(), part) {
                state.tensors().try_for_each(|(kind, t)| shown(&state_name(kind, &name), t))?;
            }
            let own = if name.starts_with(AUXILIARY) { Part::State } else { Part::Model };
            if own == part { shown(&name, param.value) } else { Ok(()) }
        })
    }
}

/// Puts a checkpoint's values into a learner; `training`: also all that only training needs.
///
/// # Errors
/// A tensor that is missing or has other extents.
pub fn restore(learner: &mut Learner, tensors: &Tensors, training: bool) -> Result<()> {
    learner.visit_on(&mut |device, param| {
        let (name, shape) = (param.name(), param.shape.dims());
        let auxiliary = name.starts_with(AUXILIARY);
        if auxiliary && !training {
            return Ok(());
        }
        let file = if auxiliary { &tensors.state } else { &tensors.model };
        device.upload(param.value, &file.read(&name, shape)?)?;
        if let (Some(Learned { state: Some(state), .. }), true) = (param.learned, training) {
            for (kind, tensor) in state.tensors_mut() {
                device.upload(tensor, &tensors.state.read(&state_name(kind, &name), shape)?)?;
            }
        }
        Ok(())
    })
}
