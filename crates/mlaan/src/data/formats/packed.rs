//! Images inside tar archives: found in one pass over the headers, and read where they lie.
//!
//! Out of an uncompressed archive an image is read like a file of its own; a compressed one is inflated from the front.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use super::super::decode::{MAX_FILE, fetched};
use super::super::stored::{CHUNK, CHUNK_BYTES, Content, Raw, ReadAt, Scan};
use super::blocks::{ArchiveRead, End, Found, Type, each_block};
use super::sparse::Holes;
use crate::{Error, Result};

/// Most members of an archive.
const MOST_MEMBERS: usize = 20_000_000;
/// Bytes behind the end of an archive that are looked at: tar fills it up to 10 KiB.
const MOST_ZEROS: u64 = 1 << 20;
/// How many times as long as an archive its content may be: images hardly compress.
const MOST_RATIO: u64 = 200;

/// A member of an archive, as it is passed.
pub(super) struct Member<'a> {
    /// Its path in the archive, without a leading `./`.
    pub name: &'a str,
    /// Bytes in it.
    pub size: u64,
    content: &'a mut dyn Read,
}

impl Member<'_> {
    /// All its bytes, of which there may be `most`.
    ///
    /// # Errors
    /// When there are more, or the archive ends before.
    pub fn bytes(&mut self, most: u64) -> std::result::Result<Vec<u8>, String> {
        read_bytes(&mut self.content, self.size, most)
    }
}

/// The `size` bytes of a member, of which there may be `most`.
///
/// # Errors
/// When there are more, or the archive ends before.
pub(super) fn read_bytes(
    content: &mut impl Read,
    size: u64,
    most: u64,
) -> std::result::Result<Vec<u8>, String> {
    if size > most {
        return Err(format!("{size} bytes, where at most {most} can be"));
    }
    // Grows as bytes arrive: a header alone asks for nothing.
    let mut bytes = Vec::new();
    content.take(size).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err("the archive ends within it".into()) }
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

/// How a walk over an archive ended.
pub(super) struct Walked {
    /// What was not read of a compressed one.
    pub rest: Box<dyn Read>,
    /// What is to be said of its end.
    pub remark: Option<String>,
}

/// Hands on all files of an archive, in order, until `each` says no more; links and files with holes are passed over.
///
/// # Errors
/// When the archive is damaged, cut or beyond all bounds; from `each`.
pub(super) fn each_file(path: &Path, each: &mut dyn FnMut(Member<'_>) -> Result<bool>) -> Result<Walked> {
    each_member(path, &mut |found| match found.what {
        Type::File => {
            let name = found.name.trim_start_matches("./");
            each(Member { name, size: found.size, content: found.content })
        }
        _ => Ok(true),
    })
}

/// Hands on all members of an archive, in order, until `each` says no more.
///
/// # Errors
/// When the archive is damaged, cut or beyond all bounds; from `each`.
pub(super) fn each_member(path: &Path, each: &mut dyn FnMut(Found<'_>) -> Result<bool>) -> Result<Walked> {
    fetched(path)?;
    let file = crate::files::open(path).map_err(Error::io(path))?;
    let size = file.metadata().map_err(Error::io(path))?.len();
    if kind(path) == Some(true) {
        let most = size.saturating_mul(MOST_RATIO).saturating_add(1 << 20);
        let mut content = Bounded { content: MultiGzDecoder::new(BufReader::new(file)), left: most };
        let remark = match walk(path, &mut content, None, each)? {
            End::Stopped => None,
            // What follows holds the checksum of all, which says that it was not cut.
            _ => more(&mut content, u64::MAX).map_err(|e| damaged(path, &e))?.then(|| beyond(path)),
        };
        return Ok(Walked { rest: Box::new(content), remark });
    }
    let mut content = BufReader::new(file);
    let remark = match walk(path, &mut content, Some(size), each)? {
        End::Stopped => None,
        End::Whole => more(&mut content, MOST_ZEROS).map_err(Error::io(path))?.then(|| beyond(path)),
        End::Without if size == 0 => return Err(cut(path, "it is empty")),
        End::Without => Some(format!(
            "{} has no mark at its end: as tar does, all up to there is read, and whether members were cut off behind it cannot \
             be told",
            path.display()
        )),
    };
    Ok(Walked { rest: Box::new(io::empty()), remark })
}

/// Whether anything but zeros follows, in so many bytes.
fn more(content: &mut impl Read, most: u64) -> io::Result<bool> {
    let (mut content, mut buffer, mut found) = (content.take(most), [0; 8192], false);
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(found),
            read => found |= buffer[..read].iter().any(|byte| *byte != 0),
        }
    }
}

