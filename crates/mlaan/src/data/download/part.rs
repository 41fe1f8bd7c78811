//! A file on its way: `NAME.part`, and beside it what is known of where its bytes came from.
//!
//! Bytes are only ever appended, and the note is written before the first of them, so that a download may be
//! killed at any moment and goes on where it was.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{atomic, place};
use crate::{Error, Result, files};

/// Bytes read or written at a time.
pub(super) const BLOCK: usize = 1 << 17;

/// Where the bytes of a part came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Origin {
    /// The address of the last bytes.
    pub url: String,
    /// What the server calls that version of the file (an entity tag or a date), for `If-Range`.
    pub version: Option<String>,
    /// Answers that the part was put together from.
    pub answers: usize,
}

/// An unfinished file.
pub(super) struct Part {
    path: PathBuf,
    note: PathBuf,
    file: File,
    len: u64,
    received: u64,
    origin: Origin,
}

impl Part {
    /// Opens what an earlier run left for `target`, or an empty part.
    ///
    /// # Errors
    /// When it cannot be created, or another process is fetching the same file.
    pub fn open(target: &Path) -> Result<Self> {
        let (path, note) = (beside(target, ".part"), beside(target, ".part.json"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = files::open_own(&path, &mut options).map_err(Error::io(&path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let message = "another program is fetching this file: wait for it";
                return Err(Error::data(path.display().to_string(), message));
            }
            // A file system without locks: nothing guards against two then.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let len = file.metadata().map_err(Error::io(&path))?.len();
        // A note that cannot be read only means that the server is asked without a version.
        let origin =
            files::read(&note, files::SUMMARY).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Part { path, note, file, len, received: 0, origin: origin.unwrap_or_default() })
    }

    /// Bytes that are here.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that were ever appended, those dropped since included.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Where they came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// From now on bytes of this version at `url` are appended.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn resume_from(&mut self, url: &str, version: Option<String>) -> Result<()> {
        // Bytes that nothing is known of came in one answer at the least.
        let answers = if self.len == 0 { 1 } else { self.origin.answers.max(1) + 1 };
        self.origin = Origin { url: url.into(), version, answers };
        let text = serde_json::to_vec(&self.origin).map_err(|e| Error::data(url, e.to_string()))?;
        atomic::write(&self.note, |out| out.write_all(&text).map_err(Error::io(&self.note)))
    }

    /// Appends.
    ///
    /// # Errors
    /// When the file system is full or fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.seek(SeekFrom::Start(self.len)).and_then(|_| self.file.write_all(bytes));
        written.map_err(Error::io(&self.path))?;
        self.len += bytes.len() as u64;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Drops all bytes.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(Error::io(&self.path))?;
        (self.len, self.origin) = (0, Origin::default());
        Ok(())
    }

    /// The SHA-256 of all bytes; `each` hears how many are done.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sha256(&mut self, each: impl FnMut(u64)) -> Result<String> {
        self.file.seek(SeekFrom::Start(0)).map_err(Error::io(&self.path))?;
        sha256(&mut self.file, &self.path, each)
    }

    /// Becomes `target`, durably.
    ///
    /// # Errors
    /// When the file system fails; when the part was moved or replaced meanwhile.
    pub fn finish(self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.path))?;
        if !place::is_at(&self.file, &self.path) {
            let message =
                "this file was moved, removed or replaced while it was fetched: run the same command again";
            return Err(Error::data(self.path.display().to_string(), message));
        }
        fs::rename(&self.path, target).map_err(Error::io(target))?;
        // Left behind it would do no harm.
        let _ = fs::remove_file(&self.note);
        atomic::sync_folder(atomic::folder_of(target))
    }

    /// Removes the note that a kill left when the part had become `target`.
    pub fn forget(target: &Path) {
        if !beside(target, ".part").exists() {
            // It does no harm.
            let _ = fs::remove_file(beside(target, ".part.json"));
        }
    }

    /// Removes the part when there is nothing in it.
    pub fn leave(self) {
        if self.len == 0 {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// The SHA-256 of what is left to read of a file, in hexadecimal.
pub(super) fn sha256(file: &mut File, path: &Path, mut each: impl FnMut(u64)) -> Result<String> {
    let (mut hash, mut done, mut block) = (Sha256::new(), 0, vec![0; BLOCK]);
    loop {
        match file.read(&mut block).map_err(Error::io(path))? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => {
                hash.update(&block[..n]);
                done += n as u64;
                each(done);
            }
        }
    }
}

fn beside(target: &Path, end: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(end);
    target.with_file_name(name)
}
