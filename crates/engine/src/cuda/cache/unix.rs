//! A folder that is this user's own. It is opened once and looked at as it is open, and files are found from there, so
//! nothing can be put in its place meanwhile.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstat, mkdir, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

pub(super) struct Folder(OwnedFd);

/// What is opened is never a link, and never waited for.
const CAREFUL: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

impl Folder {
    /// Opens a folder, which is made for this user alone if need be.
    ///
    /// # Errors
    /// Why it is not safe, or cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        if let Some(above) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(above).map_err(|e| format!("it cannot be made: {e}"))?;
        }
        match mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(format!("it cannot be made: {e}")),
        }
        let opened = open(path, OFlags::RDONLY | OFlags::DIRECTORY | CAREFUL, Mode::empty());
        let folder = opened.map_err(|e| match e {
            Errno::LOOP | Errno::NOTDIR => "it is a link, or no folder".to_owned(),
            e => format!("it cannot be opened: {e}"),
        })?;
        let about = fstat(&folder).map_err(|e| e.to_string())?;
        owned(&about)?;
        if writable_by_others(&about) {
            return Err("others may write there (chmod 700 ends that)".into());
        }
        Ok(Folder(folder))
    }

    /// A file that nobody else may read; nothing where there is none, or one of another length.
    ///
    /// # Errors
    /// Where it is open to others, or not a file of this user's own.
    pub(super) fn read_secret(&self, name: &str, bytes: u64) -> Result<Option<Vec<u8>>, String> {
        let file = match openat(&self.0, name, OFlags::RDONLY | CAREFUL, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(format!("{name} in it is a link")),
            Err(e) => return Err(format!("{name} in it cannot be read: {e}")),
        };
        let about = fstat(&file).map_err(|e| e.to_string())?;
        owned(&about).map_err(|why| format!("{name} in it: {why}"))?;
        if mode(&about).intersects(Mode::RWXG | Mode::RWXO) || !is_file(&about) {
            return Err(format!("{name} in it is open to others (delete it, and a new one is made)"));
        }
        if u64::try_from(about.st_size) != Ok(bytes) {
            return Ok(None);
        }
        let mut read = Vec::new();
        File::from(file).take(bytes).read_to_end(&mut read).map_err(|e| e.to_string())?;
        Ok(Some(read))
    }

    /// A file of this user's own, of at most so many bytes.
    pub(super) fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let file = openat(&self.0, name, OFlags::RDONLY | CAREFUL, Mode::empty()).ok()?;
        let about = fstat(&file).ok()?;
        let fits = u64::try_from(about.st_size).is_ok_and(|n| n <= most);
        if owned(&about).is_err() || writable_by_others(&about) || !is_file(&about) || !fits {
            return None;
        }
        let mut bytes = Vec::new();
        File::from(file).take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes a file for this user alone, whole or not at all; what has its name, a link too, is replaced.
    ///
    /// # Errors
    /// Why it cannot be written.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let own = format!("{name}.{}", std::process::id());
        // A killed process of this number may have left one.
        let _ = unlinkat(&self.0, &own, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | CAREFUL;
        let made = openat(&self.0, &own, flags, Mode::RUSR | Mode::WUSR).map_err(std::io::Error::from);
        let written = made.and_then(|file| File::from(file).write_all(bytes));
        let named = written.and_then(|()| Ok(renameat(&self.0, &own, &self.0, name)?));
        named.map_err(|e| {
            let _ = unlinkat(&self.0, &own, AtFlags::empty());
            format!("nothing can be written there: {e}")
        })
    }
}

fn mode(about: &Stat) -> Mode {
    Mode::from_raw_mode(about.st_mode)
}

fn is_file(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::RegularFile
}

fn writable_by_others(about: &Stat) -> bool {
    mode(about).intersects(Mode::WGRP | Mode::WOTH)
}

fn owned(about: &Stat) -> Result<(), String> {
    match about.st_uid == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(format!("it belongs to another user ({})", about.st_uid)),
    }
}
