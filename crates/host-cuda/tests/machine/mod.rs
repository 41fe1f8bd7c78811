//! CUDA as a program sees it, with little code: compiled kernels, memory, one stream.

use cudarc::driver::sys::{self, CUresult};
use cudarc::nvrtc::sys as nvrtc;
use std::ffi::{CStr, CString, c_void};
use std::io::Write;
use std::ptr::{null, null_mut};

/// Succeeded, or the driver's answer.
pub fn ok(r: CUresult) -> Result<(), CUresult> {
    if r == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(r) }
}

/// A started device, or nothing where the driver cannot be made, which is said.
pub fn start() -> bool {
    if let Err(why) = mlaan_host_cuda::install() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
        return false;
    }
    let mut context = null_mut();
    // SAFETY: places of our own for the answers.
    unsafe {
        ok(sys::cuInit(0)).unwrap();
        ok(sys::cuDevicePrimaryCtxRetain(&raw mut context, 0)).unwrap();
        ok(sys::cuCtxSetCurrent(context)).unwrap();
    }
    true
}

/// The image of a source, or the compiler's words.
pub fn compile(source: &str) -> Result<Vec<u8>, String> {
    let text = CString::new(source).unwrap();
    let mut program = null_mut();
    // SAFETY: terminated texts, and places of the sizes that were asked for.
    unsafe {
        assert_eq!(
            nvrtc::nvrtcCreateProgram(
                &raw mut program,
                text.as_ptr(),
                c"test.cu".as_ptr(),
                0,
                null(),
                null()
            ),
            nvrtc::nvrtcResult::NVRTC_SUCCESS
        );
        let compiled = nvrtc::nvrtcCompileProgram(program, 0, null());
        let (mut image, mut log) = (0, 0);
        nvrtc::nvrtcGetProgramLogSize(program, &raw mut log);
        let mut words = vec![0u8; log];
        nvrtc::nvrtcGetProgramLog(program, words.as_mut_ptr().cast());
        if compiled != nvrtc::nvrtcResult::NVRTC_SUCCESS {
            return Err(CStr::from_bytes_until_nul(&words).unwrap().to_string_lossy().into_owned());
        }
        nvrtc::nvrtcGetCUBINSize(program, &raw mut image);
        let mut bytes = vec![0u8; image];
        nvrtc::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast());
        Ok(bytes)
    }
}

/// The kernel `test` of a source.
#[derive(Clone, Copy)]
pub struct Kernel(pub sys::CUfunction);

impl Kernel {
    pub fn new(source: &str) -> Self {
        let (image, mut module, mut function) = (compile(source).unwrap(), null_mut(), null_mut());
        // SAFETY: an image of the compiler's, and places for the answers.
        unsafe {
            ok(sys::cuModuleLoadData(&raw mut module, image.as_ptr().cast())).unwrap();
            ok(sys::cuModuleGetFunction(&raw mut function, module, c"test".as_ptr())).unwrap();
        }
        Kernel(function)
    }

    /// Launches it with one struct, `shared` bytes of shared memory and `threads` a block.
    pub fn launch<A>(
        &self,
        stream: &Stream,
        grid: [u32; 3],
        threads: u32,
        shared: u32,
        mut args: A,
    ) -> Result<(), CUresult> {
        let mut pointers = [(&raw mut args).cast::<c_void>()];
        // SAFETY: the argument is what the kernel takes; it is copied before the call returns.
        unsafe {
            let [x, y, z] = grid;
            ok(sys::cuLaunchKernel(
                self.0,
                x,
                y,
                z,
                threads,
                1,
                1,
                shared,
                stream.0,
                pointers.as_mut_ptr(),
                null_mut(),
            ))
        }
    }
}

pub struct Stream(pub sys::CUstream);

impl Stream {
    pub fn new() -> Self {
        let mut stream = null_mut();
        // SAFETY: a place for the answer.
        ok(unsafe { sys::cuStreamCreate(&raw mut stream, 1) }).unwrap();
        Stream(stream)
    }

    pub fn synchronize(&self) -> Result<(), CUresult> {
        // SAFETY: a live stream.
        ok(unsafe { sys::cuStreamSynchronize(self.0) })
    }
}

/// Streams are known by their numbers among those that there are.
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once. A device that failed says so here again, which nobody wants to know.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.0);
            let _ = sys::cuStreamDestroy_v2(self.0);
        }
    }
}

/// Numbers on the device.
pub struct Numbers {
    pub address: u64,
    count: usize,
}

impl Numbers {
    pub fn new(count: usize) -> Self {
        Numbers { address: allocate(count * 4).unwrap(), count }
    }

    pub fn read(&self, stream: &Stream) -> Vec<u32> {
        let mut values = vec![0u32; self.count];
        // SAFETY: as many bytes on both sides; the stream has done it when the next call returns.
        ok(unsafe {
            sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), self.address, self.count * 4, stream.0)
        })
        .unwrap();
        stream.synchronize().unwrap();
        values
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        free(self.address);
    }
}

pub fn allocate(bytes: usize) -> Result<u64, CUresult> {
    let mut address = 0;
    // SAFETY: a place for the answer.
    ok(unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) }).map(|()| address)
}

pub fn free(address: u64) {
    // SAFETY: from `allocate`, freed once.
    ok(unsafe { sys::cuMemFree_v2(address) }).unwrap();
}
