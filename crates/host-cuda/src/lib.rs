//! A CUDA driver and compiler that run kernels on the processor: for tests of kernels, and of everything that launches
//! them, on machines without a GPU.
//!
//! Two libraries are made with the system's C++ compiler: `libcuda.so` and `libnvrtc.so`. Whoever looks for CUDA by
//! these names finds them, in this process after [`install`], in another with [`folder`] on its library path. Kernel
//! sources are compiled by the same compiler, and run with threads as fibers (`host.h`).

pub mod counts;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the libraries are made of, and what kernels are compiled with.
const FILES: [(&str, &str); 6] = [
    ("host.h", include_str!("host.h")),
    ("count.h", include_str!("count.h")),
    ("count.cpp", include_str!("count.cpp")),
    ("driver.h", include_str!("driver.h")),
    ("driver.cpp", include_str!("driver.cpp")),
    ("nvrtc.cpp", include_str!("nvrtc.cpp")),
];

/// What tests of CUDA run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The driver of this crate, which is then installed.
    Host,
    /// The machine's own GPU.
    Gpu,
}

/// What tests of CUDA shall run on, or nothing, which is said. The variable `MLAAN_TEST_CUDA` decides: `real` is for
/// the machine's own GPU and `host` for this crate's driver, which must then be there; `off` is for nothing. Without it
/// tests run on this crate's driver where that can be made.
///
/// # Panics
/// When what must be there is not, or the variable says something else.
#[allow(clippy::panic, reason = "it is for tests, which must fail where what was asked for is not there")]
pub fn tests_on() -> Option<On> {
    let asked = std::env::var("MLAAN_TEST_CUDA").ok();
    let why = match asked.as_deref() {
        Some("real") => return Some(On::Gpu),
        Some("off") => "MLAAN_TEST_CUDA is off".into(),
        Some("host") | None => match install() {
            Ok(()) => return Some(On::Host),
            Err(why) if asked.is_none() => why,
            Err(why) => panic!("MLAAN_TEST_CUDA is host, but: {why}"),
        },
        Some(other) => panic!("MLAAN_TEST_CUDA is {other:?}; it can be `real`, `host` or `off`"),
    };
    // Not `eprintln!`, which test programs keep to themselves.
    let _ = writeln!(std::io::stderr(), "SKIPPED on CUDA: {why}");
    None
}

/// Whether tests shall run all their cases on what [`tests_on`] says. This crate's driver is slow: where nobody asked for it
/// by name (`MLAAN_TEST_CUDA=host`), long sweeps run a part of them there. So do a few long sweeps on the processor.
#[must_use]
pub fn thorough() -> bool {
    std::env::var("MLAAN_TEST_CUDA").is_ok()
}

/// The variable that chooses between the sets of kernels when a device is opened.
const KERNELS: &str = "MLAAN_CUDA_KERNELS";

/// Runs `test` of the running test program in a process that has chosen the new kernels; there it is true. False too where
/// tests have nothing to run on.
///
/// # Panics
/// When the test fails there.
#[allow(clippy::panic, reason = "it is for tests")]
pub fn with_new_kernels(test: &str) -> bool {
    if tests_on().is_none() {
        return false;
    }
    if std::env::var(KERNELS).as_deref() == Ok("new") {
        return true;
    }
    let this = std::env::current_exe().map(Command::new);
    let status = this.and_then(|mut c| c.args(["--exact", test, "--nocapture"]).env(KERNELS, "new").status());
    match status {
        Ok(status) if status.success() => false,
        Ok(status) => panic!("{test} with {KERNELS}=new: {status}"),
        Err(why) => panic!("{test} with {KERNELS}=new: {why}"),
    }
}

/// The folder that holds `libcuda.so` and `libnvrtc.so`, made if need be.
///
/// # Errors
/// What is missing: a C++ compiler, or a place to write to.
pub fn folder() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(make).clone()
}

/// Loads both libraries into this process for good: whoever loads them by name from now on gets these.
///
/// # Errors
/// As [`folder`].
pub fn install() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(load).clone()
}

/// Calls of the driver in this process so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Copies to the host.
    pub downloads: u64,
    /// Waits for a stream.
    pub waits: u64,
    /// Copies from or to host memory that is not pinned: a GPU's driver may wait for the stream in each.
    pub pageable: u64,
    /// Waits for an event that was not reached.
    pub event_waits: u64,
    /// Memory of a device that was given back while the device had something to do; only a late stream has (`MLAAN_HOST_CUDA_LATE=1`).
    pub early_frees: u64,
    /// Graphs that were built.
    pub graphs: u64,
}

impl Calls {
    /// Those since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Calls {
            downloads: self.downloads - earlier.downloads,
            waits: self.waits - earlier.waits,
            pageable: self.pageable - earlier.pageable,
            event_waits: self.event_waits - earlier.event_waits,
            early_frees: self.early_frees - earlier.early_frees,
            graphs: self.graphs - earlier.graphs,
        }
    }
}

