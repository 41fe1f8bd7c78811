//! What launches would ask of a GPU, as the driver counts it when `MLAAN_HOST_CUDA_COUNT` names a file.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names the file, to which each launch adds a line of JSON. It must be set when kernels are compiled.
pub const VARIABLE: &str = "MLAAN_HOST_CUDA_COUNT";

/// Accesses of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Accesses {
    /// Instructions of warps.
    pub instructions: u64,
    /// Lanes that took part, of 32 an instruction.
    pub lanes: u64,
    /// Sectors of 32 bytes of global memory, or wavefronts of shared memory: rows of 32 banks of 4 bytes.
    pub units: u64,
    /// As many of them as would hold each instruction's bytes.
    pub least: u64,
    /// Global memory: as many sectors as would hold all bytes of the launch, each once.
    #[serde(default)]
    pub launch_least: u64,
}

impl Accesses {
    /// How many times the least its instructions take; 1 where there are none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn of_least(&self) -> f64 {
        if self.least == 0 { 1.0 } else { self.units as f64 / self.least as f64 }
    }
}

/// One launch.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: String,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared: u32,
    /// The library with its code.
    pub library: PathBuf,
    /// Barriers that blocks passed.
    pub barriers: u64,
    /// Basic blocks that warps ran, as the host's compiler makes them.
    pub steps: u64,
    /// Loads from global memory, asynchronous copies among them.
    pub global_load: Accesses,
    /// Stores to global memory.
    pub global_store: Accesses,
    /// Loads from shared memory.
    pub shared_load: Accesses,
    /// Stores to shared memory, asynchronous copies among them.
    pub shared_store: Accesses,
    /// How often a warp's lanes showed each other values, by their bytes: 24 are a product of tensor cores, 8 a read of matrices.
    pub exchanges: BTreeMap<u32, u64>,
}

impl Launch {
    /// Accesses of global memory.
    #[must_use]
    pub fn global(&self) -> Accesses {
        sum(self.global_load, self.global_store)
    }

    /// Accesses of shared memory.
    #[must_use]
    pub fn shared_memory(&self) -> Accesses {
        sum(self.shared_load, self.shared_store)
    }
}

fn sum(a: Accesses, b: Accesses) -> Accesses {
    Accesses {
        instructions: a.instructions + b.instructions,
        lanes: a.lanes + b.lanes,
        units: a.units + b.units,
        least: a.least + b.least,
        launch_least: a.launch_least + b.launch_least,
    }
}

/// The launches of a file; what else programs write there is left out.
///
/// # Errors
/// What cannot be read.
pub fn read(file: &Path) -> Result<Vec<Launch>, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    text.lines()
        .map(|l| serde_json::from_str(l).map_err(|e| format!("{}: {e}: {l}", file.display())))
        .collect()
}

/// Runs an ignored test of the running test program in a process of its own; what it launches. The variables are set for it.
///
/// # Errors
/// What the test says when it fails.
pub fn of_test(test: &str, variables: &[(&str, &str)]) -> Result<Vec<Launch>, String> {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{}-{run}.counts", test.replace(':', "-"), std::process::id());
    let file = crate::folder()?.join(name);
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(this);
    command
        .args(["--exact", test, "--nocapture", "--ignored"])
        .env(VARIABLE, &file)
        .envs(variables.iter().copied());
    let out = command.output().map_err(|e| e.to_string())?;
    let launches = read(&file);
    let _ = std::fs::remove_file(&file);
    let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return Err(format!("{test}: {said}"));
    }
    launches.map_err(|e| format!("{e}; {test} said: {said}"))
}
