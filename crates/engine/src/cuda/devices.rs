//! What there is of CUDA on this machine, and what is missing.

use std::path::PathBuf;

pub use super::deferred::watch as watch_compilation;

/// The compute capability that kernels need at the least: Ampere's, the first with tensor cores for bf16.
pub const LEAST_CAPABILITY: (u32, u32) = (8, 0);

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// What `--device cuda:N` calls it.
    pub ordinal: usize,
    /// The vendor's name.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub memory: usize,
}

impl Gpu {
    /// Whether it is new enough.
    pub fn is_usable(&self) -> bool {
        self.capability >= LEAST_CAPABILITY
    }
}

/// What there is of CUDA.
#[derive(Clone, Debug)]
pub struct Found {
    /// The GPUs, or why there are none.
    pub gpus: Result<Vec<Gpu>, String>,
    /// The compiler's version, or what is missing and how to get it.
    pub compiler: Result<(u32, u32), String>,
    /// Compiled kernels that are kept; nothing where none are.
    pub cache: Option<Kept>,
}

/// Compiled kernels from one run to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where they lie.
    pub folder: PathBuf,
    /// Programs, each with one kernel or a few.
    pub programs: usize,
    /// Bytes of all.
    pub bytes: u64,
}

/// Looks.
pub fn find() -> Found {
    Found { gpus: gpus(), compiler: compiler(), cache: super::cache::kept() }
}

fn gpus() -> Result<Vec<Gpu>, String> {
    let gpu = |ordinal: usize| {
        let (_, p) = super::driver::properties(ordinal)?;
        let (name, capability) = (p.name, p.capability);
        Ok(Gpu { ordinal, name, capability, multiprocessors: p.multiprocessors, memory: p.memory })
    };
    (0..super::driver::count()?).map(gpu).collect()
}

fn compiler() -> Result<(u32, u32), String> {
    super::nvrtc::load()?;
    super::nvrtc::version()
}
