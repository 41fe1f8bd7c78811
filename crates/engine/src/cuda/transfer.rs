//! Copies between the device's memory and pinned host memory, beside the device's work. What must come behind what is said by
//! events ([`Order`]).

use super::deferred::{Transfer, Work};
use super::driver::Driver;
use super::streams::Streams;
use crate::backend::Order;
use cudarc::driver::sys::{self, CUresult};

/// Of an event that is not to be timed (`CU_EVENT_DISABLE_TIMING`).
const UNTIMED: u32 = 2;

fn event(handle: usize) -> sys::CUevent {
    handle as sys::CUevent
}

impl Driver {
    /// Pinned memory; nothing where the system locks no more.
    pub(super) fn lock_memory(&self, bytes: usize) -> Option<*mut u8> {
        self.bind();
        let mut address: *mut std::ffi::c_void = std::ptr::null_mut();
        // SAFETY: a place for the address, which `unlock_memory` gives back.
        let locked = unsafe { sys::cuMemHostAlloc(&raw mut address, bytes, 0) };
        (locked == CUresult::CUDA_SUCCESS).then_some(address.cast())
    }

    /// Gives pinned memory back, behind all copies.
    pub(super) fn unlock_memory(&self, address: *mut u8) {
        self.wait();
        self.transfers.wait(self);
        // SAFETY: from `lock_memory`, given back once; no copy uses it any more.
        let _ = unsafe { sys::cuMemFreeHost(address.cast()) };
    }

    /// Events for copies to come.
    pub(super) fn new_order(&self) -> Order {
        self.bind();
        let make = || {
            let mut made: sys::CUevent = std::ptr::null_mut();
            // SAFETY: a place for the handle.
            self.note("cuEventCreate", unsafe { sys::cuEventCreate(&raw mut made, UNTIMED) });
            made as usize
        };
        Order { free: make(), filled: make(), used: make(), stored: make() }
    }

    /// Waits for all work and all copies, and destroys events.
    pub(super) fn end_order(&self, order: &Order) {
        self.wait();
        self.transfers.wait(self);
        for handle in [order.free, order.filled, order.used, order.stored] {
            // SAFETY: made in `new_order`, destroyed once; what waited for it is done.
            let _ = unsafe { sys::cuEventDestroy_v2(event(handle)) };
        }
    }

    /// Asks for a transfer, in the order of everything that is asked for.
    pub(super) fn transfer(&self, transfer: Transfer) {
        if self.launches.deferred.waits() {
            return self.launches.deferred.push(Work::Transfer(transfer));
        }
        self.issue_transfer(transfer);
    }

    pub(super) fn issue_transfer(&self, transfer: Transfer) {
        self.bind();
        // Events of other streams have no place in a recording.
        self.recorder.run(self);
        let Streams { up, down } = self.transfers.streams(self);
        let note = |call: &str, result| self.note(call, result);
        // SAFETY: streams and events live until nothing is asked for any more. Host memory is locked, as large as it says, and
        // given back behind all copies (`unlock_memory`). Who may use the device's memory when is said in `offload.rs`.
        unsafe {
            match transfer {
                Transfer::Fetch { free, filled, to, from, bytes } => {
                    note("cuEventRecord", sys::cuEventRecord(event(free), self.stream));
                    note("cuStreamWaitEvent", sys::cuStreamWaitEvent(up, event(free), 0));
                    let copied = sys::cuMemcpyHtoDAsync_v2(to, from as *const std::ffi::c_void, bytes, up);
                    note("cuMemcpyHtoDAsync", copied);
                    note("cuEventRecord", sys::cuEventRecord(event(filled), up));
                }
                Transfer::Await { event: behind } => {
                    note("cuStreamWaitEvent", sys::cuStreamWaitEvent(self.stream, event(behind), 0));
                }
                Transfer::Store { used, stored, from, to, bytes } => {
                    note("cuEventRecord", sys::cuEventRecord(event(used), self.stream));
                    note("cuStreamWaitEvent", sys::cuStreamWaitEvent(down, event(used), 0));
                    let copied = sys::cuMemcpyDtoHAsync_v2(to as *mut std::ffi::c_void, from, bytes, down);
                    note("cuMemcpyDtoHAsync", copied);
                    note("cuEventRecord", sys::cuEventRecord(event(stored), down));
                }
            }
        }
    }
}
