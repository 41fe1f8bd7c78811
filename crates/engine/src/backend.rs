//! What a kind of device offers beside its kernels ([`Kernel`](crate::operation::Kernel)).

use crate::conv2d_params::Conv2dParams;
use crate::memory::Block;
use crate::{Error, Tensor};

/// Scratch of one operation, allocated by the device to the size that its kernel asked for.
pub(crate) struct Scratch<'a> {
    block: Option<&'a mut Block>,
    bytes: usize,
}

impl<'a> Scratch<'a> {
    /// A block and how much of it was asked for; none for a kernel that asked for none.
    pub(crate) fn new(block: Option<&'a mut Block>, bytes: usize) -> Self {
        Scratch { block, bytes }
    }

    /// As host memory; empty where there is none.
    pub(crate) fn host(self) -> &'a mut [u8] {
        match self.block {
            Some(block) if !block.host_address().is_null() => {
                // SAFETY: the block holds at least `bytes` initialised bytes and is borrowed exclusively.
                unsafe { std::slice::from_raw_parts_mut(block.host_address(), self.bytes) }
            }
            _ => &mut [],
        }
    }

    /// Where it lies in the device's memory; 0 where there is none.
    pub(crate) fn device_address(&self) -> u64 {
        self.block.as_ref().map_or(0, |b| b.device_address())
    }
}

/// The events that order copies to and from memory of the device: handles of the driver, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// Behind the operations that used the memory before.
    pub(crate) free: usize,
    /// Behind the copy to it.
    pub(crate) filled: usize,
    /// Behind the operations that used what it holds.
    pub(crate) used: usize,
    /// Behind the copy of what it holds to the host.
    pub(crate) stored: usize,
}

/// What a kind of device does beside operations.
pub(crate) trait Backend: Send + Sync {
    /// Runs `f` where the device's threads are, so that the operations in it start at once.
    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        f();
    }

    /// Threads of the processor that operations use, or that are for what is done beside the device.
    fn threads(&self) -> usize;

    /// What is not as it could be, and stops nothing.
    fn warning(&self) -> Option<&str> {
        None
    }

    /// Which set of kernels convolutions run, where there is more than one.
    fn kernels(&self) -> Option<&'static str> {
        None
    }

    /// Waits until all that was asked for is done.
    fn synchronize(&self) {}

    /// What went wrong on the device since it was opened: a device that works beside the processor says so late.
    fn fault(&self) -> Option<Error> {
        None
    }

    /// Lets the device fail: it does nothing more, and says so at the next call. Only what cannot happen asks for it.
    fn fail(&self, _message: String) {}

    /// Bytes of the device's own memory that nobody has taken; nothing where it has none of its own.
    fn free_memory(&self) -> Option<usize> {
        None
    }

    /// Which of the machine's GPUs it is, the same in every process: its UUID; nothing where it is none.
    fn uuid(&self) -> Option<String> {
        None
    }

    /// Whether tensors hold values.
    fn computes(&self) -> bool {
        true
    }

    /// Does multiply-adds in registers, on every thread, in number proportional to `rounds`: the most that the
    /// device's arithmetic can do. Returns how many floating-point operations they were; 0 where nothing is computed.
    fn multiply_adds(&self, _rounds: usize) -> u64 {
        0
    }

    /// How many values the weights of such a convolution have when they are packed for it; 0 where that is of no use.
    fn packed(&self, _window: Conv2dParams, _x: [usize; 4], _out: usize) -> usize {
        0
    }

    /// What tells orders apart that have as many values: it differs where kernels do.
    fn order(&self) -> usize {
        0
    }

    /// Packs the weights `w` into `to`, which has [`Backend::packed`] values.
    fn prepack(&self, _window: Conv2dParams, _x: [usize; 4], _w: &Tensor, _to: &mut Tensor) {}

    /// Pinned host memory, from which and to which a device copies beside its work; null on a device that computes
    /// nothing, nothing where the system locks no more.
    fn lock(&self, _bytes: usize) -> Option<*mut u8> {
        Some(std::ptr::null_mut())
    }

    /// Gives back what [`Backend::lock`] gave, when no copy uses it any more.
    fn unlock(&self, _address: *mut u8) {}

    /// Events for copies to come.
    fn new_order(&self) -> Order {
        Order::default()
    }

    /// Waits for all copies, and gives the events back.
    fn end_order(&self, _order: &Order) {}

    /// Copies from pinned memory, beside the work to come, behind what was asked for so far.
    fn fetch(&self, _order: &Order, _to: u64, _from: *const u8, _bytes: usize) {}

    /// What is asked for from here on comes behind the last [`Backend::fetch`].
    fn await_fetch(&self, _order: &Order) {}

    /// Copies to pinned memory, beside the work to come, behind what was asked for so far.
    fn store(&self, _order: &Order, _from: u64, _to: *mut u8, _bytes: usize) {}

    /// What is asked for from here on comes behind the last [`Backend::store`].
    fn await_store(&self, _order: &Order) {}
}
