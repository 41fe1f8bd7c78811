//! Between a learner and the tensors of a checkpoint.

use super::checkpoint::{Part, Parts, Tensors};
use super::gathered::{self, Source};
use super::tensor_writer::{TensorView, Values};
use crate::Result;
use crate::local::{Command, Learner, Section};
use crate::nn::Learned;

/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";

/// The name of a tensor that an optimiser keeps of the parameter `name`, as `momentum.conv1.weight`.
pub(crate) fn state_name(kind: &str, name: &str) -> String {
    format!("{kind}.{name}")
}

/// The kind of state that a trained value is, where the model is the EMA of it.
const RAW: &str = "raw";

/// The network's own tensors (of a run that keeps an EMA of them, that) are the model; auxiliary networks, shadows,
/// what the optimiser keeps and, beside an EMA, the network's trained values are the state. Of a network that ranks share
/// every section comes from all of them, so that the files are those of one process.
impl Parts for Learner {
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        for section in self.sections() {
            show_section(self, part, section, show)?;
            let Some(world) = self.world().cloned() else { continue };
            for rank in world.others() {
                let ask = Command::Show { model: part == Part::Model, section: section.number() };
                self.ask_rank(rank, &ask)?;
                gathered::listen(&world, rank, show)?;
            }
        }
        Ok(())
    }

    fn averaged(&mut self) -> Result<bool> {
        self.is_averaged()
    }
}

/// Shows the tensors of one section that this process has.
pub(super) fn show_section(
    learner: &mut Learner,
    part: Part,
    section: Section,
    show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>,
) -> Result<()> {
    if let Section::Earlier { .. } = section {
        return match part {
            Part::Model => Ok(()),
            Part::State => learner.visit_earlier(Some(section), &mut |device, name, shape, tensor| {
                let shape = shape.dims();
                show(&TensorView { name, shape, values: Values::Device(device, tensor) })
            }),
        };
    }
    learner.visit_section(section, &mut |device, param, average| {
        let (name, shape) = (param.name(), param.shape.dims());
        let mut shown =
            |name: &str, tensor| show(&TensorView { name, shape, values: Values::Device(device, tensor) });
        if let (Some(state), Part::State) = (param.state(), part) {
            state.tensors().try_for_each(|(kind, t)| shown(&state_name(kind, &name), t))?;
        }
        let own = if name.starts_with(AUXILIARY) { Part::State } else { Part::Model };
        match average {
            Some(average) if part == Part::Model => shown(&name, average),
            Some(_) => shown(&state_name(RAW, &name), param.value),
            None if own == part => shown(&name, param.value),
            None => Ok(()),
        }
    })
}

/// Puts a checkpoint's values into a learner; `training`: also all that only training needs. What is trained goes on with its
/// trained values, what is used has their EMA where the run kept one. An EMA that the run did not keep begins at the weights.
///
/// # Errors
/// A tensor that is missing or has other sizes.
pub fn restore(learner: &mut Learner, tensors: &Tensors, training: bool) -> Result<()> {
    restore_from(learner, tensors, training)?;
    let Some(world) = learner.world().cloned() else { return Ok(()) };
    for rank in world.others() {
        learner.ask_rank(rank, &Command::Restore { training })?;
        gathered::answer(&world, rank, tensors)?;
    }
    Ok(())
}

/// As [`restore`], what this process has of the network.
pub(super) fn restore_from(learner: &mut Learner, tensors: &dyn Source, training: bool) -> Result<()> {
    let resumes = training && learner.is_trained();
    learner.visit_averaged(&mut |device, param, average| {
        let (name, shape) = (param.name(), param.shape.dims());
        let auxiliary = name.starts_with(AUXILIARY);
        if auxiliary && !training {
            return Ok(());
        }
        let part = if auxiliary { Part::State } else { Part::Model };
        let raw = state_name(RAW, &name);
        match resumes && tensors.has(Part::State, &raw)? {
            true => device.upload(param.value, &tensors.read(Part::State, &raw, shape)?)?,
            false => device.upload_floats(param.value, &tensors.read(part, &name, shape)?)?,
        }
        if let Some(average) = average {
            device.upload(average, &tensors.read(part, &name, shape)?)?;
        }
        if let (Some(Learned { state: Some(state), .. }), true) = (param.learned, training) {
            for (kind, tensor) in state.tensors_mut() {
                device.upload_floats(tensor, &tensors.read(Part::State, &state_name(kind, &name), shape)?)?;
            }
        }
        Ok(())
    })?;
    match resumes {
        true => learner.visit_earlier(None, &mut |device, name, shape, tensor| {
            Ok(device.upload(tensor, &tensors.read(Part::State, name, shape.dims())?)?)
        }),
        false => Ok(()),
    }
}
