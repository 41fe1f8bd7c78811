//! One process per folder.

use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The file whose lock means that a process works in its folder.
pub const LOCK: &str = ".lock";

/// A folder that this process holds, until this value goes or the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held open")] File);

impl Lock {
    /// Holds `folder`, which must exist.
    ///
    /// # Errors
    /// Another process holds it, or its lock cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let opened = crate::files::open_own(&path, OpenOptions::new().create(true).append(true));
        let file = opened.map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                let message = "another process trains in this folder; wait for it, or pass another --out";
                Err(Error::data(folder.display().to_string(), message))
            }
            Err(TryLockError::Error(e)) => Err(Error::io(&path)(e)),
        }
    }
}
