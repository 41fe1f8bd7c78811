//! The members of a tar archive, header by header: files, folders, links, files with holes, and the headers that give the next
//! member a long name. Nothing is put into memory because a header says so.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::class_names::readable;
use super::sparse::{Holes, number};

/// Longest name of a member.
const MOST_NAME: u64 = 16 << 10;
/// Longest pax header: a Mac puts previews into them.
const MOST_PAX: u64 = 4 << 20;

/// What archives are read from.
pub(super) trait ArchiveRead: Read {
    /// Passes over so many bytes, which may lie behind the end.
    ///
    /// # Errors
    /// When they cannot be passed.
    fn pass(&mut self, bytes: u64) -> io::Result<()>;
}

/// What a member is.
#[derive(Debug)]
pub(super) enum Type {
    /// A file.
    File,
    /// A file with holes.
    Sparse(Holes),
    /// A folder.
    Folder,
    /// A link to a path: a symbolic one is counted from where it lies, a hard one names an earlier member.
    Link {
        /// Whether it is a hard one.
        hard: bool,
        /// The path.
        to: String,
    },
    /// A device, a pipe.
    Other,
}

/// A member, as it is passed.
pub(super) struct Found<'a> {
    /// Its path, as it is written.
    pub name: String,
    /// What it is.
    pub what: Type,
    /// Where its bytes begin.
    pub offset: u64,
    /// Their number, as they are stored.
    pub size: u64,
    /// The bytes.
    pub content: &'a mut dyn Read,
}

/// Why a walk ended.
pub(super) enum End {
    /// At the empty block that ends an archive.
    Whole,
    /// Where the bytes end, without such a block.
    Without,
    /// `each` wanted no more.
    Stopped,
}

