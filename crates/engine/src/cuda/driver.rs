//! The CUDA driver, as far as it is needed: one device, one stream, memory, kernels.
//!
//! Work is asked for in order on one stream and done beside the processor. What fails is kept ([`Driver::fault`]):
//! an operation has no one to tell, and the error of one that runs later comes with any call.

use super::context::{Context, LEAST_CAPABILITY, count, properties};
use super::functions::Launches;
use super::graph::Recorder;
use super::kernel_choice::Kernels;
use super::staging::Staging;
use super::streams::Transfers;
use crate::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ops::Deref;
use std::sync::Mutex;

/// Of a stream that does not wait for the default one (`CU_STREAM_NON_BLOCKING`).
const NON_BLOCKING: u32 = 1;

fn unavailable(ordinal: usize, message: String) -> Error {
    Error::Unavailable { device: format!("cuda:{ordinal}"), message }
}

/// See the module.
pub(super) struct Driver {
    context: Context,
    pub(super) recorder: Recorder,
    staging: Staging,
    /// Streams of copies beside the work.
    pub(super) transfers: Transfers,
    pub(super) kernels: Kernels,
    /// Kernels, and what waits for those that are not there yet.
    pub(super) launches: Launches,
}

impl Deref for Driver {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuda:{}", self.ordinal)
    }
}

impl Driver {
    /// Opens device `ordinal`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what is missing and how to get it.
    pub(super) fn open(ordinal: usize) -> Result<Self> {
        let refuse = |message: String| unavailable(ordinal, message);
        let devices = count().map_err(refuse)?;
        if ordinal >= devices {
            return Err(refuse(format!("there is no such device; the driver knows {devices}")));
        }
        let (device, properties) = properties(ordinal).map_err(refuse)?;
        if properties.capability < LEAST_CAPABILITY {
            let ((major, minor), (least, part)) = (properties.capability, LEAST_CAPABILITY);
            let message = format!(
                "{} has compute capability {major}.{minor}; {least}.{part} or later is needed (Ampere and after)",
                properties.name
            );
            return Err(refuse(message));
        }
        let context = Context {
            ordinal,
            properties,
            device,
            context: std::ptr::null_mut(),
            stream: std::ptr::null_mut(),
            fault: Mutex::default(),
        };
        let mut driver = Driver {
            context,
            recorder: Recorder::new(),
            staging: Staging::default(),
            transfers: Transfers::default(),
            kernels: Kernels::chosen().map_err(refuse)?,
            launches: Launches::default(),
        };
        // SAFETY: the device exists; its primary context is released and the stream destroyed on drop.
        unsafe {
            let retained = sys::cuDevicePrimaryCtxRetain(&raw mut driver.context.context, device);
            driver.check("cuDevicePrimaryCtxRetain", retained)?;
            driver.check("cuCtxSetCurrent", sys::cuCtxSetCurrent(driver.context.context))?;
            let created = sys::cuStreamCreate(&raw mut driver.context.stream, NON_BLOCKING);
            driver.check("cuStreamCreate", created)?;
        }
        Ok(driver)
    }

    /// Binds, and runs what waits and what was recorded, before a call that cannot be.
    fn flush(&self) {
        self.bind();
        self.settle();
        self.recorder.run(self);
    }

    /// New memory; nothing where there is no room.
    pub(super) fn allocate(&self, bytes: usize) -> Option<u64> {
        self.flush();
        let mut address: sys::CUdeviceptr = 0;
        // SAFETY: a place for the address; the range is freed in `free`.
        unsafe {
            match sys::cuMemAlloc_v2(&raw mut address, bytes) {
                CUresult::CUDA_SUCCESS => {}
                CUresult::CUDA_ERROR_OUT_OF_MEMORY => return None,
                // The device is in no state to allocate: that is not a lack of memory.
                failed => {
                    self.note("cuMemAlloc", failed);
                    return None;
                }
            }
            self.note("cuMemsetD8Async", sys::cuMemsetD8Async(address, 0, bytes, self.stream));
        }
        Some(address)
    }

    /// Bytes that nobody has taken, other processes included; nothing where the driver does not say.
    pub(super) fn free_memory(&self) -> Option<usize> {
        self.flush();
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: places for two numbers; `bind` made a context the thread's.
        let asked = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        (asked == CUresult::CUDA_SUCCESS).then_some(free)
    }

    /// The GPU's UUID in hexadecimal; nothing where the driver does not say.
    pub(super) fn uuid(&self) -> Option<String> {
        let mut uuid = sys::CUuuid { bytes: [0; 16] };
        // SAFETY: a place for 16 bytes; the device exists.
        let asked = unsafe { sys::cuDeviceGetUuid_v2(&raw mut uuid, self.device) };
        let hex = || uuid.bytes.iter().flat_map(|b| b.to_ne_bytes()).map(|b| format!("{b:02x}")).collect();
        (asked == CUresult::CUDA_SUCCESS).then(hex)
    }

    pub(super) fn free(&self, address: u64) {
        // What was asked for reads and writes this memory, and `cuMemFree` does not promise to wait for it.
        self.wait();
        self.transfers.wait(self);
        // SAFETY: from `allocate`, given back once. A pool frees when it is dropped: no tensor and no handle of the
        // device is left, so nothing that is asked for from here on names the memory. Updates that still wait in
        // `update::Pending` do, but no operation comes any more before which they would be launched.
        let _ = unsafe { sys::cuMemFree_v2(address) };
    }

    /// Copies host bytes to the device, in the order of the stream; `bytes` may change as soon as it returns.
    pub(super) fn upload(&self, address: u64, bytes: &[u8]) {
        self.flush();
        if self.staging.upload(self, address, bytes) {
            return;
        }
        // SAFETY: the caller borrows a tensor of that length there, to write. `bytes` are not pinned, so they are staged
        // before the call returns.
        let r =
            unsafe { sys::cuMemcpyHtoDAsync_v2(address, bytes.as_ptr().cast(), bytes.len(), self.stream) };
        self.note("cuMemcpyHtoDAsync", r);
    }

    /// Copies from the device and waits for it.
    pub(super) fn download(&self, address: u64, bytes: &mut [u8]) {
        self.flush();
        if self.staging.download(self, address, bytes) {
            return;
        }
        // SAFETY: the caller borrows a tensor of that length there; the wait ends the copy before the borrow of `bytes`.
        let r = unsafe {
            sys::cuMemcpyDtoHAsync_v2(bytes.as_mut_ptr().cast(), address, bytes.len(), self.stream)
        };
        self.note("cuMemcpyDtoHAsync", r);
        self.wait();
    }

    /// Waits until the stream is empty.
    pub(super) fn wait(&self) {
        self.flush();
        // SAFETY: the stream lives as long as `self`.
        self.note("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) });
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.context.context.is_null() {
            return;
        }
        self.bind();
        self.recorder.clear();
        // SAFETY: made in `open`; errors at the end change nothing.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.stream);
        }
        self.transfers.wait(&self.context);
        self.transfers.clear();
        self.staging.clear();
        // SAFETY: as above.
        unsafe {
            let _ = sys::cuStreamDestroy_v2(self.stream);
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}
