//! Machine code kept from one run to the next: compiling every kernel takes longer than many a benchmark.
//!
//! A file holds a checksum and the code. What is missing, damaged or cannot be written is compiled anew.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The variable that names the folder; empty for none. Default: `mlaan` in the user's cache folder.
const VARIABLE: &str = "MLAAN_KERNEL_CACHE";

/// How machine code for GPUs begins, as other object files do.
const MAGIC: &[u8] = b"\x7fELF";

const CHECKSUM: usize = size_of::<u64>();

/// Code of a program is less than a megabyte.
const LARGEST: u64 = 1 << 28;

/// Where code lies, if anywhere.
pub(super) fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    let named = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|h| h.join(".cache")));
    caches.or_else(|| named("LOCALAPPDATA")).map(|c| c.join("mlaan"))
}

/// A name for what `key` decides; this version of the program is always part of it.
pub(super) fn name(program: &str, key: &impl Hash) -> String {
    format!("{program}-{:016x}.cubin", hash(&(env!("CARGO_PKG_VERSION"), key)))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The code of this name.
pub(super) fn get(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let path = folder.join(name);
    // Nothing else is opened: a FIFO would wait for its writer.
    fs::metadata(&path).ok().filter(|about| about.is_file() && about.len() <= LARGEST)?;
    let mut file = fs::read(path).ok()?;
    let code = file.split_off(CHECKSUM.min(file.len()));
    (file == hash(&code.as_slice()).to_le_bytes() && code.starts_with(MAGIC)).then_some(code)
}

/// Keeps code, in one step, as several processes may do so. What is no machine code is not kept.
pub(super) fn put(folder: &Path, name: &str, code: &[u8]) {
    if !code.starts_with(MAGIC) {
        return;
    }
    let own = folder.join(format!("{name}.{}", std::process::id()));
    let file = [&hash(&code).to_le_bytes(), code].concat();
    let written = fs::create_dir_all(folder).and_then(|()| {
        // What a killed process of this number left. A new file never follows a link that someone put there.
        let _ = fs::remove_file(&own);
        File::create_new(&own)?.write_all(&file)
    });
    if written.and_then(|()| fs::rename(&own, folder.join(name))).is_err() {
        let _ = fs::remove_file(&own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_machine_code_is_found_again() {
        let folder = std::env::temp_dir().join(format!("mlaan-kernels-{}", std::process::id()));
        let name = name("add.cu", &("source", 90));
        assert_ne!(name, super::name("add.cu", &("source", 80)));
        let code = [MAGIC, b"and more"].concat();
        assert_eq!(get(&folder, &name), None);
        put(&folder, &name, b"/a/path");
        assert_eq!(get(&folder, &name), None);
        put(&folder, &name, &code);
        assert_eq!(get(&folder, &name), Some(code));
        let path = folder.join(&name);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..3], &[]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(get(&folder, &name), None);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
