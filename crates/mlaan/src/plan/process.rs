//! What a process holds beside tensors and images: the program itself, stacks of threads, what it knows of the tensors,
//! and the one tensor that is being saved or loaded. Measured on Linux with the system's C library, over networks from
//! ResNet-8 to ResNet-152, of the optimised program; the constants are a little above what was found.

use crate::Result;
use crate::evaluation::Meter;
use crate::local::Learner;
use crate::nn::Param;
use mlaan_engine::DeviceKind;

/// What a process does: so much of the program is touched, and so much lies in the allocator beside tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Trains, tests, shows progress and writes checkpoints.
    Training,
    /// Opens images and passes them through a trained network: `eval`, `predict`, `analyze`; folds one for ONNX.
    Inference,
    /// Reads and writes tensors, one at a time.
    Files,
}

impl Process {
    /// The program and its libraries as far as they are touched, and what it takes to read a recipe and plan.
    fn bytes(self) -> usize {
        let mebibytes = match self {
            Process::Training => 18,
            Process::Inference => 15,
            Process::Files => 13,
        };
        mebibytes << 20
    }
}

/// Buffers of files that are written and read.
const BUFFERS: usize = 1 << 20;
/// The part of a thread's stack that is touched, and its part of the allocator.
const THREAD: usize = 96 << 10;
/// What MPI takes, with what it shares with other ranks of the machine.
const MPI: usize = 20 << 20;
/// Threads of a rank beside those of one process: for its stage, MPI, signs of life, what others tell, and signals.
const RANK_THREADS: usize = 5;
/// What is known of a tensor: its name, its place in the header of a file, its layout in memory.
const TENSOR: usize = 768;

/// Bytes that an evaluation of `images` images holds in the process: what it counts, and what it found.
pub fn evaluation(kind: DeviceKind, (classes, images): (usize, usize), mistakes: usize) -> usize {
    if kind.has_own_memory() { 0 } else { Meter::bytes(classes, images, mistakes) }
}

/// What matters of a network's tensors to the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TensorSizes {
    /// Their number, the optimiser's included.
    pub count: usize,
    /// Values of the largest one.
    pub largest: usize,
}

impl TensorSizes {
    /// Those of a learner.
    ///
    /// # Errors
    /// None in practice; visiting tensors is fallible.
    pub fn of(learner: &mut Learner) -> Result<Self> {
        let mut found = TensorSizes::default();
        learner.visit_averaged(&mut |_, param, average| {
            found.add(&param, average.is_some());
            Ok(())
        })?;
        Ok(found)
    }

    /// Those of one stage of a learner.
    ///
    /// # Errors
    /// As [`TensorSizes::of`].
    pub(crate) fn of_stage(learner: &mut Learner, stage: usize) -> Result<Self> {
        let mut found = TensorSizes::default();
        learner.visit_stage(stage, &mut |_, param, average| {
            found.add(&param, average.is_some());
            Ok(())
        })?;
        Ok(found)
    }

    fn add(&mut self, param: &Param<'_>, averaged: bool) {
        self.count += 1 + usize::from(averaged) + param.state().map_or(0, |s| s.tensors().count());
        self.largest = self.largest.max(param.value.len());
    }

    /// As [`TensorSizes::process`], of a rank of several.
    pub(crate) fn as_rank(self, kind: DeviceKind) -> usize {
        match kind {
            DeviceKind::Cpu { .. } => self.process(kind, Process::Training) + MPI + RANK_THREADS * THREAD,
            DeviceKind::Cuda => 0,
        }
    }

    /// Bytes that a process holds beside the tensors' values: one of them is copied while it is saved or loaded.
    pub(crate) fn process(self, kind: DeviceKind, process: Process) -> usize {
        let DeviceKind::Cpu { threads } = kind else { return 0 };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        // Threads that compute, threads that load, and a few that wait.
        let threads = 2 * threads.unwrap_or_else(cores) + 3;
        process.bytes() + BUFFERS + threads * THREAD + self.count * TENSOR + self.largest * size_of::<f32>()
    }
}
