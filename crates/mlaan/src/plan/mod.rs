//! What a run will need, before it runs: a training step on a device that computes nothing.
//!
//! The dry device makes the same allocations in the same order as the real one, so the plan's bytes are the
//! run's bytes.

mod balance;
mod borders;
mod division;
mod dry;
mod inference;
mod process;
mod rank_messages;
mod ranks;
pub mod search;
mod stages;
mod transfer;

pub use crate::memory::Needs;
pub use balance::balanced;
pub use division::{Division, most_stages, stage_cuts};
pub use inference::{Inference, inference, read_at_once};
pub use process::{Process, TensorSizes, evaluation};
pub use rank_messages::{RankMessages, in_flight};
pub use ranks::{RanksCourse, Speed};
pub use stages::{plan, plan_divided, plan_in_stages};
pub use transfer::{BUSES, Bus, RATE};

use crate::local::{Meter, ModuleSummary};
use crate::nn::Optimizer;
use mlaan_engine::{DeviceKind, Precision, Usage};
use std::ops::Range;

/// The sizes of a run that memory depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Images of a step.
    pub batch: usize,
    /// Training images; their number decides the size of an epoch's last batch. None: whole batches only.
    pub train: Option<usize>,
    /// Whether the training images stay on the device ([`BatchSource::keeps`](crate::data::BatchSource::keeps)).
    pub kept: bool,
    /// Whether the images that are evaluated after every epoch do, too: those for validation, or for testing where there are
    /// none ([`BatchSource::keeps_test`](crate::data::BatchSource::keeps_test)).
    pub kept_test: bool,
    /// Whether training images are mixtures of two, with two labels ([`BatchSource::Mixed`](crate::data::BatchSource::Mixed)).
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
    /// Shards that the batch of a step is cut into.
    pub shards: usize,
    /// Whether an EMA of the weights is kept.
    pub model_ema: bool,
    /// What computes: some scratch differs.
    pub kind: DeviceKind,
}

impl Sizes {
    /// Those of steps of `batch` images in 32 bits, without the images themselves: whole batches, as they are, uncut.
    pub fn of_steps(batch: usize, optimizer: Optimizer, kind: DeviceKind) -> Self {
        Sizes {
            batch,
            train: None,
            kept: false,
            kept_test: false,
            mixed: false,
            test: None,
            validation: None,
            data_bytes: 0,
            loading_bytes: 0,
            precision: Precision::F32,
            optimizer,
            shards: 1,
            model_ema: false,
            kind,
        }
    }
}

/// One module of a plan.
#[derive(Clone, Debug)]
pub struct ModulePlan {
    /// What it is.
    pub summary: ModuleSummary,
    /// What a step costs.
    pub meter: Meter,
    /// Bytes of its auxiliary networks that are kept in host memory: a step, or each of its shards, brings them to the device and
    /// back.
    pub moved: usize,
}

/// One stage of a plan.
#[derive(Clone, Debug)]
pub struct StagePlan {
    /// Its modules.
    pub modules: Range<usize>,
    /// Bytes of its device at the most.
    pub usage: Usage,
    /// Floating-point operations of a training step.
    pub flops: u64,
    /// Bytes that a process needs beside them which has this stage alone, as a rank of several ([`Needs::process`]).
    pub process: usize,
    /// What that holds of messages, which on a processor is in `process`.
    pub messages: RankMessages,
    /// What it computes on.
    pub kind: DeviceKind,
}

impl StagePlan {
    /// What a process needs which has this stage alone.
    pub fn needs(&self) -> Needs {
        let messages = if self.kind.has_own_memory() { self.messages.all } else { 0 };
        Needs { usage: self.usage, process: self.process, messages }
    }
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
    /// Bytes of messages between stages in host memory ([`Needs::messages`]).
    pub messages: usize,
    /// Floating-point operations of a training step (a multiply-add is two).
    pub flops: u64,
    /// Images of a step.
    pub batch: usize,
    /// Shards that the batch of a step is cut into.
    pub shards: usize,
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

    /// Bytes that a step brings to devices of what is kept in host memory, and as many that it takes back.
    pub fn moved(&self) -> usize {
        self.shards * self.modules.iter().map(|m| m.moved).sum::<usize>()
    }

    /// Bytes of pinned host memory that auxiliary networks are kept in.
    pub fn host(&self) -> usize {
        self.usage.host
    }

    /// The modules before which stages end but the last.
    pub fn cuts(&self) -> Vec<usize> {
        self.stages.iter().skip(1).map(|s| s.modules.start).collect()
    }

    /// What a run needs, apart.
    pub fn needs(&self) -> Needs {
        Needs { usage: self.usage, process: self.process, messages: self.messages }
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
