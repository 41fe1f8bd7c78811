//! A device: memory and operations, with every argument checked before a kernel sees it.

mod machine;

use crate::backend::{Backend, Scratch};
use crate::cpu::Cpu;
use crate::cuda::Cuda;
use crate::memory::{Allocator, Block, MemoryCategory, Usage};
use crate::operation::{Kernel, Made, Operation};
use crate::profile::{OperationCost, Records};
use crate::{DType, DeviceKind, Error, Precision, Result, Shape, Tensor};
use machine::Machine;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A handle to a device, and the precision of what convolutions store through it; clones share the device's memory
/// and threads.
#[derive(Clone)]
pub struct Device(Arc<Inner>, Precision);

struct Inner {
    name: String,
    kind: DeviceKind,
    pool: Arc<Allocator>,
    machine: Arc<Machine>,
    /// Of a handle that records what operations cost.
    records: Option<Records>,
    flops: AtomicU64,
    accessed: AtomicU64,
    fetched: AtomicU64,
}

impl Inner {
    fn new(
        name: String,
        kind: DeviceKind,
        pool: Arc<Allocator>,
        machine: Arc<Machine>,
        records: Option<Records>,
    ) -> Self {
        let [flops, accessed, fetched] = [0; 3].map(AtomicU64::new);
        Inner { name, kind, pool, machine, records, flops, accessed, fetched }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.0.name).finish()
    }
}

impl Device {
    /// The processor, with `threads` threads (all cores when `None`).
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the threads cannot be started.
    pub fn cpu(threads: Option<usize>) -> Result<Self> {
        Ok(Self::processor(Cpu::new(threads)?))
    }

    /// The processor with a given instruction set, for tests and comparisons.
    ///
    /// # Errors
    /// As [`Device::cpu`].
    pub fn cpu_with(threads: Option<usize>, isa: crate::Isa) -> Result<Self> {
        Ok(Self::processor(Cpu::with_isa(threads, isa)?))
    }

    fn processor(backend: Cpu) -> Self {
        let kind = DeviceKind::Cpu { threads: Some(backend.threads()) };
        Self::new("cpu", kind, Allocator::host("cpu"), Machine::Cpu(backend))
    }