fn beyond(path: &Path) -> String {
    format!(
        "more lies behind the end of {} and is not read, as by tar: of archives that were put together with `cat` only the first \
         counts; `tar -A` joins them",
        path.display()
    )
}

fn walk(
    path: &Path,
    source: &mut impl ArchiveRead,
    size: Option<u64>,
    each: &mut dyn FnMut(Found<'_>) -> Result<bool>,
) -> Result<End> {
    let mut count = 0;
    let fits = |offset: u64, length: u64| {
        let end = offset.saturating_add(length.checked_next_multiple_of(512).unwrap_or(u64::MAX));
        match size.is_some_and(|size| end > size) {
            true => Err(cut(path, &format!("the member at byte {offset} has {length} bytes")).into()),
            false => Ok(()),
        }
    };
    let mut bounded = |found: Found<'_>| {
        count += 1;
        if count > MOST_MEMBERS {
            let message = format!("more than {MOST_MEMBERS} members: split it into shards");
            return Err(Error::data(path.display().to_string(), message).into());
        }
        each(found).map_err(Stop::Own)
    };
    each_block(source, &fits, &mut bounded).map_err(|stop| match stop {
        Stop::Own(error) => error,
        Stop::Read(e) if size.is_some() && e.kind() == io::ErrorKind::UnexpectedEof => {
            cut(path, "it ends within a header")
        }
        Stop::Read(e) => damaged(path, &e),
    })
}

/// Why a walk ended early.
enum Stop {
    Own(Error),
    Read(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Read(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Own(error)
    }
}

impl ArchiveRead for BufReader<File> {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        self.seek_relative(i64::try_from(bytes).map_err(io::Error::other)?)
    }
}

impl<R: Read> ArchiveRead for Bounded<R> {
    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        match io::copy(&mut Read::take(&mut *self, bytes), &mut io::sink())? == bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
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
    /// Where its bytes belong, if it has holes.
    pub holes: Option<Arc<Holes>>,
}

impl Item {
    /// The image, of the bytes that are stored of it.
    fn whole(&self, stored: &mut Vec<u8>) -> std::result::Result<Content, String> {
        if let Some(holes) = &self.holes {
            *stored = holes.fill(stored, MAX_FILE)?;
        }
        Ok(Content::Encoded)
    }
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
            item.whole(bytes)
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
            each_member(path, &mut |mut found| {
                let here = |item: &Item| item.archive == archive && item.offset == found.offset;
                let mut read: Option<std::result::Result<Vec<u8>, String>> = None;
                // Several images may be links to one file.
                while let Some((index, item)) = wanted.next_if(|(_, item)| here(item)) {
                    let content =
                        read.get_or_insert_with(|| read_bytes(&mut found.content, item.size, MAX_FILE));
                    let (content, bytes) = match content.clone() {
                        Ok(mut bytes) => (item.whole(&mut bytes), bytes),
                        Err(message) => (Err(message), Vec::new()),
                    };
                    held += bytes.len();
                    pending.push(Raw { index, content, bytes });
                    if pending.len() == CHUNK || held > CHUNK_BYTES {
                        each(std::mem::take(&mut pending))?;
                        held = 0;
                    }
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
    fn archives_are_told_by_their_names() {
        let kind = |name: &str| kind(Path::new(name));
        assert_eq!((kind("a.tar"), kind("b/A.TAR.GZ"), kind("a.tgz")), (Some(false), Some(true), Some(true)));
        assert_eq!((kind("a.zip"), kind("tar"), kind("a.tar.xz")), (None, None, None));
    }
}
