//! A tar archive as the folder that it unpacks to: links lead where they lead there, a later member of a name takes the place
//! of an earlier one.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::is_image;
use super::super::notes::{Notes, reason};
use super::blocks::{Found, Type};
use super::names::unmarked;
use super::packed::{Item, each_member, read_bytes};
use super::sparse::Holes;
use super::tree::{Entry, Kind, Tree, left_behind};
use crate::{Error, Result};

/// Links that may lie on one path.
const MOST_LINKS: usize = 40;
/// Longest list that is read out of an archive.
const MOST_TEXT: u64 = 64 << 20;

/// A file in an archive.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Where its bytes begin.
    pub offset: u64,
    /// Their number.
    pub size: u64,
    /// Where they belong, if it has holes.
    pub holes: Option<Arc<Holes>>,
    /// Whether it is an image by its content.
    looks: bool,
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Node {
    Folder,
    File(Stored),
    /// A symbolic link.
    Link(String),
    /// What is not read, and why.
    Other(&'static str),
}

/// See the module.
pub(super) struct Archive {
    path: PathBuf,
    /// Folders by their paths (without a slash at either end), and what they hold by name.
    folders: HashMap<String, BTreeMap<String, Node>>,
    /// What was not read.
    pub notes: Notes,
}

/// A place in an archive: how one came there, and where that is behind all links.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    /// As it is called.
    pub shown: String,
    real: String,
}

impl Archive {
    /// All members of an archive.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let folders = HashMap::from([(String::new(), BTreeMap::new())]);
        let mut archive = Archive { path: path.into(), folders, notes: Notes::default() };
        each_member(path, &mut |found| {
            archive.add(found);
            Ok(true)
        })?;
        Ok(archive)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An image there.
    pub fn item(&self, at: &At) -> Option<Item> {
        let Some(Node::File(file)) = self.node(&at.real) else {
            return None;
        };
        let (offset, size, holes) = (file.offset, file.size, file.holes.clone());
        Some(Item { archive: 0, offset, size, name: at.shown.clone(), holes })
    }

    /// Folders in a folder, but for what systems leave.
    pub fn folders(&self, at: &At) -> Vec<At> {
        let entries = self.entries(at).unwrap_or_default();
        entries
            .into_iter()
            .filter(|e| e.kind == Kind::Folder && !left_behind(&e.name))
            .map(|e| e.at)
            .collect()
    }

    fn add(&mut self, found: Found<'_>) {
        let place = || format!("{}, {}", self.path.display(), found.name);
        let Some(path) = inside("", &found.name) else {
            self.notes.skip(reason::OUT, place);
            return;
        };
        let node = match found.what {
            Type::Folder => Node::Folder,
            Type::Link { hard: false, to } => Node::Link(to),
            Type::Link { hard: true, to } => {
                let target = inside("", &to).and_then(|to| self.node(&to).cloned());
                // Linked to is what the name stands for now, whatever comes later.
                target.unwrap_or(Node::Other(reason::DANGLING))
            }
            Type::File => Node::File(Stored {
                offset: found.offset,
                size: found.size,
                holes: None,
                looks: looks(&path, found.content, found.size),
            }),
            Type::Sparse(holes) => Node::File(Stored {
                offset: found.offset,
                size: found.size,
                holes: Some(Arc::new(holes)),
                looks: false,
            }),
            Type::Other => Node::Other(reason::SPECIAL),
        };
        if path.is_empty() {
            return;
        }
        self.put(&path, node);
    }

    /// Puts a member where it belongs.
    fn put(&mut self, path: &str, node: Node) {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.make(folder);
        if matches!(node, Node::Folder) {
            return self.make(path);
        }
        let place = format!("{}, {path}", self.path.display());
        let inside = self.folders.entry(folder.to_owned()).or_default();
        let before = inside.get(name);
        if before.is_some() {
            self.notes.skip(reason::REPLACED, || place);
        }
        // Unpacking does not put a file in the place of a folder.
        if !matches!(before, Some(Node::Folder)) {
            inside.insert(name.to_owned(), node);
        }
    }

    /// A folder and those around it.
    fn make(&mut self, path: &str) {
        if self.folders.contains_key(path) {
            return;
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.make(folder);
        self.folders.entry(folder.to_owned()).or_default().insert(name.to_owned(), Node::Folder);
        self.folders.insert(path.to_owned(), BTreeMap::new());
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.folders.get(folder)?.get(name)
    }

    /// Where a path leads, behind all links, or why nowhere.
    fn resolve(&self, path: &str, links: &mut usize) -> std::result::Result<String, &'static str> {
        let mut real = String::new();
        let parts: Vec<&str> = path.split('/').collect();
        for (at, part) in parts.iter().enumerate() {
            let next = if real.is_empty() { (*part).to_owned() } else { format!("{real}/{part}") };
            match self.node(&next) {
                Some(Node::Link(to)) => {
                    *links += 1;
                    if *links > MOST_LINKS {
                        return Err(reason::CIRCLE);
                    }
                    let target = match to.starts_with('/') {
                        true => return Err(reason::ABSOLUTE),
                        false => inside(&real, to).ok_or(reason::OUT)?,
                    };
                    real = if target.is_empty() { target } else { self.resolve(&target, links)? };
                }
                Some(Node::Folder) => real = next,
                Some(_) if at + 1 == parts.len() => real = next,
                _ => return Err(reason::DANGLING),
            }
        }
        Ok(real)
    }

