//! A folder where the system keeps users' folders apart by other means than owners and modes.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        fs::create_dir_all(path).map_err(|e| format!("it cannot be made: {e}"))?;
        Ok(Folder(path.to_owned()))
    }

    pub(super) fn read_secret(&self, name: &str, bytes: u64) -> Result<Option<Vec<u8>>, String> {
        Ok(self.read(name, bytes))
    }

    pub(super) fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let path = self.0.join(name);
        fs::symlink_metadata(&path).ok().filter(|m| m.is_file() && m.len() <= most)?;
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let own = self.0.join(format!("{name}.{}", std::process::id()));
        fs::write(&own, bytes).and_then(|()| fs::rename(&own, self.0.join(name))).map_err(|e| {
            let _ = fs::remove_file(&own);
            format!("nothing can be written there: {e}")
        })
    }
}