/// What the installed driver was called for so far, by all threads of this process.
///
/// # Errors
/// As [`install`].
pub fn calls() -> Result<Calls, String> {
    install()?;
    let path = folder()?.join("libcuda.so");
    // SAFETY: loaded already, for good; the function takes a number and gives one.
    unsafe {
        let library = libloading::Library::new(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let count = library
            .get::<unsafe extern "C" fn(i32) -> u64>(b"host_cuda_calls\0")
            .map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Calls {
            downloads: count(0),
            waits: count(1),
            pageable: count(2),
            event_waits: count(3),
            early_frees: count(4),
            graphs: count(5),
        })
    }
}

/// Streams that are made from now on do what they are asked for beside the processor, and beside each other in an order that is
/// drawn from a seed, of all orders that their events allow; nothing: they do it at once. `leaving_out`: of every device the
/// stream of the first number (0 is made first) does not wait for events of the second, as if that had been forgotten.
///
/// # Errors
/// As [`install`].
pub fn shuffle_streams(seed: Option<u64>, leaving_out: Option<(i32, i32)>) -> Result<(), String> {
    install()?;
    let path = folder()?.join("libcuda.so");
    let (who, whom) = leaving_out.unwrap_or((-1, -1));
    // SAFETY: loaded already, for good; the function takes numbers.
    unsafe {
        let library = libloading::Library::new(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let shuffle = library
            .get::<unsafe extern "C" fn(i32, u64, i32, i32)>(b"host_cuda_shuffle\0")
            .map_err(|e| format!("{}: {e}", path.display()))?;
        shuffle(i32::from(seed.is_some()), seed.unwrap_or(0), who, whom);
    }
    Ok(())
}

fn load() -> Result<(), String> {
    for name in ["libcuda.so", "libnvrtc.so"] {
        let path = folder()?.join(name);
        // SAFETY: libraries of our own, which do nothing when loaded.
        let library =
            unsafe { libloading::Library::new(&path) }.map_err(|e| format!("{}: {e}", path.display()))?;
        std::mem::forget(library);
    }
    Ok(())
}

fn make() -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("CUDA on the host is written for Linux".into());
    }
    let compiler = compiler().ok_or("no C++ compiler was found (c++, g++ or clang++, or $CXX)")?;
    let mut hash = DefaultHasher::new();
    (FILES, &compiler, version(&compiler), processor()).hash(&mut hash);
    let folder = target().join(format!("{:016x}", hash.finish()));
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for (name, text) in FILES {
        put(&folder.join(name), text)?;
    }
    build(&compiler, &folder, "libcuda.so", &["driver.cpp", "count.cpp"])?;
    build(&compiler, &folder, "libnvrtc.so", &["nvrtc.cpp"])?;
    Ok(folder)
}

/// What this processor is: kernels are compiled for it alone.
fn processor() -> Vec<String> {
    let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let kept = |l: &&str| ["model name", "flags", "Features", "CPU part"].iter().any(|k| l.starts_with(k));
    told.lines().filter(kept).take(2).map(String::from).collect()
}

/// Beside the other build results.
fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(workspace, PathBuf::from).join("host-cuda")
}

fn compiler() -> Option<String> {
    let named = std::env::var("CXX").ok();
    let all = named.into_iter().chain(["c++", "g++", "clang++"].map(String::from));
    all.into_iter().find(|c| !version(c).is_empty())
}

/// What a compiler says of itself; nothing where there is none.
fn version(compiler: &str) -> Vec<u8> {
    Command::new(compiler).arg("--version").output().map(|o| o.stdout).unwrap_or_default()
}

/// Writes a file in one step, since several processes may do so.
fn put(path: &Path, text: &str) -> Result<(), String> {
    let own = path.with_extension(format!("{}.{:?}", std::process::id(), std::thread::current().id()));
    let written = fs::write(&own, text).and_then(|()| fs::rename(&own, path));
    written.map_err(|e| format!("{}: {e}", path.display()))
}

fn build(compiler: &str, folder: &Path, library: &str, sources: &[&str]) -> Result<(), String> {
    let path = folder.join(library);
    if path.exists() {
        return Ok(());
    }
    let own = folder.join(format!("{library}.{}", std::process::id()));
    let output = Command::new(compiler)
        .args(["-O2", "-std=c++17", "-shared", "-fPIC", "-pthread"])
        .arg(format!("-Wl,-soname,{library}"))
        .arg(format!("-DMLAAN_FOLDER=\"{}\"", folder.display()))
        .arg(format!("-DMLAAN_COMPILER=\"{compiler}\""))
        .args(sources.iter().map(|s| folder.join(s)))
        .arg("-o")
        .arg(&own)
        .arg("-ldl")
        .output()
        .map_err(|e| format!("{compiler}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{library} does not compile:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    fs::rename(&own, &path).map_err(|e| format!("{}: {e}", path.display()))
}
