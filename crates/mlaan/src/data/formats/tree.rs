//! Folders of images, on disk or inside an archive: one walk for both, so that an archive gives what it unpacks to.

use std::collections::HashSet;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::super::is_image;
use super::super::notes::{Notes, reason};
use super::class_names::readable;
use super::file_names::{backup, unfinished};
use super::names::text;
use crate::{Error, Result};

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum EntryKind {
    /// A folder, or a link to one.
    Folder,
    /// A file that is an image by its name, or else by its content.
    Image,
    /// Another file.
    File,
    /// What is not read, and why.
    Other(&'static str),
}

/// An entry of a folder.
#[derive(Clone, Debug)]
pub(in crate::data) struct Entry<At> {
    /// Its name, as text.
    pub name: String,
    /// Where it is.
    pub at: At,
    /// What it is.
    pub kind: EntryKind,
}

/// Folders in folders.
pub(in crate::data) trait Tree {
    /// Where something lies.
    type At: Clone;
    /// What lies in a folder, by name.
    ///
    /// # Errors
    /// When it cannot be read.
    fn entries(&self, at: &Self::At) -> Result<Vec<Entry<Self::At>>>;
    /// The same, with files told by their names alone: quick where many are of no interest.
    ///
    /// # Errors
    /// When it cannot be read.
    fn by_name(&self, at: &Self::At) -> Result<Vec<Entry<Self::At>>> {
        self.entries(at)
    }
    /// What messages call a place.
    fn place(&self, at: &Self::At) -> String;
    /// The path of a folder behind all links.
    fn real(&self, at: &Self::At) -> PathBuf;
    /// The text of a file.
    ///
    /// # Errors
    /// When it is no text or cannot be read.
    fn text(&self, at: &Self::At) -> Result<String>;
}

/// The disk.
pub(in crate::data) struct Disk;

impl Tree for Disk {
    type At = PathBuf;

    fn entries(&self, at: &PathBuf) -> Result<Vec<Entry<PathBuf>>> {
        listed(at, is_image::file_by_content)
    }

    fn by_name(&self, at: &PathBuf) -> Result<Vec<Entry<PathBuf>>> {
        listed(at, |_| false)
    }

    fn place(&self, at: &PathBuf) -> String {
        at.display().to_string()
    }

    fn real(&self, at: &PathBuf) -> PathBuf {
        at.canonicalize().unwrap_or_else(|_| at.clone())
    }

    fn text(&self, at: &PathBuf) -> Result<String> {
        text(at).map(Option::unwrap_or_default)
    }
}

/// What lies in a folder; `looks` says whether a file is an image by its content.
fn listed(at: &PathBuf, looks: fn(&Path) -> bool) -> Result<Vec<Entry<PathBuf>>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at).map_err(Error::io(at))? {
        let entry = entry.map_err(Error::io(at))?;
        let name = readable(entry.file_name().as_encoded_bytes());
        let (path, of) = (entry.path(), entry.file_type().map_err(Error::io(at))?);
        found.push(Entry { kind: kind(&name, &path, of, looks), name, at: path });
    }
    found.sort_by(|a, b| (&a.name, &a.at).cmp(&(&b.name, &b.at)));
    Ok(found)
}

fn kind(name: &str, path: &Path, of: FileType, looks: fn(&Path) -> bool) -> EntryKind {
    let of = if of.is_symlink() { fs::metadata(path).map(|m| m.file_type()).unwrap_or(of) } else { of };
    if of.is_dir() {
        return EntryKind::Folder;
    }
    // A link to an image that is not there is an image that cannot be read.
    if is_image::by_name(name) && (of.is_file() || of.is_symlink()) {
        return EntryKind::Image;
    }
    match of.is_file() {
        true => of_file(name, || looks(path)),
        false if of.is_symlink() => EntryKind::Other(reason::NOWHERE),
        false => EntryKind::Other(reason::SPECIAL),
    }
}

/// What a file is by its name, else by its content, if it `looks` like an image: an ending may say too little, or be wrong.
pub(super) fn of_file(name: &str, looks: impl FnOnce() -> bool) -> EntryKind {
    let image = |name: &&str| is_image::by_name(name) || is_image::of_another_format(name);
    match () {
        () if is_image::by_name(name) => EntryKind::Image,
        () if unfinished(name).filter(image).is_some() => EntryKind::Other(reason::UNFINISHED),
        () if name.ends_with('~') || backup(name).filter(image).is_some() => {
            EntryKind::Other(reason::LEFT_BEHIND)
        }
        () if !left_behind(name) && looks() => EntryKind::Image,
        () if is_image::of_another_format(name) => EntryKind::Other(reason::FORMAT),
        () => EntryKind::File,
    }
}