/// Hands on every member. `fits` says whether so many bytes from the beginning can be there.
///
/// # Errors
/// Damage; from `fits` and `each`, as they say.
pub(super) fn each_block<E: From<io::Error>>(
    source: &mut impl ArchiveRead,
    fits: &dyn Fn(u64, u64) -> Result<(), E>,
    each: &mut dyn FnMut(Found<'_>) -> Result<bool, E>,
) -> Result<End, E> {
    let (mut at, mut next) = (0_u64, Next::default());
    loop {
        let Some(header) = header(source, at)? else {
            return Ok(End::Without);
        };
        at += 512;
        if header.as_bytes().iter().all(|b| *b == 0) {
            return Ok(End::Whole);
        }
        let of = header.entry_type();
        let extension = is_extension(of);
        let mut size = header.entry_size()?;
        if !extension {
            size = next.size.take().unwrap_or(size);
        }
        fits(at, size)?;
        let padded = size.checked_next_multiple_of(512).unwrap_or(u64::MAX);
        let mut left = padded;
        if extension {
            left -= next.take(of, source, size)?;
        } else if is_about_archive(of) {
            next = Next::default();
        } else {
            let (name, what, begins) = member(&header, std::mem::take(&mut next), source, size)?;
            at = at.saturating_add(begins.before);
            left -= begins.within;
            let mut content = Read::take(&mut *source, left);
            let (offset, size) = (at.saturating_add(begins.within), size - begins.within);
            if !each(Found { name, what, offset, size, content: &mut content })? {
                return Ok(End::Stopped);
            }
            left = content.limit();
        }
        at = at.saturating_add(padded);
        source.pass(left)?;
    }
}

/// Whether a member only says something about the next.
fn is_extension(of: EntryType) -> bool {
    matches!(
        of,
        EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
    ) || of.as_byte() == SOLARIS
}

/// A pax header, as Solaris wrote it before there were any.
const SOLARIS: u8 = b'X';

/// Whether a member is no file but says what GNU tar calls the archive (`tar -V`).
fn is_about_archive(of: EntryType) -> bool {
    of.as_byte() == b'V'
}

/// The next header; nothing where the bytes end.
fn header(source: &mut impl Read, at: u64) -> io::Result<Option<Header>> {
    let mut header = Header::new_old();
    let mut filled = 0;
    while filled < 512 {
        match source.read(&mut header.as_mut_bytes()[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let bytes = header.as_bytes();
    if bytes.iter().all(|b| *b == 0) {
        return Ok(Some(header));
    }
    // The sum is made with spaces in its own place; very old programs added signed bytes.
    let counted = || bytes[..148].iter().chain(&[b' '; 8]).chain(&bytes[156..]);
    let unsigned: u32 = counted().map(|b| u32::from(*b)).sum();
    let signed: i32 = counted().map(|b| i32::from(*b as i8)).sum();
    let said = header.cksum().map_err(|_| damaged(at))?;
    match said == unsigned || i64::from(said) == i64::from(signed) {
        true => Ok(Some(header)),
        false => Err(damaged(at)),
    }
}

fn damaged(at: u64) -> io::Error {
    io::Error::other(format!("there is no header of a member at byte {at}, or its checksum is wrong"))
}

/// Bytes in front of a member's content that belong to its map: behind the header, and within what the header counts.
#[derive(Default)]
struct Begins {
    before: u64,
    within: u64,
}

/// Name and kind of a member.
fn member(
    header: &Header,
    next: Next,
    source: &mut impl Read,
    size: u64,
) -> io::Result<(String, Type, Begins)> {
    let name = next.name.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = || match &next.link {
        Some(link) => readable(link),
        None => header.link_name_bytes().map_or_else(String::new, |link| readable(&link)),
    };
    let (version_1, real, list) = (next.holes.version_1, next.holes.size, next.holes.list.as_slice());
    let mut begins = Begins::default();
    let what = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => match real {
            _ if name.ends_with(b"/") => Type::Folder,
            Some(real) if version_1 => {
                let (holes, bytes) = Holes::from_text(real, source, size)?;
                begins.within = bytes;
                Type::Sparse(holes)
            }
            Some(real) if !list.is_empty() => Type::Sparse(Holes::from_list(real, list, size)?),
            _ => Type::File,
        },
        EntryType::GNUSparse => {
            let (holes, bytes) = Holes::gnu(header, source, size)?;
            begins.before = bytes;
            Type::Sparse(holes)
        }
        // GNU's `D` is a folder with a list of its files.
        EntryType::Directory => Type::Folder,
        of if of.as_byte() == b'D' => Type::Folder,
        EntryType::Link => Type::Link { hard: true, to: link() },
        EntryType::Symlink => Type::Link { hard: false, to: link() },
        EntryType::Fifo | EntryType::Char | EntryType::Block => Type::Other,
        // The rest of a file in another archive.
        of if of.as_byte() == b'M' => Type::Other,
        // Tar unpacks kinds that it does not know as files.
        _ => Type::File,
    };
    Ok((readable(&name), what, begins))
}

/// What headers say about the member behind them.
#[derive(Default)]
struct Next {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    holes: PaxHoles,
}

/// What pax headers say of a file with holes.
#[derive(Default)]
struct PaxHoles {
    /// Whether the map is in the content.
    version_1: bool,
    /// Bytes of the whole file.
    size: Option<u64>,
    /// Else the map.
    list: Vec<u8>,
    /// The file's own name, where the member has another.
    name: Option<Vec<u8>>,
}

impl Next {
    /// Reads the content of a header of this kind; how many bytes were read.
    fn take(&mut self, of: EntryType, source: &mut impl Read, size: u64) -> io::Result<u64> {
        let most = match of {
            EntryType::XHeader => MOST_PAX,
            _ if of.as_byte() == SOLARIS => MOST_PAX,
            // It says something of all members, which no reader of images needs.
            EntryType::XGlobalHeader => return Ok(0),
            _ => MOST_NAME,
        };
        if size > most {
            return Err(io::Error::other("a name is longer than any can be"));
        }
        // Grows as bytes arrive.
        let mut text = Vec::new();
        let read = Read::take(source, size).read_to_end(&mut text)? as u64;
        if read < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match of {
            EntryType::GNULongName => self.name = Some(trimmed(text)),
            EntryType::GNULongLink => self.link = Some(trimmed(text)),
            _ => self.pax(&text)?,
        }
        Ok(read)
    }

    /// A pax header: records of `LENGTH KEY=VALUE` and a line feed. What follows a damaged record is passed over.
    fn pax(&mut self, mut text: &[u8]) -> io::Result<()> {
        while let Some((key, value, rest)) = record(text) {
            match key {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number(value)?),
                b"GNU.sparse.major" => self.holes.version_1 = value == b"1",
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.holes.size = Some(number(value)?),
                b"GNU.sparse.map" => self.holes.list = value.to_vec(),
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    if !self.holes.list.is_empty() {
                        self.holes.list.push(b',');
                    }
                    self.holes.list.extend(value);
                }
                b"GNU.sparse.name" => self.holes.name = Some(value.to_vec()),
                _ => {}
            }
            text = rest;
        }
        // The member's own name is a made-up one then.
        if let Some(name) = self.holes.name.take() {
            self.name = Some(name);
        }
        Ok(())
    }
}

/// Key, value and what follows.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let end = length.checked_sub(1)?;
    let inside = text.get(space + 1..end)?;
    if text.get(end) != Some(&b'\n') {
        return None;
    }
    let equals = inside.iter().position(|b| *b == b'=')?;
    Some((&inside[..equals], &inside[equals + 1..], text.get(length..)?))
}

fn trimmed(mut text: Vec<u8>) -> Vec<u8> {
    text.truncate(text.iter().position(|b| *b == 0).unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pax_name(text: &[u8]) -> Option<String> {
        let mut next = Next::default();
        next.pax(text).unwrap();
        next.name.map(|name| readable(&name))
    }

    #[test]
    fn names_are_found_in_pax_headers() {
        assert_eq!(pax_name(b"11 path=a/b\n"), None, "too short a length");
        assert_eq!(pax_name(b"12 path=a/b\n"), Some("a/b".into()));
        assert_eq!(pax_name(b"9 uid=17\n12 path=a/b\n"), Some("a/b".into()));
        assert_eq!(pax_name(b"12 path=a/b\n23 GNU.sparse.name=a/c\n"), Some("a/c".into()));
        for bad in
            ["", "x path=a\n", "0 path=a\n", "1 path=a\n", "99999999999999999999 path=a\n", "900 path=a\n"]
        {
            assert_eq!(pax_name(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(trimmed(b"name\0\0".to_vec()), b"name");
    }
}
