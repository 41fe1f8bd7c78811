//! A tar archive as the folder that it unpacks to: what it holds is looked at as on a disk, and read where it lies.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::is_image;
use super::super::notes::{Notes, reason};
use super::blocks::{Found, Type};
use super::names::unmarked;
use super::packed::{Item, each_member, read_bytes};
use super::tree::{Entry, EntryKind, Tree, left_behind, of_file};
use super::unpacked::{Member, Node, Stored, Unpacked};
use crate::{Error, Result};

/// Longest list that is read out of an archive.
const MOST_TEXT: u64 = 64 << 20;

/// See the module.
pub(super) struct Archive {
    path: PathBuf,
    unpacked: Unpacked,
    /// What was not read.
    pub notes: Notes,
}

/// A place in an archive: how one came there, and what is there behind all links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    /// As it is called.
    pub shown: String,
    real: usize,
}

impl Archive {
    /// All members of an archive.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let (mut unpacked, mut notes) = (Unpacked::new(), Notes::default());
        let walked = each_member(path, &mut |found| {
            let name = found.name.clone();
            let place = || format!("{}, {name}", path.display());
            unpacked.write(&name, member(found), &mut notes, &place);
            Ok(true)
        })?;
        unpacked.finish();
        walked.remark.into_iter().for_each(|text| notes.remark(text));
        Ok(Archive { path: path.into(), unpacked, notes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An image there.
    pub fn item(&self, at: &At) -> Option<Item> {
        let Some(Node::File(file)) = self.unpacked.node(at.real) else {
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
            .filter(|e| e.kind == EntryKind::Folder && !left_behind(&e.name))
            .map(|e| e.at)
            .collect()
    }

    fn entry(&self, folder: &At, name: &str, id: usize) -> Entry<At> {
        let shown =
            if folder.shown.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.shown) };
        let (mut real, mut why) = (id, reason::DANGLING);
        if let Some(Node::Link(_)) = self.unpacked.node(id) {
            match self.unpacked.lead(folder.real, name) {
                Ok(id) => real = id,
                Err(reason) => why = reason,
            }
        }
        let kind = match self.unpacked.node(real) {
            Some(Node::Folder(_)) => EntryKind::Folder,
            Some(Node::File(file)) => of_file(name, || file.looks),
            Some(Node::Other(why)) => EntryKind::Other(why),
            Some(Node::Link(_)) | None => EntryKind::Other(why),
        };
        Entry { name: name.to_owned(), at: At { shown, real }, kind }
    }
}

/// What a member is to be written as.
fn member(found: Found<'_>) -> Member {
    let (offset, size) = (found.offset, found.size);
    // By its first bytes, whatever its name is: links of other names may lead to it.
    let mut head = Vec::new();
    let read = found.content.take(size.min(is_image::HEAD as u64)).read_to_end(&mut head);
    let looks = |head: &[u8]| read.is_ok() && is_image::by_content(head);
    Member::Node(match found.what {
        Type::Folder => return Member::Folder,
        Type::Link { hard: true, to } => return Member::Same(to),
        Type::Link { hard: false, to } => Node::Link(to),
        Type::File => Node::File(Stored { offset, size, holes: None, looks: looks(&head) }),
        Type::Sparse(holes) => {
            let looks = looks(&holes.begin(&head, is_image::HEAD));
            Node::File(Stored { offset, size, holes: Some(Arc::new(holes)), looks })
        }
        Type::Other => Node::Other(reason::SPECIAL),
    })
}

impl Tree for Archive {
    type At = At;

    fn entries(&self, at: &At) -> Result<Vec<Entry<At>>> {
        let Some(Node::Folder(folder)) = self.unpacked.node(at.real) else {
            return Ok(Vec::new());
        };
        Ok(folder.inside.iter().map(|(name, id)| self.entry(at, name, *id)).collect())
    }

    fn place(&self, at: &At) -> String {
        match at.shown.is_empty() {
            true => self.path.display().to_string(),
            false => format!("{}, {}", self.path.display(), at.shown),
        }
    }

    fn real(&self, at: &At) -> PathBuf {
        // One that begins at the root, so that the archive itself is above all.
        Path::new("/").join(self.unpacked.path(at.real))
    }

    fn text(&self, at: &At) -> Result<String> {
        let Some(Node::File(file)) = self.unpacked.node(at.real) else {
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
