//! Between a learner and the tensors of a checkpoint.

use super::checkpoint::Tensors;
use super::tensor_file::NamedTensor;
use crate::Result;
use crate::local::Learner;
use crate::nn::SlotKind;

/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";
/// Names of momentum tensors begin with this.
const MOMENTUM: &str = "momentum.";

/// The network's own tensors, and everything else: auxiliary networks, shadows, momentum.
///
/// # Errors
/// From the device.
pub fn capture(learner: &mut Learner) -> Result<(Vec<NamedTensor<'static>>, Vec<NamedTensor<'static>>)> {
    let device = learner.device().clone();
    let (mut model, mut state) = (Vec::new(), Vec::new());
    learner.slots(&mut |slot| {
        let name = format!("{}.{}", slot.owner, slot.leaf);
        let (value, velocity) = match &slot.kind {
            SlotKind::Parameter(p) => (&p.value, p.velocity.as_ref()),
            SlotKind::Buffer(t) => (&**t, None),
        };
        if let Some(v) = velocity {
            state.push(NamedTensor::new(
                format!("{MOMENTUM}{name}"),
                slot.shape.clone(),
                device.download(v)?,
            ));
        }
        let group = if name.starts_with(AUXILIARY) { &mut state } else { &mut model };
        group.push(NamedTensor::new(name, slot.shape, device.download(value)?));
        Ok(())
    })?;
    Ok((model, state))
}

/// Puts a checkpoint's values into a learner; `training`: also all that only training needs.
///
/// # Errors
/// A tensor that is missing or has other extents.
pub fn restore(learner: &mut Learner, tensors: &mut Tensors, training: bool) -> Result<()> {
    let device = learner.device().clone();
    learner.slots(&mut |slot| {
        let name = format!("{}.{}", slot.owner, slot.leaf);
        let auxiliary = name.starts_with(AUXILIARY);
        if auxiliary && !training {
            return Ok(());
        }
        let file = if auxiliary { &mut tensors.state } else { &mut tensors.model };
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
