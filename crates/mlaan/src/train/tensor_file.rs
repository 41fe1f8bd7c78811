//! Files of named f32 tensors (safetensors), written and read one tensor at a time.
//!
//! Neither direction holds all tensors in memory: a lazy tensor is fetched when its turn comes to be
//! written, and reading fetches one by name.

use super::atomic;
use crate::numbers::read_json;
use crate::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Headers beyond this are refused, as the format's own readers do.
const HEADER_LIMIT: u64 = 100_000_000;

/// Values converted to bytes at a time.
const CHUNK: usize = 1 << 14;

/// A tensor to be written.
pub struct NamedTensor<'a> {
    name: String,
    shape: Vec<usize>,
    data: Source<'a>,
}

enum Source<'a> {
    Here(Cow<'a, [f32]>),
    Lazy(Box<dyn Fn() -> Result<Vec<f32>> + 'a>),
    Integer(i64),
}

impl<'a> NamedTensor<'a> {
    /// A tensor in memory, borrowed or owned, row by row.
    pub fn new(
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: impl Into<Cow<'a, [f32]>>,
    ) -> Self {
        NamedTensor { name: name.into(), shape: shape.into(), data: Source::Here(data.into()) }
    }

    /// A tensor that `fetch` copies from a device when it is written.
    pub fn lazy(
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        fetch: impl Fn() -> Result<Vec<f32>> + 'a,
    ) -> Self {
        NamedTensor { name: name.into(), shape: shape.into(), data: Source::Lazy(Box::new(fetch)) }
    }

    /// One integer of 64 bits: a counter of PyTorch's.
    pub fn integer(name: impl Into<String>, value: i64) -> Self {
        NamedTensor { name: name.into(), shape: Vec::new(), data: Source::Integer(value) }
    }

    fn values(&self) -> Result<Cow<'_, [f32]>> {
        match &self.data {
            Source::Here(data) => Ok(Cow::Borrowed(data)),
            Source::Lazy(fetch) => fetch().map(Cow::Owned),
            Source::Integer(_) => Ok(Cow::Borrowed(&[])),
        }
    }

    fn dtype(&self) -> Dtype {
        if matches!(self.data, Source::Integer(_)) { Dtype::I64 } else { Dtype::F32 }
    }
}

/// Size and checksum of a file, by which its reader knows that it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC-32 of the file.
    pub crc32: u32,
}

/// Writes `tensors` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Checkpoint`] if a name stands twice or a tensor's values do not fit its shape;
/// [`Error::Io`] if the file cannot be written; whatever a lazy tensor returns.
pub fn write_tensors(path: &Path, tensors: &[NamedTensor]) -> Result<Stamp> {
    write_tensors_with(path, tensors, Vec::new())
}

/// As [`write_tensors`], with words about the whole.
///
/// # Errors
/// As [`write_tensors`].
pub fn write_tensors_with(
    path: &Path,
    tensors: &[NamedTensor],
    about: Vec<(String, String)>,
) -> Result<Stamp> {
    let header = header(path, tensors, about)?;
    atomic::write(path, |out| {
        let mut out = Stamped { out, crc: crc32fast::Hasher::new(), bytes: 0 };
        let failed = |e| Error::io(path)(e);
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        out.write_all(&header).map_err(failed)?;
        for tensor in tensors {
            if let Source::Integer(value) = tensor.data {
                out.write_all(&value.to_le_bytes()).map_err(failed)?;
                continue;
            }
            let values = tensor.values()?;
            if values.len() != tensor.shape.iter().product::<usize>() {
                return Err(misfit(path, tensor, values.len()));
            }
            write_values(&mut out, &values).map_err(failed)?;
        }
        Ok(Stamp { bytes: out.bytes, crc32: out.crc.finalize() })
    })
}