    /// NVIDIA GPU number `ordinal`, counted from 0.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what is missing and how to get it.
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Self::cuda_with(ordinal, None)
    }

    /// As [`Device::cuda`], with `threads` threads of the processor for what is done beside the GPU, as reading images
    /// (all cores when `None`).
    ///
    /// # Errors
    /// As [`Device::cuda`].
    pub fn cuda_with(ordinal: usize, threads: Option<usize>) -> Result<Self> {
        let backend = Cuda::new(ordinal, threads)?;
        let name = format!("cuda:{ordinal}");
        let pool = Allocator::over(&name, backend.memory());
        Ok(Self::new(&name, DeviceKind::Cuda, pool, Machine::Cuda(backend)))
    }

    /// A device that computes nothing and counts every byte and operation as one of this kind would use them. It needs
    /// no GPU.
    ///
    /// # Errors
    /// None today; kinds to come may need what a machine lacks.
    pub fn dry(kind: DeviceKind) -> Result<Self> {
        let machine = Machine::Dry(crate::dry::Dry::new(kind));
        Ok(Self::new("dry", kind, Allocator::virtual_memory("dry"), machine))
    }

    fn new(name: &str, kind: DeviceKind, pool: Arc<Allocator>, machine: Machine) -> Self {
        let (name, machine) = (name.into(), Arc::new(machine));
        Device(Arc::new(Inner::new(name, kind, pool, machine, None)), Precision::F32)
    }

    /// Another handle to the same memory and threads, which records what each operation costs ([`Device::profile`])
    /// and counts its own floating-point operations and copies. Results are the same; tensors may be used through either.
    pub fn profiled(&self) -> Self {
        let (name, kind, records) = (self.0.name.clone(), self.0.kind, Some(Records::default()));
        let (pool, machine) = (Arc::clone(&self.0.pool), Arc::clone(&self.0.machine));
        Device(Arc::new(Inner::new(name, kind, pool, machine, records)), self.1)
    }

    /// What the operations of a profiled handle cost since [`Device::reset_profile`], by kind and shape, the slowest
    /// first; nothing for a handle that does not record.
    pub fn profile(&self) -> Vec<OperationCost> {
        self.0.records.as_ref().map(|r| r.costs()).unwrap_or_default()
    }

    /// Forgets what was recorded.
    pub fn reset_profile(&self) {
        if let Some(records) = &self.0.records {
            records.clear();
        }
    }

    /// Does multiply-adds in registers, on every thread (on a GPU: products in bfloat16 by tensor cores), in number
    /// proportional to `rounds`: timed from outside, the most that the device's arithmetic can do. Returns how many
    /// floating-point operations they were; 0 on devices that do not offer it (`dry`).
    pub fn multiply_adds(&self, rounds: usize) -> u64 {
        self.backend().multiply_adds(rounds)
    }

    /// What is not as it could be, and stops nothing: why compiled kernels are not kept.
    pub fn warning(&self) -> Option<&str> {
        self.backend().warning()
    }

    /// The set of kernels that convolutions run, where there is more than one: on a GPU `proved` or `new`, as the variable
    /// `MLAAN_CUDA_KERNELS` chose when it was opened.
    pub fn kernels(&self) -> Option<&'static str> {
        self.backend().kernels()
    }

    /// `cpu`, `cuda:N` or `dry`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is, and of a dry one what it stands for.
    pub fn kind(&self) -> DeviceKind {
        self.0.kind
    }

    /// The instruction set of the processor's kernels; none where something else computes, or nothing.
    pub fn isa(&self) -> Option<crate::Isa> {
        match &*self.0.machine {
            Machine::Cpu(cpu) => Some(cpu.isa()),
            _ => None,
        }
    }

    /// Waits until all operations that were asked for are done: a GPU works beside the processor.
    ///
    /// # Errors
    /// [`Error::Failed`] when one of them failed.
    pub fn synchronize(&self) -> Result<()> {
        self.backend().synchronize();
        self.sound()
    }

    /// Bytes of the device's own memory that nobody has taken, as its driver says now; nothing where it has none of
    /// its own.
    pub fn free_memory(&self) -> Option<usize> {
        self.backend().free_memory()
    }

    /// Which of the machine's GPUs it is, the same in every process whatever its number there: its UUID, in hexadecimal. Nothing of what
    /// is no GPU.
    pub fn uuid(&self) -> Option<String> {
        self.backend().uuid()
    }

    /// What it does beside operations.
    pub(crate) fn backend(&self) -> &dyn Backend {
        self.0.machine.backend()
    }

    /// What failed on the device since it was opened, as an error: an operation that runs later has no one to tell.
    pub(crate) fn sound(&self) -> Result<()> {
        self.backend().fault().map_or(Ok(()), Err)
    }

    /// The same device, its convolutions storing their results in `precision`.
    pub fn with_precision(&self, precision: Precision) -> Self {
        Device(Arc::clone(&self.0), precision)
    }

    /// What convolutions through this handle store their results in.
    pub fn precision(&self) -> Precision {
        self.1
    }

    /// Threads of the processor: those that operations use, or on a GPU those for what is done beside it.
    pub fn threads(&self) -> usize {
        self.backend().threads()
    }

    /// Whether tensors hold values (not on `dry`).
    pub fn computes(&self) -> bool {
        self.backend().computes()
    }

    /// Bytes in use, now and at the most.
    pub fn usage(&self) -> Usage {
        self.0.pool.usage()
    }

    /// The device's memory.
    pub fn pool(&self) -> &Arc<Allocator> {
        &self.0.pool
    }

    /// Floating-point operations of convolutions and linear layers so far (a multiply-add is two).
    pub fn flops(&self) -> u64 {
        self.0.flops.load(Ordering::Relaxed)
    }

    /// Bytes that operations had to read or write so far, every operand once.
    pub fn bytes_accessed(&self) -> u64 {
        self.0.accessed.load(Ordering::Relaxed)
    }

    /// Bytes of [offloaded](Device::offload) tensors that were copied to the device so far.
    pub fn fetched(&self) -> u64 {
        self.0.fetched.load(Ordering::Relaxed)
    }

    pub(crate) fn count_fetched(&self, bytes: usize) {
        self.0.fetched.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Runs `f` where the device's threads are: operations inside start without a hand-over each.
    pub fn scope<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        let mut work = || {
            if let Some(f) = f.take() {
                result = Some(f());
            }
        };
        match self.0.kind {
            // A scope's operations go to a GPU together: each would be a recording of its own when it is waited for.
            DeviceKind::Cuda if self.0.records.is_some() => work(),
            _ => self.backend().scope(&mut work),
        }
        result
    }

    /// A new tensor; its values are whatever lay there before.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Failed`] when an earlier operation failed.
    pub fn alloc(&self, shape: impl Into<Shape>, dtype: DType, category: MemoryCategory) -> Result<Tensor> {
        let shape = shape.into();
        let bytes = shape
            .dims()
            .iter()
            .try_fold(dtype.bytes(), |n, &d| n.checked_mul(d))
            .filter(|&n| n < isize::MAX as usize / 2);
        let bytes = bytes.ok_or_else(|| Error::OutOfMemory {
            device: self.0.name.clone(),
            requested: usize::MAX,
            in_use: self.usage().current,
        })?;
        Ok(Tensor::new(shape, dtype, self.take(bytes, category)?))
    }

    /// Runs an operation: every operation of every kind of device goes through here.
    pub(crate) fn run<O: Operation>(&self, operation: O) -> Result<O::Made>
    where
        Cpu: Kernel<O>,
        Cuda: Kernel<O>,
    {
        let Inner { machine, records, flops, accessed, .. } = &*self.0;
        let tensor = |shape, dtype| self.alloc(shape, dtype, MemoryCategory::Activations);
        let mut made = O::Made::allocate(tensor, operation.check()?)?;
        let bytes = machine.scratch(&operation);
        let mut block = bytes.map(|bytes| self.take(bytes, MemoryCategory::Workspace)).transpose()?;
        let scratch = Scratch::new(block.as_mut(), bytes.unwrap_or(0));
        let (counted, bytes) = (operation.flops(), operation.bytes() + made.bytes());
        if counted > 0 {
            flops.fetch_add(counted, Ordering::Relaxed);
        }
        accessed.fetch_add(bytes as u64, Ordering::Relaxed);
        match records {
            None => machine.launch(operation, &mut made, scratch),
            Some(records) => {
                let cost = (operation.label(), counted, bytes);
                records.time(machine.backend(), cost, || machine.launch(operation, &mut made, scratch));
            }
        }
        Ok(made)
    }

    /// A block of a device that still works.
    pub(crate) fn take(&self, bytes: usize, category: MemoryCategory) -> Result<Block> {
        self.take_for(bytes, category, (category, 0))
    }

    /// As [`Device::take`], for values of two kinds ([`Allocator::take_for`]).
    pub(crate) fn take_for(
        &self,
        bytes: usize,
        category: MemoryCategory,
        part: (MemoryCategory, usize),
    ) -> Result<Block> {
        self.sound()?;
        // A device that fails while it allocates has not run out of memory.
        self.0.pool.take_for(bytes, category, part).or_else(|refused| self.sound().and(Err(refused)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv2dParams, Operand};

    #[test]
    fn a_device_that_failed_says_so_at_the_next_call() {
        let device = |failed: Option<&'static str>, pool: &Arc<Allocator>| {
            let mut dry = crate::dry::Dry::new(DeviceKind::Cuda);
            dry.failed = failed;
            Device::new("dry", DeviceKind::Cuda, Arc::clone(pool), Machine::Dry(dry))
        };
        let pool = Allocator::virtual_memory("dry");
        let (sound, failed) = (device(None, &pool), device(Some("illegal address"), &pool));
        let x = sound.full([1, 4, 4, 8], 1.0, MemoryCategory::Activations).unwrap();
        let w = sound.full([8, 8, 1, 1], 1.0, MemoryCategory::Parameters).unwrap();
        sound.convolve(Conv2dParams::same(1, 1), &Operand::plain(&x), &w, None, None).unwrap();
        assert_eq!(sound.download(&x).unwrap().len(), x.len());
        sound.synchronize().unwrap();
        let said = |r: Result<()>| {
            let message = r.unwrap_err().to_string();
            assert_eq!(message, "device dry failed: illegal address");
        };
        said(failed.alloc([3], DType::F32, MemoryCategory::Data).map(drop));
        said(failed.convolve(Conv2dParams::same(1, 1), &Operand::plain(&x), &w, None, None).map(drop));
        said(failed.download(&x).map(drop));
        said(failed.synchronize());
        said(failed.profiled().synchronize());
    }
}
