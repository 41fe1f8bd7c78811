//! MATLAB's files of version 5: where variables lie in one, and the bytes of one as a stream.
//!
//! A file is a header and elements; each is a variable, usually compressed on its own. Only the beginnings are read
//! to list them, so a variable of any size costs nothing until its values are streamed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::super::decode::fetched;
use crate::{Error, Result};

/// Most dimensions of a variable.
const MAX_DIMS: u32 = 32;
/// Longest name of a variable.
const MAX_NAME: u32 = 256;
/// Most variables of a file; more are no data set.
const MAX_VARIABLES: usize = 1000;
/// How many times as long as its bytes the content of a zlib stream can be at most.
const MAX_RATIO: u64 = 1040;

/// Element types, as they are numbered in the file.
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// Where a variable lies and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    /// Its name.
    pub name: String,
    /// Its dimensions, the fastest first.
    pub dims: Vec<u64>,
    /// What its values are stored as.
    pub kind: NumberType,
    /// Bytes of its values.
    pub bytes: u64,
    /// Where its element's content begins in the file, and its length there.
    element: (u64, u64),
    compressed: bool,
}

/// What values are stored as, whatever the variable's class in MATLAB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberType {
    /// Whole numbers with a sign, of so many bytes.
    Signed(usize),
    /// Whole numbers without a sign, of so many bytes.
    Unsigned(usize),
    /// 32 bits.
    Single,
    /// 64 bits.
    Double,
}

impl NumberType {
    fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 => NumberType::Signed(1),
            2 => NumberType::Unsigned(1),
            3 => NumberType::Signed(2),
            4 => NumberType::Unsigned(2),
            5 => NumberType::Signed(4),
            6 => NumberType::Unsigned(4),
            7 => NumberType::Single,
            9 => NumberType::Double,
            12 => NumberType::Signed(8),
            13 => NumberType::Unsigned(8),
            _ => return None,
        })
    }

    /// Bytes of a value.
    pub fn size(self) -> usize {
        match self {
            NumberType::Signed(n) | NumberType::Unsigned(n) => n,
            NumberType::Single => 4,
            NumberType::Double => 8,
        }
    }
}

impl Variable {
    /// Number of values.
    pub fn len(&self) -> u64 {
        self.bytes / self.kind.size() as u64
    }
}

/// A file of version 5.
#[derive(Clone, Debug)]
pub(super) struct Mat {
    path: PathBuf,
    /// Whether numbers begin with their highest byte.
    big: bool,
    /// The variables that hold numbers, in the file's order.
    pub variables: Vec<Variable>,
}

impl Mat {
    /// Lists what is in the file.
    ///
    /// # Errors
    /// When it is of another version, cut, or damaged; names the offset.
    pub fn open(path: &Path) -> Result<Self> {
        fetched(path)?;
        let mut file = crate::files::open(path).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        let big = header(&mut file).map_err(|message| at(path, 0, &message))?;
        let mut mat = Mat { path: path.into(), big, variables: Vec::new() };
        let mut offset = 128;
        while offset < size {
            let (element, next) = mat.element(&mut file, offset, size).map_err(|m| at(path, offset, &m))?;
            mat.variables.extend(element);
            if mat.variables.len() > MAX_VARIABLES {
                return Err(at(path, offset, "more variables than any data set has"));
            }
            offset = next;
        }
        Ok(mat)
    }

