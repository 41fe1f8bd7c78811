//! One process per folder, and the same folder to the end.

use super::checkpoint;
use crate::files::place;
use crate::text::word;
use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file whose lock means that a process works in its folder.
pub const LOCK: &str = ".lock";

/// A folder that this process holds, until this value goes or the process ends.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    /// The folder itself, whatever it is called by now; none where folders cannot be opened.
    place: Option<File>,
    file: Mutex<File>,
    locked: bool,
}

impl Lock {
    /// Holds `folder`, which must exist. Where the file system has no locks, nothing keeps others out
    /// ([`warning`](Self::warning)).
    ///
    /// # Errors
    /// Another process holds it, or its lock cannot be written.
    pub fn take(folder: &Path) -> Result<Self> {
        Self::take_by(folder, File::try_lock)
    }

    fn take_by(
        folder: &Path,
        try_lock: impl Fn(&File) -> std::result::Result<(), TryLockError>,
    ) -> Result<Self> {
        let path = folder.join(LOCK);
        let place = File::open(folder).ok();
        let file = open(&path)?;
        let locked = loop {
            match try_lock(&file) {
                Ok(()) => break true,
                Err(TryLockError::WouldBlock) => {
                    let message = "another process trains in this folder; wait for it, or pass another --out";
                    return Err(Error::data(folder.display().to_string(), message));
                }
                Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::Error(e)) if has_no_locks(&e) => break false,
                Err(TryLockError::Error(e)) => return Err(Error::io(&path)(e)),
            }
        };
        Ok(Lock { folder: folder.to_owned(), place, file: Mutex::new(file), locked })
    }

    /// The folder, by the name that it was taken by.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a user should know: that nothing guards against a second process.
    pub fn warning(&self) -> Option<String> {
        (!self.locked).then(|| {
            format!(
                "{}: this file system has no locks, so nothing keeps a second process out of this folder; start only one",
                self.folder.display()
            )
        })
    }

    /// Whether the folder is still the one that was taken. To be asked before anything is written into it: its name may have
    /// come to stand for somebody else's.
    ///
    /// # Errors
    /// [`Error::Data`] if it was removed, moved or replaced, or another process has taken it: says so, and where what was
    /// saved is.
    pub fn check(&self) -> Result<()> {
        let path = self.folder.join(LOCK);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let here = self.place.as_ref().is_none_or(|place| place::is_at(place, &self.folder));
        if here && place::is_at(&file, &path) {
            return Ok(());
        }
        // Somebody took the lock's file alone for a leftover: it is made again, unless another process has been faster.
        if here && self.place.is_some() && !path.exists() {
            let again = open(&path)?;
            if !self.locked || again.try_lock().is_ok() {
                *file = again;
                return Ok(());
            }
        }
        Err(Error::data(self.folder.display().to_string(), self.lost(here, &file)))
    }

    /// Writes into the folder by the path that `write` is given: it leads there also when the folder is moved or replaced at
    /// this moment. [`check`](Self::check) before and after says that it was; where the system has no such paths, this alone
    /// keeps files out of another folder.
    ///
    /// # Errors
    /// Those of `write`, with the paths that a user knows; a folder that was lost.
    pub fn write<T>(&self, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        self.check()?;
        let written = match self.place.as_ref().and_then(place::inside) {
            Some(inside) => write(&inside).map_err(|e| known(e, &inside, &self.folder)),
            None => write(&self.folder),
        };
        // That the folder was lost meanwhile says more than which file could not be written.
        self.check()?;
        written
    }

    /// What happened to the folder, and what to do.
    fn lost(&self, here: bool, file: &File) -> String {
        if here && self.place.is_some() {
            let message = "the lock of this folder was removed and another process has taken it: stopped, so that two do \
                           not write into one run. End the other process, then go on with --resume";
            return message.into();
        }
        let now = self.place.as_ref().and_then(place::found);
        let removed = place::is_removed(self.place.as_ref().unwrap_or(file)) || place::is_removed(file);
        let happened = match &now {
            Some(now) => format!("this folder was moved to {}", now.display()),
            None if removed => "this folder was removed".to_owned(),
            None => "this folder was moved or renamed".to_owned(),
        };
        let other = if self.folder.exists() { ", and another one is in its place now" } else { "" };
        let rest = match &now {
            Some(now) => saved(now),
            None if removed => "all that was saved in it is gone; start again".to_owned(),
            None => "what was saved is in it, wherever it is now: go on there with --out".to_owned(),
        };
        format!("{happened} while this process worked in it{other}: stopped, nothing more is written; {rest}")
    }
}

