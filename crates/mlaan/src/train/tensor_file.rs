//! Reading files of named f32 tensors (safetensors), one tensor at a time; [`tensor_writer`](super::tensor_writer)
//! writes them.

use super::tensor_writer::{Stamp, TensorView};
use crate::files::floats::add_floats;
use crate::files::{Header, read_tensor_header};
use crate::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes converted to values at a time.
const CHUNK: usize = 1 << 16;

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
        let file = crate::files::open(path).map_err(|e| match e.kind() {
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
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
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
        let count = shape.iter().product::<usize>();
        read_values(&self.file, place.start, count).map_err(Error::io(&self.path))
    }
}

impl TensorFile {
    /// Whether such a tensor is there, with the same bits.
    ///
    /// # Errors
    /// When it is not; when either cannot be read.
    pub(crate) fn holds(&self, tensor: &TensorView<'_>) -> Result<()> {
        let there = self.read(tensor.name, tensor.shape)?;
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        match bits(&there) == bits(&tensor.values()?) {
            true => Ok(()),
            false => Err(checkpoint_error(&self.path, format!("tensor `{}` has other values", tensor.name))),
        }
    }
}

/// `count` values from the byte `start` on; beside them a chunk of bytes, so that a tensor lies in memory once.
fn read_values(mut file: &File, start: u64, count: usize) -> std::io::Result<Vec<f32>> {
    file.seek(SeekFrom::Start(start))?;
    let mut values = Vec::with_capacity(count);
    let mut bytes = vec![0; CHUNK.min(count * size_of::<f32>())];
    while values.len() < count {
        let wanted = bytes.len().min((count - values.len()) * size_of::<f32>());
        let chunk = bytes.get_mut(..wanted).unwrap_or_default();
        file.read_exact(chunk)?;
        add_floats(&mut values, chunk);
    }
    Ok(values)
}

fn checksum(path: &Path) -> Result<u32> {
    let mut file = crate::files::open(path).map_err(Error::io(path))?;
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