    /// The variable of that name.
    ///
    /// # Errors
    /// When there is none; names those that are there.
    pub fn variable(&self, name: &str) -> Result<&Variable> {
        self.variables.iter().find(|v| v.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.variables.iter().map(|v| v.name.as_str()).take(6).collect();
            let found = if names.is_empty() { "no variable with numbers".into() } else { names.join(", ") };
            Error::data(self.path.display().to_string(), format!("has no variable `{name}` (found {found})"))
        })
    }

    /// The bytes of the variable's values, from the first on.
    ///
    /// # Errors
    /// When the file has changed or cannot be read.
    pub fn bytes(&self, variable: &Variable) -> Result<impl Read + use<>> {
        let (offset, length) = variable.element;
        let opened = crate::files::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        });
        let file = opened.map_err(Error::io(&self.path))?;
        let mut content = Content::new(BufReader::new(file), length, variable.compressed);
        let begun = begin(&mut content, self.big, most(length, variable.compressed));
        match begun.map_err(|message| at(&self.path, offset, &message))? {
            Some(found) if found.bytes == variable.bytes => {
                let rest = content.take(found.bytes - found.small.len() as u64);
                Ok(io::Cursor::new(found.small).chain(rest))
            }
            _ => Err(at(&self.path, offset, "the file has changed while it was read")),
        }
    }

    /// All values, which must be whole numbers (also where they are stored as floating-point ones).
    ///
    /// # Errors
    /// When one is not, or the file is damaged.
    pub fn whole_numbers(&self, variable: &Variable) -> Result<Vec<i64>> {
        let mut bytes = self.bytes(variable)?;
        let (mut values, mut raw) = (Vec::new(), [0; 8]);
        for i in 0..variable.len() {
            let raw = &mut raw[..variable.kind.size()];
            bytes.read_exact(raw).map_err(|e| at(&self.path, variable.element.0, &ends(&e)))?;
            if self.big {
                raw.reverse();
            }
            values.push(whole(raw, variable.kind).ok_or_else(|| {
                let place = format!("{}, `{}`, value {i}", self.path.display(), variable.name);
                Error::data(place, "is not a whole number")
            })?);
        }
        Ok(values)
    }

    /// The variable in the element at `offset`, if it holds numbers, and where the next element is.
    fn element(
        &self,
        file: &mut File,
        offset: u64,
        size: u64,
    ) -> std::result::Result<(Option<Variable>, u64), String> {
        file.seek(SeekFrom::Start(offset)).map_err(|e| e.to_string())?;
        let mut tag = [0; 8];
        file.read_exact(&mut tag).map_err(|e| ends(&e))?;
        let [kind, length] = self.numbers(tag);
        let (begin_at, length) = (offset + 8, u64::from(length));
        if length > size - begin_at {
            let here = size - begin_at;
            return Err(format!(
                "a variable of {length} bytes, but only {here} are left: the file is cut; get it again"
            ));
        }
        // Compressed elements follow each other without padding.
        let next = begin_at + if kind == COMPRESSED { length } else { length.next_multiple_of(8) };
        if kind != COMPRESSED && kind != MATRIX {
            return Ok((None, next));
        }
        let compressed = kind == COMPRESSED;
        let mut content = Content::new(BufReader::new(&mut *file), length, compressed);
        let found = begin(&mut content, self.big, most(length, compressed))?;
        let variable = |found: Found| Variable {
            name: found.name,
            dims: found.dims,
            kind: found.kind,
            bytes: found.bytes,
            element: (begin_at, length),
            compressed,
        };
        Ok((found.map(variable), next))
    }

    fn numbers(&self, raw: [u8; 8]) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = raw;
        [number(self.big, [a, b, c, d]), number(self.big, [e, f, g, h])]
    }
}

/// The content of an element, inflated if need be.
enum Content<R: Read> {
    Plain(Take<R>),
    Compressed(Box<ZlibDecoder<Take<R>>>),
}

impl<R: Read> Content<R> {
    fn new(reader: R, length: u64, compressed: bool) -> Self {
        let reader = reader.take(length);
        if compressed {
            Content::Compressed(Box::new(ZlibDecoder::new(reader)))
        } else {
            Content::Plain(reader)
        }
    }

    fn is_compressed(&self) -> bool {
        matches!(self, Content::Compressed(_))
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Plain(reader) => reader.read(buffer),
            Content::Compressed(reader) => reader.read(buffer),
        }
    }
}

/// What the beginning of a variable says.
struct Found {
    name: String,
    dims: Vec<u64>,
    kind: NumberType,
    bytes: u64,
    /// The values, where they lie in the tag itself.
    small: Vec<u8>,
}

/// Reads up to the values of a variable; nothing where it does not hold real numbers. Of `most` bytes at the most its
/// values can be.
fn begin<R: Read>(
    content: &mut Content<R>,
    big: bool,
    most: u64,
) -> std::result::Result<Option<Found>, String> {
    if content.is_compressed() {
        let tag = Tag::read(content, big)?;
        if tag.kind != MATRIX {
            return Ok(None);
        }
    }
    let flags = Tag::read(content, big)?.content(content, 8)?;
    // The class is the first number's lowest byte: 6 to 15 are arrays of numbers. Complex ones have a second part.
    let flags = match flags[..] {
        [a, b, c, d, ..] => number(big, [a, b, c, d]),
        _ => return Err("a variable without a class: the file is damaged".into()),
    };
    let dims = Tag::read(content, big)?.content(content, 4 * MAX_DIMS)?;
    let dims: Vec<u64> =
        dims.chunks_exact(4).map(|d| u64::from(number(big, [d[0], d[1], d[2], d[3]]))).collect();
    let name = Tag::read(content, big)?.content(content, MAX_NAME)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    if !(6..=15).contains(&(flags & 0xFF)) || flags & 0x0800 != 0 {
        return Ok(None);
    }
    let tag = Tag::read(content, big)?;
    let Some(kind) = NumberType::of(tag.kind) else {
        return Err(format!("`{name}` has values of the unknown type {}: the file is damaged", tag.kind));
    };
    let values = dims.iter().try_fold(kind.size() as u64, |all, dim| all.checked_mul(*dim));
    let bytes = u64::from(tag.length);
    if values != Some(bytes) || bytes > most {
        return Err(format!("`{name}` is said to be of {dims:?} values in {bytes} bytes, which cannot be"));
    }
    let small = tag.small.map_or_else(Vec::new, |small| small[..tag.length as usize].to_vec());
    Ok(Some(Found { name, dims, kind, bytes, small }))
}