/// Whether a file or folder is what systems and programs put beside images: hidden, or known by its name.
pub(in crate::data) fn left_behind(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "@eaDir",
        "#recycle",
        "__MACOSX",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "Thumbs.db",
    ];
    let known = NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
    known
        || name.starts_with('.')
        || name.starts_with("PaxHeaders")
        || name.eq_ignore_ascii_case("desktop.ini")
}

/// Subfolders that may be classes; what else lies there is counted.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn class_folders<T: Tree>(tree: &T, at: &T::At, notes: &mut Notes) -> Result<Vec<Entry<T::At>>> {
    let mut folders = Vec::new();
    let own = tree.real(at);
    for entry in tree.entries(at)? {
        let why = match entry.kind {
            _ if left_behind(&entry.name) => reason::LEFT_BEHIND,
            EntryKind::Folder if own.starts_with(tree.real(&entry.at)) => reason::CIRCLE,
            EntryKind::Folder => {
                folders.push(entry);
                continue;
            }
            EntryKind::Image => reason::OUTSIDE,
            EntryKind::File => reason::NO_IMAGE,
            EntryKind::Other(why) => why,
        };
        notes.skip(why, || tree.place(&entry.at));
    }
    Ok(folders)
}

/// All images in and below `folder`, at most `depth` folders deep, in the order of their names; `above` are the folders
/// around it, to which no link may lead back, and `visited` those that no link may lead to: folders of other classes.
/// However many links lead to a folder, it counts once: a few links to folders of links would be more paths than can ever
/// be walked.
///
/// # Errors
/// When a folder cannot be read.
pub(in crate::data) fn images_below<T: Tree>(
    tree: &T,
    folder: &T::At,
    (depth, above, visited): (usize, &mut Vec<PathBuf>, &mut HashSet<PathBuf>),
    (found, notes): (&mut Vec<T::At>, &mut Notes),
) -> Result<()> {
    let real = tree.real(folder);
    if above.iter().any(|path| path.starts_with(&real)) {
        notes.skip(reason::CIRCLE, || tree.place(folder));
        return Ok(());
    }
    if !visited.insert(real.clone()) {
        notes.skip(reason::TWICE, || tree.place(folder));
        return Ok(());
    }
    above.push(real);
    for entry in tree.entries(folder)? {
        let why = match entry.kind {
            _ if left_behind(&entry.name) => reason::LEFT_BEHIND,
            EntryKind::Image => {
                found.push(entry.at);
                continue;
            }
            EntryKind::Folder if depth > 0 => {
                let walk = (depth - 1, &mut *above, &mut *visited);
                images_below(tree, &entry.at, walk, (&mut *found, &mut *notes))?;
                continue;
            }
            EntryKind::Folder => reason::TOO_DEEP,
            EntryKind::File => reason::NO_IMAGE,
            EntryKind::Other(why) => why,
        };
        notes.skip(why, || tree.place(&entry.at));
    }
    above.pop();
    Ok(())
}

/// All images in and below a folder on disk, as [`images_below`].
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn files_below(
    folder: &Path,
    depth: usize,
    (found, notes): (&mut Vec<PathBuf>, &mut Notes),
) -> Result<()> {
    let walk = (depth, &mut Vec::new(), &mut HashSet::new());
    images_below(&Disk, &folder.to_path_buf(), walk, (found, notes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two links in every folder to the next one: 2^30 paths to one image.
    #[cfg(unix)]
    #[test]
    fn a_folder_is_read_once_however_many_links_lead_to_it() {
        let at = tempfile::tempdir().unwrap();
        let folder = |i: usize| at.path().join(format!("f{i}"));
        let name = |i: usize| format!("../f{i}");
        for i in 0..30 {
            fs::create_dir(folder(i)).unwrap();
            std::os::unix::fs::symlink(name(i + 1), folder(i).join("a")).unwrap();
            std::os::unix::fs::symlink(name(i + 1), folder(i).join("b")).unwrap();
        }
        fs::create_dir(folder(30)).unwrap();
        fs::write(folder(30).join("x.png"), "").unwrap();
        let (mut found, mut notes) = (Vec::new(), Notes::default());
        files_below(&folder(0), 64, (&mut found, &mut notes)).unwrap();
        assert_eq!(found.len(), 1);
        assert!(notes.lines().concat().contains("read already"), "{:?}", notes.lines());
    }

    #[test]
    fn what_systems_leave_is_known() {
        for name in
            [".DS_Store", "._a.png", "@eaDir", "__MACOSX", "thumbs.db", "Desktop.ini", "PaxHeaders.12"]
        {
            assert!(left_behind(name), "{name}");
        }
        assert!(!left_behind("cat") && !left_behind("a.png") && !left_behind("macosx"));
    }
}