/// An error whose paths begin with the folder's name instead of the path `inside` it.
fn known(e: Error, inside: &Path, folder: &Path) -> Error {
    let path = |path: PathBuf| match path.strip_prefix(inside) {
        Ok(rest) => folder.join(rest),
        Err(_) => path,
    };
    let text = |text: String| text.replace(&*inside.to_string_lossy(), &folder.to_string_lossy());
    match e {
        Error::Io { path: at, source } => Error::Io { path: path(at), source },
        Error::Checkpoint { path: at, message } => {
            Error::Checkpoint { path: path(at), message: text(message) }
        }
        Error::Data { place, message } => Error::Data { place: text(place), message: text(message) },
        other => other,
    }
}

/// What is to be found in a folder that was moved.
fn saved(now: &Path) -> String {
    let last = now.join(checkpoint::FOLDER).join(checkpoint::LAST);
    let out = word(now);
    match last.is_file() {
        true => format!(
            "the last checkpoint is {}; mlaan train --resume --out {out} goes on from it",
            last.display()
        ),
        false => format!("what was saved is there: go on with --out {out}"),
    }
}

fn open(path: &Path) -> Result<File> {
    crate::files::open_own(path, OpenOptions::new().create(true).append(true)).map_err(Error::io(path))
}

/// Whether an error of locking says that there are no locks here: network file systems without a lock service, some in user
/// space. The call itself is right, so an invalid one is one that the file system does not know.
fn has_no_locks(e: &std::io::Error) -> bool {
    #[cfg(unix)]
    if e.raw_os_error() == Some(rustix::io::Errno::NOLCK.raw_os_error()) {
        return true;
    }
    matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::fs;

    fn refused(lock: &Lock) -> String {
        lock.check().unwrap_err().to_string()
    }

    /// A held folder `a` in a folder of its own, called as the system calls it.
    fn held() -> (tempfile::TempDir, PathBuf, Lock) {
        let at = tempfile::tempdir().unwrap();
        let folder = at.path().canonicalize().unwrap().join("a");
        fs::create_dir(&folder).unwrap();
        let lock = Lock::take(&folder).unwrap();
        lock.check().unwrap();
        (at, folder, lock)
    }

    #[test]
    fn a_file_system_without_locks_is_told_of_and_used() {
        let at = tempfile::tempdir().unwrap();
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::INVAL] {
            let refuse = |_: &File| Err(TryLockError::Error(errno.into()));
            let lock = Lock::take_by(at.path(), refuse).unwrap();
            assert!(lock.warning().unwrap().contains("has no locks"), "{errno}");
            lock.check().unwrap();
        }
        let broken = |_: &File| Err(TryLockError::Error(Errno::IO.into()));
        assert!(matches!(Lock::take_by(at.path(), broken), Err(Error::Io { .. })));
        assert!(Lock::take(at.path()).unwrap().warning().is_none());
    }

    #[test]
    fn a_signal_does_not_keep_a_lock_from_being_taken() {
        let at = tempfile::tempdir().unwrap();
        let tries = std::cell::Cell::new(0);
        let lock = Lock::take_by(at.path(), |file| {
            tries.set(tries.get() + 1);
            if tries.get() < 3 { Err(TryLockError::Error(Errno::INTR.into())) } else { file.try_lock() }
        });
        assert!(lock.unwrap().warning().is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_moved_folder_is_told_of_with_its_new_place() {
        let (_at, folder, lock) = held();
        let moved = folder.with_file_name("b c");
        fs::rename(&folder, &moved).unwrap();
        let message = refused(&lock);
        assert!(message.contains(&format!("was moved to {}", moved.display())), "{message}");
        assert!(message.contains(&format!("go on with --out '{}'", moved.display())), "{message}");
        assert!(!message.contains("another one"), "{message}");
        let checkpoints = moved.join(checkpoint::FOLDER);
        fs::create_dir(&checkpoints).unwrap();
        fs::write(checkpoints.join(checkpoint::LAST), "{}").unwrap();
        let message = refused(&lock);
        assert!(message.contains(&checkpoints.join(checkpoint::LAST).display().to_string()), "{message}");
        assert!(!folder.exists(), "nothing is made anew");
        // Another one in its place, held by another process.
        fs::create_dir(&folder).unwrap();
        let _other = Lock::take(&folder).unwrap();
        assert!(refused(&lock).contains("another one is in its place"), "{}", refused(&lock));
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(&moved, &folder).unwrap();
        lock.check().unwrap();
    }

    #[test]
    fn a_removed_folder_is_told_of() {
        let (_at, folder, lock) = held();
        fs::remove_dir_all(&folder).unwrap();
        assert!(refused(&lock).contains("this folder was removed"), "{}", refused(&lock));
        fs::create_dir(&folder).unwrap();
        let message = refused(&lock);
        assert!(message.contains("removed") && message.contains("another one is in its place"), "{message}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is written into the other folder");
        // A file in its place is no folder of ours either.
        fs::remove_dir(&folder).unwrap();
        fs::write(&folder, "").unwrap();
        assert!(refused(&lock).contains("removed"), "{}", refused(&lock));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_written_at_the_moment_of_a_move_is_in_the_moved_folder() {
        let (_at, folder, lock) = held();
        let moved = folder.with_file_name("b");
        let written = lock.write(|path| {
            fs::rename(&folder, &moved).map_err(Error::io(&folder))?;
            fs::create_dir(&folder).map_err(Error::io(&folder))?;
            fs::write(path.join("x"), "x").map_err(Error::io(path))
        });
        assert!(written.unwrap_err().to_string().contains("was moved to"));
        assert!(moved.join("x").is_file());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(lock.write(|_| -> Result<()> { panic!("nothing more is written") }).is_err());
    }

    #[test]
    fn errors_name_the_folder_as_it_is_known() {
        let (_at, folder, lock) = held();
        let path = folder.join("none").join("x");
        let io = lock.write(|at| fs::write(at.join("none/x"), "").map_err(Error::io(at.join("none/x"))));
        assert!(io.unwrap_err().to_string().starts_with(&path.display().to_string()));
        let data = lock.write(|at| -> Result<()> {
            Err(Error::data(at.join("none/x").display().to_string(), format!("see {}", at.display())))
        });
        let expected = format!("{}: see {}", path.display(), folder.display());
        assert_eq!(data.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_another_folder() {
        let at = tempfile::tempdir().unwrap();
        let name = at.path().join("run");
        for to in ["one", "two"] {
            fs::create_dir(at.path().join(to)).unwrap();
        }
        std::os::unix::fs::symlink("one", &name).unwrap();
        let lock = Lock::take(&name).unwrap();
        lock.check().unwrap();
        fs::remove_file(&name).unwrap();
        std::os::unix::fs::symlink("two", &name).unwrap();
        assert!(refused(&lock).contains("another one is in its place"), "{}", refused(&lock));
    }

    #[test]
    fn a_lost_lock_is_made_again_unless_another_process_has_one() {
        let (_at, folder, lock) = held();
        fs::remove_file(folder.join(LOCK)).unwrap();
        lock.check().unwrap();
        assert!(Lock::take(&folder).is_err(), "it is held again");
        fs::remove_file(folder.join(LOCK)).unwrap();
        let other = Lock::take(&folder).unwrap();
        assert!(refused(&lock).contains("another process has taken it"), "{}", refused(&lock));
        drop(other);
        // It may have written in the meantime.
        assert!(lock.check().is_err());
    }
}
