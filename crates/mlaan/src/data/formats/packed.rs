//! Images inside tar archives: found in one pass over the headers, and read where they lie.
//!
//! Out of an uncompressed archive an image is read like a file of its own; a compressed one is inflated from the front.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::super::decode::MAX_FILE;
use super::super::stored::{CHUNK, CHUNK_BYTES, Content, Raw, ReadAt, Scan};
use crate::{Error, Result};

/// Most members of an archive.
const MOST_MEMBERS: usize = 20_000_000;
/// Longest name of a member.
const MOST_NAME: u64 = 16 << 10;
/// How many times as long as an archive its content may be: images hardly compress.
const MOST_RATIO: u64 = 200;

/// A member of an archive, as it is passed.
pub(super) struct Member<'a> {
    /// Its path in the archive, without a leading `./`.
    pub name: &'a str,
    /// Where its bytes begin in the uncompressed archive.
    pub offset: u64,
    /// Their number.
    pub size: u64,
    content: &'a mut dyn Read,
}

impl Member<'_> {
    /// All its bytes, of which there may be `most`.
    ///
    /// # Errors
    /// When there are more, or the archive ends before.
    pub fn bytes(&mut self, most: u64) -> std::result::Result<Vec<u8>, String> {
        if self.size > most {
            return Err(format!("{} bytes, where at most {most} can be", self.size));
        }
        // Grows as bytes arrive: a header alone asks for nothing.
        let mut bytes = Vec::new();
        (&mut *self.content).take(self.size).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 == self.size { Ok(bytes) } else { Err("the archive ends within it".into()) }
    }
}

/// Whether a file's name is that of an archive that is read (`.tar`, `.tar.gz`, `.tgz`), and whether it is compressed.
pub(super) fn kind(path: &Path) -> Option<bool> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    if name.ends_with(".tar") {
        Some(false)
    } else {
        (name.ends_with(".tar.gz") || name.ends_with(".tgz")).then_some(true)
    }
}

/// Hands on all files of an archive, in order, until `each` says no more. Gives what was not read of a compressed one.
///
/// # Errors
/// When the archive is damaged, cut or beyond all bounds; from `each`.
pub(super) fn each_file(
    path: &Path,
    each: &mut dyn FnMut(Member<'_>) -> Result<bool>,
) -> Result<Box<dyn Read>> {
    let file = crate::files::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    if kind(path) == Some(true) {
        let most = size.saturating_mul(MOST_RATIO).saturating_add(1 << 20);
        let content = Bounded { content: MultiGzDecoder::new(BufReader::new(file)), left: most };
        let mut archive = Archive::new(content);
        let entries = archive.entries().map_err(|e| damaged(path, &e))?;
        let all = walk(path, entries.raw(true), None, each)?;
        let mut rest = archive.into_inner();
        if all {
            // What follows holds the checksum of all.
            io::copy(&mut rest, &mut io::sink()).map_err(|e| damaged(path, &e))?;
        }
        return Ok(Box::new(rest));
    }
    let mut archive = Archive::new(BufReader::new(file));
    let entries = archive.entries_with_seek().map_err(|e| damaged(path, &e))?;
    walk(path, entries.raw(true), Some(size), each)?;
    Ok(Box::new(io::empty()))
}

/// Whether all members were passed. Long names come as members of their own before the member; they are put together
/// here, so that no header can ask for all memory.
fn walk<'a, R: Read + 'a>(
    path: &Path,
    entries: impl Iterator<Item = io::Result<Entry<'a, R>>>,
    size: Option<u64>,
    each: &mut dyn FnMut(Member<'_>) -> Result<bool>,
) -> Result<bool> {
    let place = || path.display().to_string();
    let mut long_name: Option<String> = None;
    let mut end = 0;
    for (count, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|e| damaged(path, &e))?;
        let (offset, length) = (entry.raw_file_position(), entry.size());
        if count >= MOST_MEMBERS {
            return Err(Error::data(
                place(),
                format!("more than {MOST_MEMBERS} members: split it into shards"),
            ));
        }
        end = offset.saturating_add(length.checked_next_multiple_of(512).unwrap_or(u64::MAX));
        if size.is_some_and(|size| end > size) {
            return Err(cut(path, &format!("the member at byte {offset} has {length} bytes")));
        }
        let kind = entry.header().entry_type();
        match kind {
            EntryType::GNULongName | EntryType::XHeader => {
                let text = short(&mut entry, length).map_err(|e| damaged(path, &e))?;
                let name = if kind == EntryType::XHeader { pax_name(&text) } else { Some(trimmed(&text)) };
                long_name = name.or(long_name);
                continue;
            }
            EntryType::Regular | EntryType::Continuous => {}
            // Folders, links; headers for all that follows.
            EntryType::XGlobalHeader | EntryType::GNULongLink => continue,
            _ => {
                long_name = None;
                continue;
            }
        }
        let name =
            long_name.take().unwrap_or_else(|| String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let name = name.trim_start_matches("./");
        if !each(Member { name, offset, size: length, content: &mut entry })? {
            return Ok(false);
        }
    }
    // An archive ends with an empty block; one that was cut between two members does not.
    if size.is_some_and(|size| end + 512 > size) {
        return Err(cut(path, "there is no end to it"));
    }
    Ok(true)
}

fn short(entry: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(MOST_NAME.min(length)).read_to_end(&mut text)?;
    if length > MOST_NAME { Err(io::Error::other("a name is longer than any can be")) } else { Ok(text) }
}

fn trimmed(text: &[u8]) -> String {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    String::from_utf8_lossy(&text[..end]).into_owned()
}

/// The path in a pax header: records of `LENGTH KEY=VALUE` and a line feed.
fn pax_name(mut text: &[u8]) -> Option<String> {
    let mut name = None;
    while let Some(space) = text.iter().position(|b| *b == b' ') {
        let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
        let end = length.checked_sub(1)?;
        let record = text.get(space + 1..end)?;
        if text.get(end) != Some(&b'\n') {
            return None;
        }
        if let Some(value) = record.strip_prefix(b"path=") {
            name = Some(String::from_utf8_lossy(value).into_owned());
        }
        text = text.get(length..)?;
    }
    name
}

pub(super) fn damaged(path: &Path, error: &io::Error) -> Error {
    let message = format!("cannot be read as an archive ({error}): if it is damaged or cut, fetch it again");
    Error::data(path.display().to_string(), message)
}

fn cut(path: &Path, what: &str) -> Error {
    Error::data(path.display().to_string(), format!("the archive is cut ({what}): fetch it again"))
}

/// Stops inflating what is no data set.
struct Bounded<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other(format!("its content is more than {MOST_RATIO} times as long, as no images are"))
        })?;
        Ok(read)
    }
}

