//! Kernels from their sources: compiled by NVRTC for the device at hand when they are first used.

use super::cache;
use cudarc::nvrtc::sys::{self, nvrtcResult};
use std::ffi::{CStr, CString, c_char};

/// A kernel, and the bytes of the one value that it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) bytes: usize,
}

/// A kernel that takes a `T`.
pub(super) const fn entry<T>(name: &'static str) -> Entry {
    Entry { name, bytes: size_of::<T>() }
}

/// A source file with what is defined for it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) defines: &'static [(&'static str, u32)],
    pub(super) entries: &'static [Entry],
    /// The most dynamic shared memory that a launch of it takes.
    pub(super) shared: u32,
}

/// What sources include.
const HEADERS: [(&str, &str); 11] = [
    ("common.cuh", include_str!("kernels/common.cuh")),
    ("channels.cuh", include_str!("kernels/channels.cuh")),
    ("outgoing.cuh", include_str!("kernels/outgoing.cuh")),
    ("halo.cuh", include_str!("kernels/halo.cuh")),
    ("tensor_core.cuh", include_str!("kernels/tensor_core.cuh")),
    ("async.cuh", include_str!("kernels/specialised/async.cuh")),
    ("values.cuh", include_str!("kernels/specialised/values.cuh")),
    ("loading.cuh", include_str!("kernels/specialised/loading.cuh")),
    ("geometry.cuh", include_str!("kernels/specialised/geometry.cuh")),
    ("convolution_args.cuh", include_str!("kernels/specialised/convolution_args.cuh")),
    ("convolution_results.cuh", include_str!("kernels/specialised/convolution_results.cuh")),
];

/// What NVRTC makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Machine code for one architecture.
    Binary,
    /// Intermediate code, which the driver translates.
    Intermediate,
}

impl Program {
    /// Code for a compute capability, from the cache where it was made before. Where the compiler is older than the
    /// GPU it is intermediate code for the newest that the compiler knows.
    ///
    /// # Errors
    /// Why there is no compiler, or what it said.
    pub(super) fn compile(&self, capability: (u32, u32)) -> Result<Vec<u8>, String> {
        super::nvrtc::load()?;
        let (architecture, form) = target(capability, &architectures()?)?;
        let key = (super::nvrtc::version()?, &architecture, self.source, HEADERS, self.defines);
        let name = cache::name(self.name, &key);
        let cache = cache::opened().filter(|_| form == Form::Binary);
        if let Some(code) = cache.and_then(|c| c.get(&name)) {
            return Ok(code);
        }
        let code = self.make(&architecture, form)?;
        if let Some(cache) = cache {
            cache.put(&name, &code);
        }
        Ok(code)
    }

    fn make(&self, architecture: &str, form: Form) -> Result<Vec<u8>, String> {
        self.compiled(architecture)?.image(form)
    }

    /// Compiled for an architecture; for a real one (`sm_90`) it has both forms.
    fn compiled(&self, architecture: &str) -> Result<Compilation, String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let mut options = vec![text(&format!("--gpu-architecture={architecture}"))?, text("--std=c++17")?];
        for (key, value) in self.defines {
            options.push(text(&format!("-D{key}={value}"))?);
        }
        let compiled = Compilation::new(self)?;
        compiled.run(&options).map_err(|e| format!("{} for {architecture}: {e}", self.name))?;
        Ok(compiled)
    }
}

/// The architectures that NVRTC knows, as ten times the major number plus the minor.
fn architectures() -> Result<Vec<i32>, String> {
    let mut count = 0;
    // SAFETY: a place for the count, then as many as it says.
    unsafe {
        ok("nvrtcGetNumSupportedArchs", sys::nvrtcGetNumSupportedArchs(&raw mut count))?;
        let mut all = vec![0; usize::try_from(count).unwrap_or(0)];
        ok("nvrtcGetSupportedArchs", sys::nvrtcGetSupportedArchs(all.as_mut_ptr()))?;
        Ok(all)
    }
}

/// What to compile for, of the architectures that NVRTC knows.
fn target((major, minor): (u32, u32), known: &[i32]) -> Result<(String, Form), String> {
    let number = |k: &i32| u32::try_from(*k).unwrap_or(0);
    let wanted = 10 * major + minor;
    let best = known.iter().map(number).filter(|k| *k <= wanted).max();
    match best.ok_or_else(|| format!("NVRTC knows no GPU of compute capability {major}.{minor} or less"))? {
        best if best == wanted => Ok((format!("sm_{wanted}"), Form::Binary)),
        best => Ok((format!("compute_{best}"), Form::Intermediate)),
    }
}

/// A program of NVRTC's.
struct Compilation(sys::nvrtcProgram);