fn header(path: &Path, tensors: &[NamedTensor], about: Vec<(String, String)>) -> Result<Vec<u8>> {
    let wrong = |message: String| checkpoint_error(path, message);
    let mut names = HashSet::new();
    let mut infos = Vec::with_capacity(tensors.len());
    let mut offset = 0;
    for t in tensors {
        if !names.insert(t.name.as_str()) {
            return Err(wrong(format!("two tensors are called `{}`", t.name)));
        }
        let size = if t.dtype() == Dtype::I64 { size_of::<i64>() } else { size_of::<f32>() };
        let end = offset + t.shape.iter().product::<usize>() * size;
        let info = TensorInfo { dtype: t.dtype(), shape: t.shape.clone(), data_offsets: (offset, end) };
        infos.push((t.name.clone(), info));
        offset = end;
    }
    // Some Python readers refuse files without this word.
    let mut about: HashMap<String, String> = about.into_iter().collect();
    about.insert("format".to_owned(), "pt".to_owned());
    let metadata = Metadata::new(Some(about), infos).map_err(|e| wrong(e.to_string()))?;
    // As a value first: sorted, so that the same network gives the same bytes.
    let header = serde_json::to_value(&metadata).and_then(|value| serde_json::to_vec(&value));
    let mut header = header.map_err(|e| wrong(e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn misfit(path: &Path, tensor: &NamedTensor, values: usize) -> Error {
    checkpoint_error(
        path,
        format!(
            "tensor `{}` has {values} values, which do not fit its shape {:?}",
            tensor.name, tensor.shape
        ),
    )
}

fn write_values(out: &mut impl Write, values: &[f32]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK.min(values.len()) * size_of::<f32>());
    for chunk in values.chunks(CHUNK) {
        bytes.clear();
        bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Counts and sums what passes through.
struct Stamped<'a> {
    out: &'a mut dyn Write,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Stamped<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.crc.update(bytes.get(..written).unwrap_or(bytes));
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// An open file of named f32 tensors.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    shape: Vec<usize>,
    /// First byte in the file.
    start: u64,
}

impl TensorFile {
    /// Opens any safetensors file of f32 tensors.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is not there or not such a file; [`Error::Io`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => checkpoint_error(path, "this file is missing"),
            _ => Error::io(path)(e),
        })?;
        let tensors = read_header(path, &file)?;
        Ok(TensorFile { path: path.to_owned(), file, tensors })
    }

    /// Opens a file after comparing it with the stamp made when it was written.
    ///
    /// # Errors
    /// As [`TensorFile::open`], and [`Error::Checkpoint`] if size or checksum differ.
    pub fn open_stamped(path: &Path, stamp: Stamp) -> Result<Self> {
        match std::fs::metadata(path) {
            Ok(found) if found.len() != stamp.bytes => {
                let message = format!(
                    "this file has {} bytes instead of {}: it was cut off or replaced",
                    found.len(),
                    stamp.bytes
                );
                Err(checkpoint_error(path, message))
            }
            Ok(_) if checksum(path)? != stamp.crc32 => {
                let message = "the checksum does not match: this file was damaged or replaced";
                Err(checkpoint_error(path, message))
            }
            // `open` reports a file that is not there.
            _ => Self::open(path),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|p| p.shape.as_slice())
    }

    /// Reads the tensor `name`, which must have this shape.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such tensor or it has another shape; [`Error::Io`] if it
    /// cannot be read.
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let wrong = |message| Err(checkpoint_error(&self.path, message));
        let Some(place) = self.tensors.get(name) else {
            return wrong(format!(
                "tensor `{name}` is missing; this checkpoint belongs to another network or method: use the recipe it was trained with"
            ));
        };
        if place.shape != shape {
            return wrong(format!(
                "tensor `{name}` has shape {:?}, but {shape:?} is needed; this checkpoint belongs to another network or method: use the recipe it was trained with",
                place.shape
            ));
        }
        let mut bytes = vec![0; shape.iter().product::<usize>() * size_of::<f32>()];
        self.file
            .seek(SeekFrom::Start(place.start))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(Error::io(&self.path))?;
        let (values, _) = bytes.as_chunks::<4>();
        Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }
}

fn checksum(path: &Path) -> Result<u32> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(crc.finalize()),
            Ok(n) => crc.update(buffer.get(..n).unwrap_or(&buffer)),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::io(path)(e)),
        }
    }
}

fn read_header(path: &Path, file: &File) -> Result<BTreeMap<String, Place>> {
    let length = file.metadata().map_err(Error::io(path))?.len();
    let Header { start, tensors, .. } = read_tensor_header(path, file)?;
    let placed = |(name, info): (String, TensorInfo)| match place(&info, start, length - start) {
        Some(place) => Ok((name, place)),
        None => {
            let message =
                format!("not a safetensors file: tensor `{name}` is not f32 or lies outside the file");
            Err(checkpoint_error(path, message))
        }
    };
    tensors.into_iter().map(placed).collect()
}

/// What a safetensors file begins with.
pub(crate) struct Header {
    /// The byte that the tensors' places are counted from.
    pub start: u64,
    /// Names, types, extents and places.
    pub tensors: Vec<(String, TensorInfo)>,
    /// What else its writer says.
    pub about: HashMap<String, String>,
}

/// Reads it.
pub(crate) fn read_tensor_header(path: &Path, file: &File) -> Result<Header> {
    let wrong = |what: &str| checkpoint_error(path, format!("not a safetensors file: {what}"));
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut reader = BufReader::new(file);
    let mut size = [0; 8];
    reader.read_exact(&mut size).map_err(|_| wrong("it is shorter than 8 bytes"))?;
    let size = u64::from_le_bytes(size);
    if size > HEADER_LIMIT || size > length.saturating_sub(8) {
        return Err(wrong("its header's length is impossible"));
    }
    let mut header = vec![0; size as usize];
    reader.read_exact(&mut header).map_err(Error::io(path))?;
    let metadata: Metadata = read_json(&header).map_err(|e| wrong(&e))?;
    let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
    Ok(Header { start: 8 + size, tensors, about: metadata.metadata().clone().unwrap_or_default() })
}

fn place(info: &TensorInfo, first: u64, data: u64) -> Option<Place> {
    let (start, end) = info.data_offsets;
    let values = info.shape.iter().try_fold(1_usize, |n, side| n.checked_mul(*side))?;
    let bytes = values.checked_mul(size_of::<f32>())?;
    let fits = info.dtype == Dtype::F32 && end as u64 <= data && end.checked_sub(start)? == bytes;
    fits.then(|| Place { shape: info.shape.clone(), start: first + start as u64 })
}

fn checkpoint_error(path: &Path, message: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), message: message.into() }
}
