//! Files and folders by what they are: a name may come to stand for another one while a run works.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Whether `path` still names the open `file`. Where this cannot be found out, it does: the next access says what is wrong.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => same(&held, &named),
        (_, Err(e)) => !is_absent(&e),
        (Err(_), Ok(_)) => true,
    }
}

/// Where an open file or folder is now, as far as the system says (Linux does); none where it was removed.
pub(crate) fn found(file: &File) -> Option<PathBuf> {
    let path = named(file)?;
    // Of a removed file the system tells the old name, with words behind it.
    fs::metadata(&path).is_ok_and(|at| file.metadata().is_ok_and(|held| same(&held, &at))).then_some(path)
}

/// A path that leads into an open folder whatever its name has come to stand for, where the system has such paths (Linux).
pub(crate) fn inside(folder: &File) -> Option<PathBuf> {
    let path = link(folder)?;
    is_at(folder, &path).then_some(path).filter(|p| p.is_dir())
}

/// Whether nothing is there, instead of something that cannot be looked at.
fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Device and inode: no other file has them as long as this one is open.
#[cfg(unix)]
fn same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere an open file can be neither removed nor renamed.
#[cfg(not(unix))]
fn same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Whether no name is left of an open file.
#[cfg(unix)]
pub(crate) fn is_removed(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    file.metadata().is_ok_and(|m| m.nlink() == 0)
}

#[cfg(not(unix))]
pub(crate) fn is_removed(_: &File) -> bool {
    false
}

fn named(file: &File) -> Option<PathBuf> {
    fs::read_link(link(file)?).ok()
}

/// The link that the system keeps of an open file.
#[cfg(target_os = "linux")]
fn link(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    Some(format!("/proc/self/fd/{}", file.as_raw_fd()).into())
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File) -> Option<PathBuf> {
    None
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_under_another_name() {
        let at = tempfile::tempdir().unwrap();
        let (a, b) = (at.path().join("a"), at.path().join("b (deleted)"));
        let file = File::create(&a).unwrap();
        assert!(is_at(&file, &a) && !is_removed(&file));
        fs::rename(&a, &b).unwrap();
        assert!(!is_at(&file, &a) && is_at(&file, &b));
        assert_eq!(found(&file), Some(fs::canonicalize(&b).unwrap()));
        // Another file in its old place.
        fs::write(&a, "").unwrap();
        assert!(!is_at(&file, &a));
        fs::remove_file(&b).unwrap();
        assert!(!is_at(&file, &b) && is_removed(&file));
        assert_eq!(found(&file), None);
    }

    #[test]
    fn what_is_written_inside_a_folder_stays_in_it() {
        let at = tempfile::tempdir().unwrap();
        let (a, b) = (at.path().join("a"), at.path().join("b"));
        fs::create_dir(&a).unwrap();
        let folder = File::open(&a).unwrap();
        let inside = inside(&folder).unwrap();
        fs::rename(&a, &b).unwrap();
        fs::create_dir(&a).unwrap();
        fs::write(inside.join("x"), "x").unwrap();
        assert!(b.join("x").is_file() && !a.join("x").exists());
        fs::remove_dir_all(&b).unwrap();
        assert!(fs::write(inside.join("x"), "x").is_err());
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_gone() {
        let at = tempfile::tempdir().unwrap();
        let file = File::create(at.path().join("a")).unwrap();
        // A name that is too long is an error of the system's, and says nothing of the file.
        assert!(is_at(&file, &at.path().join("x".repeat(5000))));
        assert!(!is_at(&file, &at.path().join("a").join("below a file")));
    }
}
