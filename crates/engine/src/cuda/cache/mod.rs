//! Machine code kept from one run to the next: compiling every kernel takes longer than many a benchmark.
//!
//! What lies here runs on the GPU with this process's memory, so it must be this user's own: the folder and all in it belong
//! to the user and nobody else may write there, links are not followed, and a file holds a keyed checksum (HMAC-SHA-256) of
//! its name and code beside the code, whose key is in the folder and readable to the user alone. What is missing, damaged or
//! another's is compiled anew; a folder that is not safe is not used at all.

#[cfg(not(unix))]
mod plain;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
use plain::Folder;
#[cfg(unix)]
use unix::Folder;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The variable that names the folder; empty for none. Default: `mlaan` in the user's cache folder.
const VARIABLE: &str = "MLAAN_KERNEL_CACHE";

/// How machine code for GPUs begins, as other object files do.
const MAGIC: &[u8] = b"\x7fELF";
/// The ending of a file of code.
const EXTENSION: &str = "cubin";
/// The file of the key.
const KEY: &str = "key";
const KEY_BYTES: usize = 32;
const CHECKSUM: usize = 32;
/// All kernels of a source take a hundredth of it.
const LARGEST: u64 = 64 << 20;

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

/// A folder of code, and the key of its checksums.
pub(super) struct Cache {
    folder: Folder,
    key: [u8; KEY_BYTES],
}

/// The cache of this process, opened when it is first asked for.
fn cache() -> &'static Result<Option<Cache>, String> {
    static OPENED: OnceLock<Result<Option<Cache>, String>> = OnceLock::new();
    OPENED.get_or_init(|| {
        let Some(folder) = folder() else { return Ok(None) };
        Cache::open(&folder).map(Some).map_err(|why| {
            format!(
                "compiled kernels are not kept: {}: {why}; {VARIABLE} names another folder, or none if it is empty",
                folder.display()
            )
        })
    })
}

/// Where code is kept, if anywhere.
pub(super) fn opened() -> Option<&'static Cache> {
    cache().as_ref().ok()?.as_ref()
}

/// Why no code is kept although it could be.
pub(super) fn warning() -> Option<&'static str> {
    cache().as_ref().err().map(String::as_str)
}

/// What is kept, without making a folder that is not there.
pub(super) fn kept() -> Option<Kept> {
    let folder = folder()?;
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let sizes = entries.filter(|e| e.path().extension().is_some_and(|x| x == EXTENSION));
    let sizes: Vec<u64> = sizes.filter_map(|e| Some(e.metadata().ok()?.len())).collect();
    Some(Kept { folder, programs: sizes.len(), bytes: sizes.iter().sum() })
}

/// Where code lies, if anywhere.
fn folder() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    let named = |variable: &str| std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|h| h.join(".cache")));
    caches.or_else(|| named("LOCALAPPDATA")).map(|c| c.join("mlaan"))
}

/// A name for what `key` decides; this version of the program is always part of it.
pub(super) fn name(program: &str, key: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), key).hash(&mut hasher);
    format!("{program}-{:016x}.{EXTENSION}", hasher.finish())
}

impl Cache {
    /// The cache in a folder, which is made if need be.
    ///
    /// # Errors
    /// Why it cannot be used: somebody else's, or open to others, or not to be written.
    fn open(path: &Path) -> Result<Self, String> {
        let folder = Folder::open(path)?;
        let known = |folder: &Folder| -> Result<Option<[u8; KEY_BYTES]>, String> {
            Ok(folder.read_secret(KEY, KEY_BYTES as u64)?.and_then(|k| k.try_into().ok()))
        };
        if let Some(key) = known(&folder)? {
            return Ok(Cache { folder, key });
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|e| format!("no random numbers for a key: {e}"))?;
        folder.write(KEY, &key)?;
        // Of several processes that begin together the last one's holds.
        let key = known(&folder)?.unwrap_or(key);
        Ok(Cache { folder, key })
    }

    fn mac(&self, name: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(name.as_bytes());
        mac.update(&[0]);
        mac.update(code);
        Some(mac)
    }

    /// The code of this name.
    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let mut file = self.folder.read(name, LARGEST)?;
        let code = file.split_off(CHECKSUM.min(file.len()));
        let known = self.mac(name, &code)?.verify_slice(&file).is_ok();
        (known && code.starts_with(MAGIC)).then_some(code)
    }

    /// Keeps code, in one step, as several processes may do so. What is no machine code is not kept; what cannot be kept is
    /// compiled again.
    pub(super) fn put(&self, name: &str, code: &[u8]) {
        if let Some(mac) = self.mac(name, code).filter(|_| code.starts_with(MAGIC)) {
            let _ = self.folder.write(name, &[&mac.finalize().into_bytes()[..], code].concat());
        }
    }
}

#[cfg(test)]
mod tests;
