//! Where NVRTC, CUDA's run-time compiler, lies: on the library path, in a toolkit, or in a Python environment.

use cudarc::nvrtc::sys;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The variable that names the library, when it is in no usual place.
pub(super) const VARIABLE: &str = "MLAAN_NVRTC";

/// How to get it.
pub(super) const REMEDY: &str = "install the CUDA toolkit (12 or later), or `pip install nvidia-cuda-nvrtc` and \
    set MLAAN_NVRTC to its libnvrtc.so.*";

/// Finds and loads NVRTC, once.
pub(super) fn load() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(find).clone()
}

fn find() -> Result<(), String> {
    if let Some(path) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        if !keep(&path) {
            return Err(format!("{VARIABLE} names {}, which cannot be loaded", path.display()));
        }
    }
    // SAFETY: loading NVIDIA's library runs its initialisers, which are harmless.
    let present = || unsafe { sys::is_culib_present() };
    if present() || (candidates().iter().any(|p| keep(p)) && present()) {
        return Ok(());
    }
    Err(format!("NVRTC (libnvrtc), which compiles the kernels, was not found: {REMEDY}"))
}

/// Loads a library for good: the one that is looked up by name later is then this one.
fn keep(path: &Path) -> bool {
    // SAFETY: as above.
    match unsafe { libloading::Library::new(path) } {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

/// Libraries in toolkits and Python environments, the best places first.
fn candidates() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let mut folders: Vec<PathBuf> = Vec::new();
    for root in ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(|v| variable(v))
        .chain([PathBuf::from("/usr/local/cuda")])
    {
        folders.extend([root.join("lib64"), root.join("lib")]);
    }
    for environment in ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|v| variable(v)) {
        let python = children(&environment.join("lib")).into_iter().filter(|p| named(p, "python"));
        for packages in python.map(|p| p.join("site-packages/nvidia")) {
            folders.extend(children(&packages).into_iter().map(|p| p.join("lib")));
        }
    }
    let libraries = folders.iter().flat_map(|f| children(f)).filter(|p| named(p, "libnvrtc.so"));
    libraries.collect()
}

fn named(path: &Path, prefix: &str) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix))
}

/// What a folder holds, in order; nothing where it cannot be read.
fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

/// Its major and minor version; it must be loaded.
pub(super) fn version() -> Result<(u32, u32), String> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: places for two numbers.
    match unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) } {
        sys::nvrtcResult::NVRTC_SUCCESS => Ok((major.unsigned_abs(), minor.unsigned_abs())),
        failed => Err(format!("nvrtcVersion: {failed:?}")),
    }
}
