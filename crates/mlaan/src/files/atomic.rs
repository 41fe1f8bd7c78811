//! Files that are there whole or not at all.
//!
//! A file is written to a scratch sibling, made durable, and renamed into place; then the folder is made
//! durable. A run that is killed, or a machine that loses power, at any moment leaves the old file or the
//! new one. Two writers of one file at the same time: the one that comes later wins, the other one fails. A link at the
//! file's path gives way to the file, and what it leads to stays as it is; a device or a FIFO there is an error.

use super::{fault, place};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The end of every scratch file's name, which also starts with a dot.
const SCRATCH: &str = ".scratch";

/// Replaces the file at `path` by what `fill` writes.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written, and whatever `fill` returns. A file that was there
/// before is then unchanged, and no scratch file is left.
pub fn write<T>(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let scratch = scratch_of(path)?;
    if !folder_of(path).is_dir() {
        let reason =
            io::Error::new(io::ErrorKind::NotFound, "there is no such folder to write into; create it first");
        return Err(Error::io(path)(reason));
    }
    crate::files::replaceable(path).map_err(Error::io(path))?;
    write_scratch(&scratch, path, fill)
}

fn write_scratch<T>(
    scratch: &Path,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let failed = |e| Error::io(path)(e);
    let file = create(scratch).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    let filled = fill_and_sync(&mut out, path, fill);
    // What is left in the buffer of a failed write goes nowhere.
    drop(out.into_parts());
    // Under the name of another writer's half file lies nothing that may take the file's place, or be removed.
    let is_own = place::is_at(&file, scratch);
    drop(file);
    let put = filled.and_then(|value| {
        if !is_own {
            let message = "another process writes this file too, or its folder was moved: not written";
            return Err(Error::data(path.display().to_string(), message));
        }
        fault::step().map_err(failed)?;
        fs::rename(scratch, path).map_err(failed)?;
        Ok(value)
    });
    if put.is_err() && is_own && !fault::killed() {
        // The first error is the one to report.
        let _ = fs::remove_file(scratch);
    }
    let value = put?;
    fault::step().map_err(failed)?;
    sync_folder(folder_of(path))?;
    fault::step().map_err(failed)?;
    Ok(value)
}

fn fill_and_sync<T>(
    out: &mut BufWriter<&File>,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T>,
) -> Result<T> {
    let failed = |e| Error::io(path)(e);
    fault::step().map_err(failed)?;
    let value = fill(&mut Steps(out))?;
    out.flush().map_err(failed)?;
    fault::step().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    Ok(value)
}

/// Creates the scratch file, removing what a killed run left under its name. `create_new` never
/// follows a link that someone put there.
fn create(scratch: &Path) -> io::Result<File> {
    let new = || OpenOptions::new().write(true).create_new(true).open(scratch);
    match new() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(scratch)?;
            new()
        }
        other => other,
    }
}

/// Removes the scratch files that killed runs left in `folder`.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read or a scratch file not removed.
pub fn remove_stale(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.file_name().is_some_and(is_scratch) && !path.is_dir() {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

pub(crate) fn is_scratch(name: &OsStr) -> bool {
    name.to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(SCRATCH))
}

/// Whether `name` is that of the scratch file of a file called `of`.
pub(crate) fn is_scratch_of(name: &OsStr, of: &str) -> bool {
    name.to_str().and_then(|n| n.strip_prefix('.')?.strip_suffix(SCRATCH)) == Some(of)
}

fn scratch_of(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        let reason = io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
        Error::io(path)(reason)
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(SCRATCH);
    Ok(path.with_file_name(hidden))
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Makes renames and removals in `folder` durable.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be opened or the system refuses.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    // Windows cannot open folders as files; its renames are journalled.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|f| f.sync_all()) {
        // Some file systems (of networks, in user space) know no durable folders.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done.map_err(Error::io(folder)),
    }
}

/// Passes bytes on; in tests a run can be killed at every one of these writes.
struct Steps<'a, 'f>(&'a mut BufWriter<&'f File>);

impl Write for Steps<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fault::step()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) -> Result<()> {
        write(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        put(&path, "one").unwrap();
        put(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_no_scratch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        put(&path, "one").unwrap();
        let failed = write(&path, |out| {
            out.write_all(b"half").map_err(Error::io(&path))?;
            Err::<(), _>(Error::data("a", "stopped"))
        });
        assert!(matches!(failed, Err(Error::Data { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_kill_at_any_step_leaves_the_old_file_or_the_new_one() {
        for step in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.json");
            put(&path, "one").unwrap();
            let survived = fault::kill_at(step, || put(&path, "two")).is_ok();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text == "one" || text == "two", "step {step}: {text}");
            put(&path, "three").unwrap();
            assert_eq!(names(folder.path()), ["a.json"], "step {step}");
            if survived {
                assert!(step >= 5, "only {step} steps were tried");
                break;
            }
        }
    }

    #[test]
    #[cfg(unix)]
    fn two_writers_of_one_file_never_leave_half_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        // Another process begins, and is done, while this one writes.
        let late = write(&path, |out| {
            out.write_all(b"first").map_err(Error::io(&path))?;
            put(&path, "second")
        });
        assert!(late.unwrap_err().to_string().contains("another process writes this file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(names(folder.path()), ["a.json"]);
        // It has begun, and is not done: its half file is left to it.
        let scratch = folder.path().join(".a.json.scratch");
        let late = write(&path, |out| {
            fs::remove_file(&scratch).map_err(Error::io(&scratch))?;
            fs::write(&scratch, "half").map_err(Error::io(&scratch))?;
            out.write_all(b"first").map_err(Error::io(&path))
        });
        assert!(late.is_err());
        assert_eq!(fs::read_to_string(&scratch).unwrap(), "half");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
    }

    #[test]
    fn stale_scratch_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a.json.scratch", "notes.scratch", ".hidden", "a.json"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        remove_stale(folder.path()).unwrap();
        assert_eq!(names(folder.path()), [".hidden", "a.json", "notes.scratch"]);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = put(&folder.path().join("gone").join("a.json"), "x").unwrap_err();
        assert!(error.to_string().contains("a.json"), "{error}");
    }
}
