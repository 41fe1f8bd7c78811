//! What lies beside the splits of an image folder and is not read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::packed::kind;
use super::tree::{Entry, EntryKind, Tree, left_behind};
use crate::data::notes::{Notes, reason};

/// Folders beside the splits that are looked into, at the most: a set may lie in a folder full of other things.
const MOST: usize = 4096;

/// Counts what lies beside the folders `used`: archives and tables of other formats, and images.
pub(super) fn beside<T: Tree>(
    tree: &T,
    root: &T::At,
    entries: &[Entry<T::At>],
    used: &dyn Fn(&str) -> bool,
    notes: &mut Notes,
) {
    let other =
        |name: &str| kind(Path::new(name)).is_some() || name.to_ascii_lowercase().ends_with(".parquet");
    let splits = entries.iter().filter(|e| used(&e.name)).map(|e| tree.real(&e.at));
    let mut walk =
        Walk { tree, root: tree.real(root), splits: splits.collect(), seen: HashSet::new(), left: MOST };
    for entry in entries.iter().filter(|e| !left_behind(&e.name)) {
        match entry.kind {
            EntryKind::File if other(&entry.name) => notes.skip(reason::BESIDE, || tree.place(&entry.at)),
            EntryKind::Image => notes.skip(reason::OUTSIDE, || tree.place(&entry.at)),
            EntryKind::Folder if !used(&entry.name) => walk.count(&entry.at, notes),
            _ => {}
        }
    }
}

struct Walk<'a, T> {
    tree: &'a T,
    /// The folder around all.
    root: PathBuf,
    /// The splits.
    splits: Vec<PathBuf>,
    /// Folders that were read.
    seen: HashSet<PathBuf>,
    /// Folders that may be looked into.
    left: usize,
}

impl<T: Tree> Walk<'_, T> {
    /// Counts the images in and below a folder. What cannot be read is nothing that is needed.
    fn count(&mut self, folder: &T::At, notes: &mut Notes) {
        let real = self.tree.real(folder);
        // A link may lead to what is read, or out of the set.
        let within = real.starts_with(&self.root) && !self.splits.iter().any(|split| real.starts_with(split));
        if self.left == 0 || !within || !self.seen.insert(real) {
            return;
        }
        self.left -= 1;
        for entry in self.tree.by_name(folder).unwrap_or_default() {
            match entry.kind {
                _ if left_behind(&entry.name) => {}
                EntryKind::Image => notes.skip(reason::OTHER_FOLDER, || self.tree.place(&entry.at)),
                EntryKind::Folder => self.count(&entry.at, notes),
                _ => {}
            }
        }
    }
}