impl Drop for Compilation {
    fn drop(&mut self) {
        // SAFETY: made in `new`, destroyed once.
        let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

fn ok(call: &str, result: nvrtcResult) -> Result<(), String> {
    if result == nvrtcResult::NVRTC_SUCCESS { Ok(()) } else { Err(format!("{call}: {result:?}")) }
}

impl Compilation {
    fn new(program: &Program) -> Result<Self, String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let (source, name) = (text(program.source)?, text(program.name)?);
        let contents = HEADERS.iter().map(|h| text(h.1)).collect::<Result<Vec<_>, _>>()?;
        let names = HEADERS.iter().map(|h| text(h.0)).collect::<Result<Vec<_>, _>>()?;
        let pointers = |all: &[CString]| all.iter().map(|t| t.as_ptr()).collect::<Vec<*const c_char>>();
        let (contents, names) = (pointers(&contents), pointers(&names));
        let mut made: sys::nvrtcProgram = std::ptr::null_mut();
        let (source, name) = (source.as_ptr(), name.as_ptr());
        // SAFETY: terminated texts that outlive the call, which copies them; as many as said.
        let result = unsafe {
            let n = HEADERS.len() as i32;
            sys::nvrtcCreateProgram(&raw mut made, source, name, n, contents.as_ptr(), names.as_ptr())
        };
        ok("nvrtcCreateProgram", result)?;
        Ok(Compilation(made))
    }

    fn run(&self, options: &[CString]) -> Result<(), String> {
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        // SAFETY: as many terminated options as said.
        let result = unsafe { sys::nvrtcCompileProgram(self.0, pointers.len() as i32, pointers.as_ptr()) };
        ok("nvrtcCompileProgram", result).map_err(|e| format!("{e}\n{}", self.log()))
    }

    fn log(&self) -> String {
        let mut size = 0usize;
        // SAFETY: a place for the size, then as many bytes as it says.
        unsafe {
            if sys::nvrtcGetProgramLogSize(self.0, &raw mut size) != nvrtcResult::NVRTC_SUCCESS {
                return String::new();
            }
            let mut log = vec![0u8; size + 1];
            let _ = sys::nvrtcGetProgramLog(self.0, log.as_mut_ptr().cast());
            CStr::from_bytes_until_nul(&log).map(|l| l.to_string_lossy().into_owned()).unwrap_or_default()
        }
    }

    fn image(&self, form: Form) -> Result<Vec<u8>, String> {
        let mut size = 0usize;
        // SAFETY: a place for the size, then as many bytes as it says.
        unsafe {
            match form {
                Form::Binary => ok("nvrtcGetCUBINSize", sys::nvrtcGetCUBINSize(self.0, &raw mut size))?,
                Form::Intermediate => ok("nvrtcGetPTXSize", sys::nvrtcGetPTXSize(self.0, &raw mut size))?,
            }
            let mut image = vec![0u8; size];
            let to = image.as_mut_ptr().cast();
            match form {
                Form::Binary => ok("nvrtcGetCUBIN", sys::nvrtcGetCUBIN(self.0, to))?,
                Form::Intermediate => ok("nvrtcGetPTX", sys::nvrtcGetPTX(self.0, to))?,
            }
            Ok(image)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Bytes of the parameter of a kernel, as its intermediate code declares it.
    fn parameter(code: &str, kernel: &str) -> Option<usize> {
        let declared = code.split_once(&format!(".b8 {kernel}_param_0["))?.1;
        declared.split_once(']')?.0.parse().ok()
    }

    #[test]
    fn compilers_older_than_the_gpu_make_what_its_driver_translates() {
        let known = [75, 80, 90, 86];
        assert_eq!(target((9, 0), &known), Ok(("sm_90".into(), Form::Binary)));
        assert_eq!(target((8, 9), &known), Ok(("compute_86".into(), Form::Intermediate)));
        assert_eq!(target((12, 0), &known), Ok(("compute_90".into(), Form::Intermediate)));
        assert!(target((7, 0), &known).is_err_and(|e| e.contains("7.0")));
    }

    /// Intermediate code takes what it is given, and there is machine code too: what runs, and what a GPU has registers
    /// and shared memory for.
    fn check(program: &Program, architecture: &str) {
        let compiled = program.compiled(architecture).unwrap();
        let code = compiled.image(Form::Intermediate).unwrap();
        let code = String::from_utf8_lossy(&code);
        for entry in program.entries {
            assert!(code.contains(&format!(".entry {}(", entry.name)), "{} in {program:?}", entry.name);
            let bytes = parameter(&code, entry.name);
            assert_eq!(bytes, Some(entry.bytes), "{} of {}", entry.name, program.name);
        }
        assert!(!compiled.image(Form::Binary).unwrap().is_empty());
    }

    #[test]
    fn every_kernel_compiles_for_gpus_and_takes_what_it_is_given() {
        if let Err(missing) = super::super::nvrtc::load() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: kernels were not compiled for a GPU: {missing}");
            return;
        }
        let (all, next) = (super::super::programs(), AtomicUsize::new(0));
        // No source depends on the architecture, so what compiles for 8.0 compiles for 9.0.
        let mut sources = all.iter().map(|p| p.source).chain(HEADERS.map(|(_, text)| text));
        assert!(sources.all(|source| !source.contains("__CUDA_ARCH__")));
        let architectures = if mlaan_host_cuda::thorough() { &["sm_80", "sm_90"][..] } else { &["sm_80"] };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                scope.spawn(|| {
                    while let Some(program) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        architectures.iter().for_each(|architecture| check(program, architecture));
                    }
                });
            }
        });
        // What an older compiler makes for a newer GPU has no machine code.
        assert!(!all[0].make("compute_90", Form::Intermediate).unwrap().is_empty());
    }
}
