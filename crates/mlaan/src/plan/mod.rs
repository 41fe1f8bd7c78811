//! What a run will need, before it runs: a training step on a device that computes nothing.
//!
//! The dry device makes the same allocations in the same order as the real one, so the plan's bytes are the
//! run's bytes.

mod balance;
mod inference;
mod process;
pub mod search;
mod stages;

pub use crate::memory::Needs;
pub use balance::balanced;
pub use inference::{Inference, inference, read_at_once};
pub use process::TensorSizes;
pub use stages::{StagePlan, in_flight, plan_in_stages, stage_cuts};

use crate::Result;
use crate::backbone::Backbone;
use crate::data::Source;
use crate::local::{Learner, Meter, Method, ModuleSummary, StepOptions, Task};
use crate::nn::Optimizer;
use mlaan_engine::{Device, Kind, Precision, Usage};

/// The sizes of a run that memory depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Images of a step.
    pub batch: usize,
    /// Training images; their number decides the size of an epoch's last batch. None: whole batches only.
    pub train: Option<usize>,
    /// Whether the training images stay on the device ([`Source::keeps`](crate::data::Source::keeps)).
    pub kept: bool,
    /// Whether the images that are evaluated after every epoch do, too: those for validation, or for testing where there are
    /// none ([`Source::keeps_test`](crate::data::Source::keeps_test)).
    pub kept_test: bool,
    /// Whether training images are mixtures of two, with two labels ([`Source::Mixed`]).
    pub mixed: bool,
    /// Test images, likewise.
    pub test: Option<usize>,
    /// Validation images, where there are some.
    pub validation: Option<usize>,
    /// Bytes of host memory for data, outside of the device.
    pub data_bytes: usize,
    /// Bytes that the images take while they are loaded, before there is any tensor.
    pub loading_bytes: usize,
    /// What activations are stored in.
    pub precision: Precision,
    /// What updates parameters: how much it keeps of each differs.
    pub optimizer: Optimizer,
    /// What computes: some scratch differs.
    pub kind: Kind,
}

/// One module of a plan.
#[derive(Clone, Debug)]
pub struct ModulePlan {
    /// What it is.
    pub summary: ModuleSummary,
    /// What a step costs.
    pub meter: Meter,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every module.
    pub modules: Vec<ModulePlan>,
    /// Every stage: one with all modules, unless several work side by side.
    pub stages: Vec<StagePlan>,
    /// Bytes of tensors and images at the most, over training and evaluation.
    pub usage: Usage,
    /// Bytes that the process needs beside them ([`Needs::process`]).
    pub process: usize,
    /// Floating-point operations of a training step (a multiply-add is two).
    pub flops: u64,
    /// Images of a step.
    pub batch: usize,
}

impl Plan {
    /// Bytes that a run needs: of the whole process, from its start to its end, or on a device with memory of its own,
    /// there and for the images.
    pub fn memory(&self) -> usize {
        self.needs().memory()
    }

    /// Bytes of tensors and images: what the accountant of the device will count.
    pub fn allocated(&self) -> usize {
        self.usage.footprint
    }

    /// The modules before which stages end but the last.
    pub fn cuts(&self) -> Vec<usize> {
        self.stages.iter().skip(1).map(|s| s.modules.start).collect()
    }

    /// What a run needs, apart.
    pub fn needs(&self) -> Needs {
        Needs { usage: self.usage, process: self.process }
    }

    /// Parameters of the backbone.
    pub fn parameters(&self) -> usize {
        self.modules.iter().map(|m| m.summary.parameters).sum()
    }

    /// Parameters of the auxiliary networks.
    pub fn auxiliary_parameters(&self) -> usize {
        self.modules.iter().map(|m| m.summary.auxiliary_parameters).sum()
    }
}

/// Plans training and evaluation.
///
/// # Errors
/// A method that does not fit the backbone, or images too small for it.
pub fn plan(backbone: &dyn Backbone, method: &Method, task: Task, sizes: Sizes) -> Result<Plan> {
    plan_in_stages(backbone, method, task, sizes, &[sizes.kind])
}

/// One step on the dry device, over `n` images.
fn step(learner: &mut Learner, source: &Source, n: usize) -> Result<()> {
    let task = learner.task();
    let fed = source.feed(learner.device(), None, n, task.image.height, task.pixels)?;
    // Learning rates do not matter to a plan.
    learner.step(fed.images, &fed.labels, &StepOptions::uniform(0.0, 1))?;
    Ok(())
}

/// An evaluation on the dry device, of so many images (none: whole batches only) in batches, the logits of `at_once` of
/// which wait there.
fn classify(
    learner: &mut Learner,
    source: &Source,
    (images, batch): (Option<usize>, usize),
    at_once: usize,
) -> Result<()> {
    let (task, device, batch) = (learner.task(), learner.device().clone(), batch.max(1));
    let (full, rest) = images.map_or((at_once, 0), |n| (n / batch, n % batch));
    // Those between are as the first ones.
    let full = if full > at_once { at_once + full % at_once } else { full };
    let mut waiting = Vec::new();
    for n in std::iter::repeat_n(batch, full).chain((rest > 0).then_some(rest)) {
        let fed = source.feed(&device, None, n, task.image.height, task.pixels)?;
        waiting.push(learner.logits(fed.images)?);
        if waiting.len() == at_once {
            waiting.clear();
        }
    }
    Ok(())
}

/// What each module costs in a step.
fn meters(backbone: &dyn Backbone, method: &Method, task: Task, sizes: Sizes) -> Result<Vec<Meter>> {
    // Cuts are part of what is learnt: they must not depend on the device or the number of threads.
    let device = Device::dry(Kind::Cpu { threads: Some(1) })?.with_precision(sizes.precision);
    let mut learner = Learner::new(&device, backbone, method, task, 0, sizes.optimizer)?;
    learner.start_meters()?;
    step(&mut learner, &Source::Host, sizes.batch)?;
    learner.take_meters()
}
