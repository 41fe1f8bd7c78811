//! Kernels that are loaded into a context.

use super::context::{describe, lock};
use super::deferred::Deferred;
use super::program::Program;
use cudarc::driver::sys::{self, CUresult};
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::sync::Mutex;

/// Dynamic shared memory that a kernel may have without asking.
const SHARED_UNASKED: u32 = 48 << 10;

/// Of a multiprocessor's cache, in percent: what is given to shared memory where a kernel asks for much.
const ALL_SHARED: c_int = 100;

/// A kernel that is ready to be launched.
#[derive(Clone, Copy)]
pub(super) struct Function(pub(super) sys::CUfunction);

// SAFETY: a handle of the driver, which is safe to use from any thread.
unsafe impl Send for Function {}

/// Kernels that are loaded, and what waits for others.
#[derive(Default)]
pub(super) struct Launches {
    pub(super) deferred: Deferred,
    functions: Mutex<HashMap<(usize, &'static str), Function>>,
    /// Blocks that the device runs at once, of a kernel with so many threads and bytes of shared memory.
    pub(super) resident: Mutex<HashMap<(usize, u32, u32), u32>>,
}

impl Launches {
    /// A kernel, where it is loaded.
    pub(super) fn function(&self, program: &'static Program, entry: &'static str) -> Option<Function> {
        lock(&self.functions).get(&key(program, entry)).copied()
    }

    /// Loads a program's machine code and knows its kernels from then on; the stream must not record.
    pub(super) fn load(&self, program: &'static Program, image: &[u8]) -> Result<(), String> {
        let module = load(image)?;
        for name in program.entries.iter().map(|e| e.name) {
            let f = entry_of(module, name)?;
            // As much as an operation may ever ask for; what a launch takes is decided then.
            if program.shared > SHARED_UNASKED {
                raise(f, program.shared).map_err(|e| format!("{name}: {e}"))?;
            }
            lock(&self.functions).insert(key(program, name), f);
        }
        Ok(())
    }
}

/// A program is known by its address.
fn key(program: &'static Program, entry: &'static str) -> (usize, &'static str) {
    (std::ptr::from_ref(program).addr(), entry)
}

fn load(image: &[u8]) -> Result<sys::CUmodule, String> {
    let mut module: sys::CUmodule = std::ptr::null_mut();
    // SAFETY: an image that the compiler made; it stays loaded as long as the context.
    match unsafe { sys::cuModuleLoadData(&raw mut module, image.as_ptr().cast()) } {
        CUresult::CUDA_SUCCESS => Ok(module),
        failed => Err(describe("cuModuleLoadData", failed)),
    }
}

fn entry_of(module: sys::CUmodule, name: &str) -> Result<Function, String> {
    let text = CString::new(name).map_err(|e| e.to_string())?;
    let mut function: sys::CUfunction = std::ptr::null_mut();
    // SAFETY: a loaded module and a terminated name.
    match unsafe { sys::cuModuleGetFunction(&raw mut function, module, text.as_ptr()) } {
        CUresult::CUDA_SUCCESS => Ok(Function(function)),
        failed => Err(format!("{name}: {}", describe("cuModuleGetFunction", failed))),
    }
}

fn raise(function: Function, bytes: u32) -> Result<(), String> {
    let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    let bytes = c_int::try_from(bytes).map_err(|e| e.to_string())?;
    // SAFETY: a function of a loaded module.
    match unsafe { sys::cuFuncSetAttribute(function.0, which, bytes) } {
        CUresult::CUDA_SUCCESS => {}
        failed => return Err(describe("cuFuncSetAttribute", failed)),
    }
    // As many blocks as shared memory allows; the cache has the rest. A hint: what comes of it is not asked.
    let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
    // SAFETY: as above.
    let _ = unsafe { sys::cuFuncSetAttribute(function.0, which, ALL_SHARED) };
    Ok(())
}
