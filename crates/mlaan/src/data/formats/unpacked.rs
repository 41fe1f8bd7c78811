//! The folders, files and links that an archive unpacks to, in memory: member by member, as GNU tar writes them to disk. A later
//! member takes the place of an earlier one, a member below a link to a folder lies in that folder, and what tar leaves out is
//! left out and counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::notes::{Notes, reason};
use super::sparse::Holes;

/// Links that may lie on one path, as on a disk.
const MOST_LINKS: usize = 40;
/// Longest path, and longest part of one, as on a disk.
const MOST_PATH: usize = 4096;
const MOST_PART: usize = 255;

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
    pub looks: bool,
}

/// A folder: where it lies, and what it holds by name. Two names of one file, hard links, are one number.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// The folder around it, and its name there; none of the root.
    above: Option<(usize, String)>,
    pub inside: BTreeMap<String, usize>,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Node {
    Folder(Folder),
    File(Stored),
    /// A symbolic link.
    Link(String),
    /// What is not read, and why.
    Other(&'static str),
}

/// A member to be written.
pub(super) enum Member {
    Folder,
    Node(Node),
    /// A hard link to what has this path now.
    Same(String),
}

/// See the module.
pub(super) struct Unpacked {
    nodes: Vec<Node>,
    /// Links are being written: those that lead up or out are plain files until all is.
    writing: bool,
}

/// The number of the root.
pub(super) const ROOT: usize = 0;

/// A step of [`Unpacked::lead`] that is not taken, and why.
type Step<T> = Result<T, &'static str>;

impl Unpacked {
    /// Nothing yet.
    pub fn new() -> Self {
        Unpacked { nodes: vec![Node::Folder(Folder::default())], writing: true }
    }

    /// Says that all members are written: from now on all links lead somewhere.
    pub fn finish(&mut self) {
        self.writing = false;
    }

    /// What has this number.
    pub fn node(&self, id: usize) -> Option<&Node> {
        self.nodes.get(id)
    }

    fn folder(&self, id: usize) -> Option<&Folder> {
        match self.nodes.get(id) {
            Some(Node::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    /// The path of a folder, from the root, without a slash at either end.
    pub fn path(&self, folder: usize) -> String {
        let mut parts = Vec::new();
        let mut at = folder;
        while let Some((above, name)) = self.folder(at).and_then(|folder| folder.above.as_ref()) {
            parts.push(name.as_str());
            at = *above;
        }
        parts.reverse();
        parts.join("/")
    }

    /// Where `path` leads from a folder, behind all links, or why nowhere.
    pub fn lead(&self, folder: usize, path: &str) -> Step<usize> {
        let (mut at, mut links) = (folder, 0);
        let mut rest: Vec<&str> = vec![path];
        while let Some(path) = rest.pop() {
            // Part by part, so that what is left stays short however long a path is.
            let (part, behind) = path.split_once('/').map_or((path, None), |(part, rest)| (part, Some(rest)));
            rest.extend(behind);
            let here = self.folder(at).ok_or(reason::DANGLING)?;
            match part {
                "" | "." => {}
                ".." => at = here.above.as_ref().ok_or(reason::OUT)?.0,
                name => {
                    let next = *here.inside.get(name).ok_or(reason::DANGLING)?;
                    match self.node(next) {
                        Some(Node::Link(to)) => {
                            links += 1;
                            rest.push(self.target(to, links)?);
                        }
                        _ => at = next,
                    }
                }
            }
        }
        Ok(at)
    }

    /// What a link names, if it may be followed.
    fn target<'a>(&self, to: &'a str, links: usize) -> Step<&'a str> {
        if links > MOST_LINKS {
            return Err(reason::CIRCLE);
        }
        if to.starts_with('/') {
            return Err(reason::ABSOLUTE);
        }
        if to.len() > MOST_PATH {
            return Err(reason::DANGLING);
        }
        // Tar makes such links last, lest members be written through them to elsewhere.
        if self.writing && to.split('/').any(|part| part == "..") {
            return Err(reason::THROUGH);
        }
        Ok(to)
    }

    /// Writes a member; what is lost by that is counted under `place`.
    pub fn write(&mut self, name: &str, member: Member, notes: &mut Notes, place: &dyn Fn() -> String) {
        if name.split('/').any(|part| part == "..") {
            return notes.skip(reason::DOTS, place);
        }
        if name.len() > MOST_PATH || name.split('/').any(|part| part.len() > MOST_PART) {
            return notes.skip(reason::LONG, place);
        }
        let mut parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let Some(last) = parts.pop() else {
            return;
        };
        let written = self.around(&parts).and_then(|folder| match member {
            Member::Folder => self.put_folder(folder, last),
            Member::Node(node) => {
                let id = self.add(node);
                self.put(folder, last, id)
            }
            Member::Same(to) => {
                let id = self.linked(&to)?;
                // A file that is linked to itself stays.
                let same = self.folder(folder).and_then(|folder| folder.inside.get(last)) == Some(&id);
                if same { Ok(false) } else { self.put(folder, last, id) }
            }
        });
        match written {
            Ok(false) => {}
            Ok(true) => notes.skip(reason::REPLACED, place),
            Err(why) => notes.skip(why, place),
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The folder that these names lead to; those that are missing are made.
    fn around(&mut self, parts: &[&str]) -> Step<usize> {
        let mut at = ROOT;
        for part in parts {
            let here = self.folder(at).ok_or(reason::THROUGH)?;
            at = match here.inside.get(*part) {
                Some(id) if self.folder(*id).is_some() => *id,
                Some(_) => {
                    self.lead(at, part).ok().filter(|id| self.folder(*id).is_some()).ok_or(reason::THROUGH)?
                }
                None => self.make(at, part),
            };
        }
        Ok(at)
    }

    /// A new folder in another.
    fn make(&mut self, folder: usize, name: &str) -> usize {
        let id =
            self.add(Node::Folder(Folder { above: Some((folder, name.to_owned())), ..Folder::default() }));
        self.enter(folder, name, id);
        id
    }

    fn enter(&mut self, folder: usize, name: &str, id: usize) {
        if let Some(Node::Folder(folder)) = self.nodes.get_mut(folder) {
            folder.inside.insert(name.to_owned(), id);
        }
    }

    /// Writes a folder; whether it takes the place of something else.
    fn put_folder(&mut self, folder: usize, name: &str) -> Step<bool> {
        let before = self.folder(folder).and_then(|folder| folder.inside.get(name)).copied();
        match before {
            Some(id) if self.folder(id).is_some() => Ok(false),
            before => {
                self.make(folder, name);
                Ok(before.is_some())
            }
        }
    }

    /// Writes a file or a link; whether it takes the place of another.
    fn put(&mut self, folder: usize, name: &str, id: usize) -> Step<bool> {
        let before = self.folder(folder).and_then(|folder| folder.inside.get(name)).copied();
        let replaces = match before.and_then(|id| self.node(id)) {
            Some(Node::Folder(full)) if !full.inside.is_empty() => return Err(reason::FOLDER),
            Some(Node::Folder(_)) | None => false,
            Some(_) => true,
        };
        self.enter(folder, name, id);
        Ok(replaces)
    }

    /// What a hard link to this path is one with. Tar leaves out all up to the last `..`.
    fn linked(&self, to: &str) -> Step<usize> {
        let parts: Vec<&str> = to.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let start = parts.iter().rposition(|part| *part == "..").map_or(0, |at| at + 1);
        let (last, around) = parts[start..].split_last().ok_or(reason::DANGLING)?;
        let folder = self.folder(self.lead(ROOT, &around.join("/"))?).ok_or(reason::DANGLING)?;
        let id = *folder.inside.get(*last).ok_or(reason::DANGLING)?;
        if self.folder(id).is_some() { Err(reason::TO_FOLDER) } else { Ok(id) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Set(Unpacked, Notes);

    impl Set {
        fn new() -> Self {
            Set(Unpacked::new(), Notes::default())
        }

        fn write(&mut self, name: &str, member: Member) -> &mut Self {
            self.0.write(name, member, &mut self.1, &|| name.to_owned());
            self
        }

        fn file(&mut self, name: &str, offset: u64) -> &mut Self {
            let file = Stored { offset, size: 1, holes: None, looks: false };
            self.write(name, Member::Node(Node::File(file)))
        }

        fn link(&mut self, name: &str, to: &str) -> &mut Self {
            self.write(name, Member::Node(Node::Link(to.into())))
        }

        fn hard(&mut self, name: &str, to: &str) -> &mut Self {
            self.write(name, Member::Same(to.into()))
        }

        /// Where the file is that a path leads to.
        fn at(&self, path: &str) -> Step<u64> {
            match self.0.node(self.0.lead(ROOT, path)?) {
                Some(Node::File(file)) => Ok(file.offset),
                Some(Node::Folder(_)) => Ok(0),
                _ => Err("no file"),
            }
        }

        /// What was skipped: the reason of each, and how many.
        fn skipped(&self) -> Vec<(&'static str, usize)> {
            self.1.skipped.iter().map(|s| (s.reason, s.count)).collect()
        }
    }

    #[test]
    fn links_lead_where_they_lead_when_unpacked() {
        let mut set = Set::new();
        set.file("train/dog/0.png", 1).link("train/wolf", "dog").link("train/fox", "../train/./wolf");
        set.link("train/dog/1.png", "0.png").link("train/dog/2.png", "../wolf/1.png");
        set.link("train/dog/3.png", "/tmp/3.png").link("train/dog/4.png", "../../../x.png");
        set.link("train/dog/5.png", "none.png")
            .link("train/dog/6.png", "7.png")
            .link("train/dog/7.png", "6.png");
        set.link("deep/down", "../train/dog").link("train/dog/8.png", "../../deep/down/../dog/0.png");
        set.0.finish();
        assert_eq!(set.0.path(set.0.lead(ROOT, "train/fox").unwrap()), "train/dog");
        for same in ["train/fox/0.png", "train/dog/1.png", "train/dog/2.png", "train/dog/8.png"] {
            assert_eq!(set.at(same), Ok(1), "{same}");
        }
        let why = ["3", "4", "5", "6"].map(|n| set.at(&format!("train/dog/{n}.png")).unwrap_err());
        assert_eq!(why, [reason::ABSOLUTE, reason::OUT, reason::DANGLING, reason::CIRCLE]);
        assert!(set.1.is_empty());
    }

    #[test]
    fn later_members_take_the_place_of_earlier_ones() {
        let mut set = Set::new();
        set.file("a/0", 1).hard("a/kept", "a/0").file("a/0", 2).file("a", 3);
        assert_eq!((set.at("a/0"), set.at("a/kept")), (Ok(2), Ok(1)));
        assert_eq!(set.skipped(), [(reason::REPLACED, 1), (reason::FOLDER, 1)]);
        let mut set = Set::new();
        set.write("a", Member::Folder).file("a", 1).write("a", Member::Folder).file("a/0", 2);
        assert_eq!((set.at("a/0"), set.skipped()), (Ok(2), vec![(reason::REPLACED, 1)]));
    }

    #[test]
    fn members_are_written_through_links_but_not_out_of_them() {
        let mut set = Set::new();
        set.file("t/dog/0", 1).link("t/wolf", "dog").file("t/wolf/1", 2).hard("t/2", "t/wolf/1");
        assert_eq!((set.at("t/dog/1"), set.at("t/2")), (Ok(2), Ok(2)));
        assert!(set.1.is_empty());
        set.write("t/wolf", Member::Folder).file("t/wolf/3", 3);
        assert_eq!((set.at("t/dog/3"), set.at("t/wolf/3")), (Err(reason::DANGLING), Ok(3)));
        set.link("t/fox", "../t/dog")
            .file("t/fox/4", 4)
            .link("t/none", "x")
            .file("t/none/5", 5)
            .file("t/2/6", 6);
        assert_eq!(set.skipped(), [(reason::REPLACED, 1), (reason::THROUGH, 3)]);
        set.0.finish();
        assert_eq!((set.at("t/fox/0"), set.at("t/fox/4")), (Ok(1), Err(reason::DANGLING)));
    }

    #[test]
    fn what_tar_does_not_unpack_is_counted() {
        let mut set = Set::new();
        set.file("a/../b", 1)
            .file("../c", 1)
            .hard("b", "later")
            .file("later", 1)
            .hard("d", "a")
            .hard("e", "x/../later");
        set.write("f", Member::Folder).hard("g", "f").hard("later", "./later").file("/h/.//i", 2);
        assert_eq!((set.at("e"), set.at("h/i"), set.at("b")), (Ok(1), Ok(2), Err(reason::DANGLING)));
        assert_eq!(set.skipped(), [(reason::DOTS, 2), (reason::DANGLING, 2), (reason::TO_FOLDER, 1)]);
        let long = format!("{}/x", "n".repeat(MOST_PART + 1));
        set.file(&long, 1).file(&"a/".repeat(MOST_PATH), 1).file(&long[1..], 3);
        assert_eq!((set.at(&long[1..]), set.skipped().last()), (Ok(3), Some(&(reason::LONG, 2))));
        // A hard link that leads nowhere replaces nothing.
        set.hard("e", "none");
        assert_eq!(set.at("e"), Ok(1));
    }
}
