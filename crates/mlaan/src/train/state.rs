//! Between a learner and the tensors of a checkpoint.

use super::checkpoint::{Part, Parts, Tensors};
use super::tensor_writer::{TensorView, Values};
use crate::Result;
use crate::local::Learner;
use crate::nn::SlotKind;

/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";
/// Names of momentum tensors begin with this.
pub(crate) const MOMENTUM: &str = "momentum.";

/// The network's own tensors are the model; auxiliary networks, shadows and momentum are the state.
impl Parts for Learner {
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        self.slots_on(&mut |device, slot| {
            let name = format!("{}.{}", slot.owner, slot.leaf);
            let (value, velocity) = match &slot.kind {
                SlotKind::Parameter(p) => (&p.value, p.velocity.as_ref()),
                SlotKind::Buffer(t) => (&**t, None),
            };
            let mut shown = |name: &str, tensor| {
                show(&TensorView { name, shape: &slot.shape, values: Values::Device(device, tensor) })
            };
            if let (Some(velocity), Part::State) = (velocity, part) {
                shown(&format!("{MOMENTUM}{name}"), velocity)?;
            }
            let own = if name.starts_with(AUXILIARY) { Part::State } else { Part::Model };
            if own == part { shown(&name, value) } else { Ok(()) }
        })
    }
}

/// Puts a checkpoint's values into a learner; `training`: also all that only training needs.
///
/// # Errors
/// A tensor that is missing or has other extents.
pub fn restore(learner: &mut Learner, tensors: &Tensors, training: bool) -> Result<()> {
    learner.slots_on(&mut |device, slot| {
        let name = format!("{}.{}", slot.owner, slot.leaf);
        let auxiliary = name.starts_with(AUXILIARY);
        if auxiliary && !training {
            return Ok(());
        }
        let file = if auxiliary { &tensors.state } else { &tensors.model };
        let values = file.read(&name, &slot.shape)?;
        let velocity = match slot.kind {
            SlotKind::Parameter(p) => {
                device.upload(&mut p.value, &values)?;
                p.velocity.as_mut()
            }
            SlotKind::Buffer(t) => {
                device.upload(t, &values)?;
                None
            }
        };
        if let (Some(v), true) = (velocity, training) {
            let values = tensors.state.read(&format!("{MOMENTUM}{name}"), &slot.shape)?;
            device.upload(v, &values)?;
        }
        Ok(())
    })
}
