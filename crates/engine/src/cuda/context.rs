//! A GPU as the CUDA driver knows it: what it is, its context, one stream, and what failed on it.

use crate::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult};
use std::ffi::{CStr, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The compute capability that kernels need at the least: Ampere's, the first with tensor cores for bf16.
pub const LEAST_CAPABILITY: (u32, u32) = (8, 0);

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

/// See the module.
pub(super) struct Context {
    pub(super) ordinal: usize,
    pub(super) properties: Properties,
    pub(super) device: sys::CUdevice,
    pub(super) context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    pub(super) fault: Mutex<Option<String>>,
}

// SAFETY: the driver takes its handles from any thread (the context is made the calling thread's by `bind`), and they
// do not change from `Driver::open` to its end; all that changes is behind mutexes.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

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

impl Context {
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
        // SAFETY: `Driver` retained the context and releases it when it is dropped.
        self.note("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) });
    }
}