    fn entry(&self, folder: &At, name: &str, node: &Node) -> Entry<At> {
        let below = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let (shown, mut real) = (below(&folder.shown), below(&folder.real));
        let mut node = Some(node);
        let mut why = reason::DANGLING;
        if let Some(Node::Link(_)) = node {
            match self.resolve(&real, &mut 0) {
                Ok(path) => {
                    node = if path.is_empty() { Some(&Node::Folder) } else { self.node(&path) };
                    real = path;
                }
                Err(reason) => (node, why) = (None, reason),
            }
        }
        let kind = match node {
            Some(Node::Folder) => Kind::Folder,
            Some(Node::File(file)) if file.looks || is_image::by_name(name) => Kind::Image,
            Some(Node::File(_)) if is_image::of_another_format(name) => Kind::Other(reason::FORMAT),
            Some(Node::File(_)) => Kind::File,
            Some(Node::Other(why)) => Kind::Other(why),
            Some(Node::Link(_)) | None => Kind::Other(why),
        };
        Entry { name: name.to_owned(), at: At { shown, real }, kind }
    }
}

impl Tree for Archive {
    type At = At;

    fn entries(&self, at: &At) -> Result<Vec<Entry<At>>> {
        let inside = self.folders.get(&at.real).into_iter().flatten();
        Ok(inside.map(|(name, node)| self.entry(at, name, node)).collect())
    }

    fn place(&self, at: &At) -> String {
        match at.shown.is_empty() {
            true => self.path.display().to_string(),
            false => format!("{}, {}", self.path.display(), at.shown),
        }
    }

    fn real(&self, at: &At) -> PathBuf {
        // One that begins at the root, so that the archive itself is above all.
        Path::new("/").join(&at.real)
    }

    fn text(&self, at: &At) -> Result<String> {
        let Some(Node::File(file)) = self.node(&at.real) else {
            return Ok(String::new());
        };
        let wrong = |message: String| Error::data(self.place(at), message);
        let mut text = None;
        each_member(&self.path, &mut |found| {
            if found.offset == file.offset {
                let bytes = read_bytes(&mut &mut *found.content, found.size, MOST_TEXT).map_err(wrong)?;
                let read = String::from_utf8(bytes).map_err(|_| wrong("no text in UTF-8".into()))?;
                text = Some(unmarked(&read).to_owned());
            }
            Ok(text.is_none())
        })?;
        text.ok_or_else(|| wrong("the archive has changed while it was read".into()))
    }
}

/// Whether a file whose name is not an image's begins as one.
fn looks(name: &str, content: &mut dyn Read, size: u64) -> bool {
    if is_image::by_name(name) || is_image::of_another_format(name) {
        return false;
    }
    let mut head = Vec::with_capacity(is_image::HEAD);
    let read = content.take(size.min(is_image::HEAD as u64)).read_to_end(&mut head);
    read.is_ok() && is_image::by_content(&head)
}

/// A path counted from a folder, without `.` and `..`; nothing where it leads out of the archive. One that begins with a slash
/// counts from the archive's root, as it is unpacked.
fn inside(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(nodes: &[(&str, Node)]) -> Archive {
        let folders = HashMap::from([(String::new(), BTreeMap::new())]);
        let mut archive = Archive { path: "set.tar".into(), folders, notes: Notes::default() };
        nodes.iter().for_each(|(path, node)| archive.put(path, node.clone()));
        archive
    }

    fn file(offset: u64) -> Node {
        Node::File(Stored { offset, size: 1, holes: None, looks: false })
    }

    fn link(to: &str) -> Node {
        Node::Link(to.into())
    }

    #[test]
    fn links_lead_where_they_lead_when_unpacked() {
        let set = archive(&[
            ("train/dog/0.png", file(1)),
            ("train/wolf", link("dog")),
            ("train/fox", link("../train/./wolf")),
            ("train/dog/1.png", link("0.png")),
            ("train/dog/2.png", link("../wolf/1.png")),
            ("train/dog/3.png", link("/tmp/3.png")),
            ("train/dog/4.png", link("../../../x.png")),
            ("train/dog/5.png", link("none.png")),
            ("train/dog/6.png", link("7.png")),
            ("train/dog/7.png", link("6.png")),
        ]);
        let lead = |path: &str| set.resolve(path, &mut 0);
        assert_eq!(lead("train/fox"), Ok("train/dog".into()));
        for same in ["train/fox/0.png", "train/dog/1.png", "train/dog/2.png"] {
            assert_eq!(lead(same), Ok("train/dog/0.png".into()), "{same}");
        }
        let why = ["3", "4", "5", "6"].map(|n| lead(&format!("train/dog/{n}.png")).unwrap_err());
        assert_eq!(why, [reason::ABSOLUTE, reason::OUT, reason::DANGLING, reason::CIRCLE]);
        let folder = At { shown: "train/fox".into(), real: "train/dog".into() };
        let entries = set.entries(&folder).unwrap();
        let images: Vec<_> = entries.iter().filter(|e| e.kind == Kind::Image).collect();
        assert_eq!(images.iter().map(|e| e.at.shown.as_str()).collect::<Vec<_>>().len(), 3);
        assert_eq!(set.item(&images[1].at).unwrap().offset, 1);
        assert_eq!(images[1].at.shown, "train/fox/1.png");
    }

    #[test]
    fn later_members_take_the_place_of_earlier_ones() {
        let set = archive(&[("a/0.png", file(1)), ("a/0.png", file(2)), ("a", file(3))]);
        assert_eq!(set.item(&At { shown: "a/0.png".into(), real: "a/0.png".into() }).unwrap().offset, 2);
        assert_eq!(set.notes.skipped.len(), 1);
        assert_eq!((set.notes.skipped[0].count, set.notes.skipped[0].reason), (2, reason::REPLACED));
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside("", "./a//b/../c/"), Some("a/c".into()));
        assert_eq!(inside("a/b", "../c"), Some("a/c".into()));
        assert_eq!((inside("a", "../.."), inside("", "/a")), (None, Some("a".into())));
    }
}
