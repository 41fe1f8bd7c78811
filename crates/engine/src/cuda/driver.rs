//! The CUDA driver, as far as it is needed: one device, one stream, memory, kernels.
//!
//! Work is asked for in order on one stream and done beside the processor. What fails is kept ([`Driver::fault`]):
//! an operation has no one to tell, and the error of one that runs later comes with any call.

use super::devices::LEAST_CAPABILITY;
use super::graph::Recorder;
use super::launch::Launches;
use super::specialised::Kernels;
use super::staging::Staging;
use crate::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult};
use std::ffi::{CStr, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of a stream that does not wait for the default one (`CU_STREAM_NON_BLOCKING`).
const NON_BLOCKING: u32 = 1;

/// A mutex whose holder cannot leave its contents half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a device is.
#[derive(Clone, Debug)]
pub(super) struct Properties {
    pub(super) name: String,
    /// Major and minor number of the compute capability.
    pub(super) capability: (u32, u32),
    pub(super) multiprocessors: usize,
    /// Bytes of shared memory that a block may ask for.
    pub(super) shared: usize,
    pub(super) memory: usize,
}

/// A failed call as text: the driver's own words.
pub(super) fn describe(call: &str, result: CUresult) -> String {
    let mut text: *const std::ffi::c_char = std::ptr::null();
    // SAFETY: the driver is loaded, as it gave the result; a place for the text's address.
    let known = unsafe { sys::cuGetErrorString(result, &raw mut text) } == CUresult::CUDA_SUCCESS;
    if !known || text.is_null() {
        return format!("{call}: {result:?}");
    }
    // SAFETY: the driver's text is constant and terminated.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    format!("{call}: {text} ({result:?})")
}

fn unavailable(ordinal: usize, message: String) -> Error {
    Error::Unavailable { device: format!("cuda:{ordinal}"), message }
}

/// See the module.
pub(super) struct Driver {
    pub(super) ordinal: usize,
    pub(super) properties: Properties,
    device: sys::CUdevice,
    context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    pub(super) recorder: Recorder,
    staging: Staging,
    pub(super) kernels: Kernels,
    /// Kernels, and what waits for those that are not there yet.
    pub(super) launches: Launches,
    pub(super) fault: Mutex<Option<String>>,
}

// SAFETY: the driver takes its handles from any thread (the context is made the calling thread's by `bind`), and they
// do not change from `open` to `drop`; all that changes is behind mutexes.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuda:{}", self.ordinal)
    }
}

/// Whether the driver's library is on this machine.
pub(super) fn present() -> bool {
    // SAFETY: loading NVIDIA's driver library runs its initialisers, which are harmless.
    unsafe { sys::is_culib_present() }
}

/// Starts the driver and counts its devices.
pub(super) fn count() -> std::result::Result<usize, String> {
    if !present() {
        return Err("the NVIDIA driver (libcuda) is not installed".into());
    }
    // SAFETY: no arguments but a place for the count.
    unsafe {
        let started = sys::cuInit(0);
        if started != CUresult::CUDA_SUCCESS {
            return Err(describe("cuInit", started));
        }
        let mut n: c_int = 0;
        match sys::cuDeviceGetCount(&raw mut n) {
            CUresult::CUDA_SUCCESS => Ok(usize::try_from(n).unwrap_or(0)),
            failed => Err(describe("cuDeviceGetCount", failed)),
        }
    }
}

/// What device `ordinal` is; the driver must be started.
pub(super) fn properties(ordinal: usize) -> std::result::Result<(sys::CUdevice, Properties), String> {
    let number = c_int::try_from(ordinal).map_err(|_| format!("there is no device {ordinal}"))?;
    let mut device: sys::CUdevice = 0;
    let mut name = [0u8; 256];
    let mut memory = 0usize;
    let ok = |call: &str, r: CUresult| match r {
        CUresult::CUDA_SUCCESS => Ok(()),
        failed => Err(describe(call, failed)),
    };
    // SAFETY: places for results only; the name's is longer than it says, so a zero ends it.
    unsafe {
        ok("cuDeviceGet", sys::cuDeviceGet(&raw mut device, number))?;
        ok("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr().cast(), 255, device))?;
        ok("cuDeviceTotalMem", sys::cuDeviceTotalMem_v2(&raw mut memory, device))?;
    }
    let attribute = |which: Attribute| {
        let mut value: c_int = 0;
        // SAFETY: a place for the value.
        ok("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) })?;
        Ok::<u32, String>(u32::try_from(value).unwrap_or(0))
    };
    let capability = (
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize;
    let shared = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize;
    let name =
        CStr::from_bytes_until_nul(&name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((device, Properties { name, capability, multiprocessors, shared, memory }))
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
        let mut driver = Driver {
            ordinal,
            properties,
            device,
            context: std::ptr::null_mut(),
            stream: std::ptr::null_mut(),
            recorder: Recorder::new(),
            staging: Staging::default(),
            kernels: Kernels::chosen().map_err(refuse)?,
            launches: Launches::default(),
            fault: Mutex::default(),
        };
        // SAFETY: the device exists; its primary context is released and the stream destroyed on drop.
        unsafe {
            let retained = sys::cuDevicePrimaryCtxRetain(&raw mut driver.context, device);
            driver.check("cuDevicePrimaryCtxRetain", retained)?;
            driver.check("cuCtxSetCurrent", sys::cuCtxSetCurrent(driver.context))?;
            let created = sys::cuStreamCreate(&raw mut driver.stream, NON_BLOCKING);
            driver.check("cuStreamCreate", created)?;
        }
        Ok(driver)
    }

    fn name(&self) -> String {
        format!("cuda:{}", self.ordinal)
    }

    /// A call's result as an error of this device.
    pub(super) fn check(&self, call: &str, result: CUresult) -> Result<()> {
        match result {
            CUresult::CUDA_SUCCESS => Ok(()),
            failed => Err(Error::Failed { device: self.name(), message: describe(call, failed) }),
        }
    }

    /// Keeps the first failure.
    pub(super) fn note(&self, call: &str, result: CUresult) {
        if result != CUresult::CUDA_SUCCESS {
            self.fail(describe(call, result));
        }
    }

    pub(super) fn fail(&self, message: String) {
        lock(&self.fault).get_or_insert(message);
    }

    /// The first failure, if there was one.
    pub(super) fn fault(&self) -> Option<Error> {
        lock(&self.fault).clone().map(|message| Error::Failed { device: self.name(), message })
    }

    /// Makes the device the calling thread's.
    pub(super) fn bind(&self) {
        // SAFETY: the context was retained in `open` and is released in `drop`.
        self.note("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) });
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

    pub(super) fn free(&self, address: u64) {
        // What was asked for reads and writes this memory, and `cuMemFree` does not promise to wait for it.
        self.wait();
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
        if self.context.is_null() {
            return;
        }
        self.bind();
        self.recorder.clear();
        // SAFETY: made in `open`; errors at the end change nothing.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.stream);
        }
        self.staging.clear();
        // SAFETY: as above.
        unsafe {
            let _ = sys::cuStreamDestroy_v2(self.stream);
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}