/// An image in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Which archive.
    pub archive: u32,
    /// Where it begins there, uncompressed.
    pub offset: u64,
    /// Its bytes.
    pub size: u64,
    /// What it is called there.
    pub name: String,
}

/// The images of a split that lie in archives. For [`Scan`] they are in the order of archives and offsets.
pub(super) struct Packed {
    /// The archives.
    pub archives: Vec<PathBuf>,
    /// The images.
    pub items: Vec<Item>,
}

impl Packed {
    fn place(&self, item: &Item) -> String {
        let archive =
            self.archives.get(item.archive as usize).map_or_else(String::new, |p| p.display().to_string());
        format!("{archive}, {}", item.name)
    }

    fn item_name(&self, index: usize) -> String {
        self.items.get(index).map_or_else(String::new, |item| self.place(item))
    }
}

impl ReadAt for Packed {
    fn name(&self, index: usize) -> String {
        self.item_name(index)
    }

    fn read(&self, index: usize, bytes: &mut Vec<u8>) -> std::result::Result<Content, String> {
        let item = self.items.get(index).ok_or("no such image")?;
        let archive = self.archives.get(item.archive as usize).ok_or("no such archive")?;
        if item.size > MAX_FILE {
            return Err(format!("{} MiB is too large for an image", item.size >> 20));
        }
        let mut file = crate::files::open(archive).map_err(|e| e.to_string())?;
        file.seek(SeekFrom::Start(item.offset)).map_err(|e| e.to_string())?;
        bytes.clear();
        file.take(item.size).read_to_end(bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 == item.size {
            Ok(Content::Encoded)
        } else {
            Err("the archive ends within it".into())
        }
    }
}

impl Scan for Packed {
    fn name(&self, index: usize) -> String {
        self.item_name(index)
    }

    fn scan(&self, indices: &[usize], each: &mut dyn FnMut(Vec<Raw>) -> Result<()>) -> Result<()> {
        let mut wanted = indices.iter().filter_map(|&i| Some((i, self.items.get(i)?))).peekable();
        let (mut pending, mut held) = (Vec::new(), 0);
        while let Some(archive) = wanted.peek().map(|(_, item)| item.archive) {
            let Some(path) = self.archives.get(archive as usize) else {
                break;
            };
            each_file(path, &mut |mut member| {
                let next =
                    |(_, item): &(usize, &Item)| item.archive == archive && item.offset == member.offset;
                if let Some((index, _)) = wanted.next_if(next) {
                    let (content, bytes) = match member.bytes(MAX_FILE) {
                        Ok(bytes) => (Ok(Content::Encoded), bytes),
                        Err(message) => (Err(message), Vec::new()),
                    };
                    held += bytes.len();
                    pending.push(Raw { index, content, bytes });
                }
                if pending.len() == CHUNK || held > CHUNK_BYTES {
                    each(std::mem::take(&mut pending))?;
                    held = 0;
                }
                Ok(wanted.peek().is_some_and(|(_, item)| item.archive == archive))
            })?;
            if wanted.peek().is_some_and(|(_, item)| item.archive == archive) {
                return Err(Error::data(
                    path.display().to_string(),
                    "the archive has changed while it was read",
                ));
            }
        }
        if pending.is_empty() { Ok(()) } else { each(pending) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_pax_headers() {
        assert_eq!(pax_name(b"11 path=a/b\n"), None, "too short a length");
        assert_eq!(pax_name(b"12 path=a/b\n"), Some("a/b".into()));
        assert_eq!(pax_name(b"9 uid=17\n12 path=a/b\n"), Some("a/b".into()));
        for bad in
            ["", "x path=a\n", "0 path=a\n", "1 path=a\n", "99999999999999999999 path=a\n", "900 path=a\n"]
        {
            assert_eq!(pax_name(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(trimmed(b"name\0\0"), "name");
    }

    #[test]
    fn archives_are_told_by_their_names() {
        let kind = |name: &str| kind(Path::new(name));
        assert_eq!((kind("a.tar"), kind("b/A.TAR.GZ"), kind("a.tgz")), (Some(false), Some(true), Some(true)));
        assert_eq!((kind("a.zip"), kind("tar"), kind("a.tar.xz")), (None, None, None));
    }
}