/// The beginning of a part of a variable.
struct Tag {
    kind: u32,
    length: u32,
    /// Up to four bytes of content lie in the tag.
    small: Option<[u8; 4]>,
}

impl Tag {
    fn read(content: &mut impl Read, big: bool) -> std::result::Result<Self, String> {
        let mut raw = [0; 8];
        content.read_exact(&mut raw).map_err(|e| ends(&e))?;
        let [a, b, c, d, e, f, g, h] = raw;
        let first = number(big, [a, b, c, d]);
        if first >> 16 == 0 {
            return Ok(Tag { kind: first, length: number(big, [e, f, g, h]), small: None });
        }
        match first >> 16 {
            length @ 1..=4 => Ok(Tag { kind: first & 0xFFFF, length, small: Some([e, f, g, h]) }),
            length => Err(format!("a small part of {length} bytes, which cannot be: the file is damaged")),
        }
    }

    /// The content, of at most `most` bytes, and what pads it.
    fn content(&self, content: &mut impl Read, most: u32) -> std::result::Result<Vec<u8>, String> {
        if let Some(small) = self.small {
            return Ok(small[..self.length as usize].to_vec());
        }
        if self.length > most {
            return Err(format!(
                "a part of {} bytes where at most {most} can be: the file is damaged",
                self.length
            ));
        }
        let mut bytes = vec![0; self.length.next_multiple_of(8) as usize];
        content.read_exact(&mut bytes).map_err(|e| ends(&e))?;
        bytes.truncate(self.length as usize);
        Ok(bytes)
    }
}

/// Reads the header; whether numbers begin with their highest byte.
pub(super) fn header(file: &mut impl Read) -> std::result::Result<bool, String> {
    let resave = "save it again in version 5 (in MATLAB `save -v7`, in Python `scipy.io.savemat`)";
    let mut header = [0; 128];
    file.read_exact(&mut header).map_err(|_| "too short for a MATLAB file: get it again".to_owned())?;
    if header.starts_with(b"\x89HDF") || header.starts_with(b"MATLAB 7.3") {
        return Err(format!("this is a MATLAB file of version 7.3 (HDF5), which is not read: {resave}"));
    }
    let big = match &header[126..] {
        b"IM" => false,
        b"MI" => true,
        _ if header[..4].contains(&0) => {
            return Err(format!("not a MATLAB file of version 5 (perhaps version 4): {resave}"));
        }
        _ => return Err("not a MATLAB file of version 5: get it again".into()),
    };
    let version = if big { header[124] } else { header[125] };
    match version {
        1 => Ok(big),
        2 => Err(format!("this is a MATLAB file of version 7.3 (HDF5), which is not read: {resave}")),
        other => Err(format!("a MATLAB file of the unknown version {other}: {resave}")),
    }
}

/// Bytes that an element's content can have at the most.
fn most(length: u64, compressed: bool) -> u64 {
    if compressed { length.saturating_mul(MAX_RATIO) } else { length }
}

fn number(big: bool, raw: [u8; 4]) -> u32 {
    if big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
}

/// A value, of its bytes from the lowest to the highest.
fn whole(raw: &[u8], kind: NumberType) -> Option<i64> {
    let real = |value: f64| (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64);
    match kind {
        NumberType::Single => real(f64::from(f32::from_le_bytes(raw.try_into().ok()?))),
        NumberType::Double => real(f64::from_le_bytes(raw.try_into().ok()?)),
        NumberType::Signed(n) | NumberType::Unsigned(n) => {
            let negative = matches!(kind, NumberType::Signed(_)) && raw.last()? >> 7 == 1;
            let mut wide = [if negative { 0xFF } else { 0 }; 8];
            wide[..n].copy_from_slice(raw);
            let value = i64::from_le_bytes(wide);
            (negative || value >= 0).then_some(value)
        }
    }
}

fn ends(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the data end here: the file is cut; get it again".into(),
        _ => format!("cannot be read ({error}): the file is damaged; get it again"),
    }
}

fn at(path: &Path, offset: u64, message: &str) -> Error {
    Error::data(format!("{}, byte {offset}", path.display()), message)
}
