//! What there is of CUDA on this machine, and what is missing.

use super::context;

pub use super::cache::Kept;
pub use super::context::LEAST_CAPABILITY;
pub use super::deferred::watch as watch_compilation;

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

/// Looks.
pub fn find() -> Found {
    Found { gpus: gpus(), compiler: compiler(), cache: super::cache::kept() }
}

/// Whether there is a GPU here that the driver knows.
pub fn is_here() -> bool {
    context::count().is_ok_and(|gpus| gpus > 0)
}

fn gpus() -> Result<Vec<Gpu>, String> {
    let gpu = |ordinal: usize| {
        let (_, p) = context::properties(ordinal)?;
        let (name, capability) = (p.name, p.capability);
        Ok(Gpu { ordinal, name, capability, multiprocessors: p.multiprocessors, memory: p.memory })
    };
    (0..context::count()?).map(gpu).collect()
}

fn compiler() -> Result<(u32, u32), String> {
    super::nvrtc::load()?;
    super::nvrtc::version()
}
