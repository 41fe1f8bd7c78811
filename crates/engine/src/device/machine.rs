//! The kinds of devices: what is written for each of them meets here.

use crate::backend::{Backend, Scratch};
use crate::cpu::Cpu;
use crate::cuda::Cuda;
use crate::dry::Dry;
use crate::operation::{Kernel, Operation, Planned};

/// What is behind a [`Device`](crate::Device).
pub(super) enum Machine {
    Cpu(Cpu),
    Cuda(Cuda),
    Dry(Dry),
}

impl Machine {
    pub(super) fn backend(&self) -> &dyn Backend {
        match self {
            Machine::Cpu(cpu) => cpu,
            Machine::Cuda(cuda) => cuda,
            Machine::Dry(dry) => dry,
        }
    }

    /// Bytes of scratch that an operation needs; nothing where it needs none.
    pub(super) fn scratch<O: Operation>(&self, operation: &O) -> Option<usize>
    where
        Cpu: Kernel<O>,
        Cuda: Kernel<O>,
    {
        match self {
            Machine::Cpu(cpu) => <Cpu as Kernel<O>>::scratch(cpu.model(), operation),
            Machine::Cuda(cuda) => <Cuda as Kernel<O>>::scratch(cuda.model(), operation),
            Machine::Dry(dry) => dry.scratch(operation),
        }
    }

    /// Runs an operation's kernel.
    pub(super) fn launch<O: Operation>(&self, operation: O, made: &mut O::Made, scratch: Scratch<'_>)
    where
        Cpu: Kernel<O>,
        Cuda: Kernel<O>,
    {
        match self {
            Machine::Cpu(cpu) => cpu.launch(operation, made, scratch),
            Machine::Cuda(cuda) => cuda.launch(operation, made, scratch),
            Machine::Dry(_) => {}
        }
    }
}
