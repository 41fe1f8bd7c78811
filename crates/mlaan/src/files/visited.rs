//! Folders of a walk, each once.

use std::collections::HashSet;
use std::io;
use std::path::Path;

#[cfg(unix)]
type Key = (u64, u64);
#[cfg(not(unix))]
type Key = std::path::PathBuf;

/// The folders that a walk has been in, told by what they are and not by their names: links lead round in circles, and
/// two of them that lead back double the way at every level.
#[derive(Clone, Debug, Default)]
pub struct Visited(HashSet<Key>);

impl Visited {
    /// Of a walk that begins in `folder`: what lies above it counts as visited, so that no link leads out that way.
    ///
    /// # Errors
    /// What the system says of `folder`.
    pub fn below(folder: &Path) -> io::Result<Self> {
        let mut visited = Visited::default();
        for above in folder.canonicalize()?.ancestors().skip(1) {
            // Where one cannot be looked at, no link leads through it either.
            let _ = visited.is_new(above);
        }
        Ok(visited)
    }

    /// Whether `folder` was not visited before; now it is.
    ///
    /// # Errors
    /// What the system says of it.
    pub fn is_new(&mut self, folder: &Path) -> io::Result<bool> {
        Ok(self.0.insert(key(folder)?))
    }
}

#[cfg(unix)]
fn key(folder: &Path) -> io::Result<Key> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).map(|about| (about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn key(folder: &Path) -> io::Result<Key> {
    folder.canonicalize()
}
