//! Writing files of named tensors (safetensors), one tensor at a time: at no moment does the host hold more than one
//! tensor's values, however large the network is.

use crate::files::atomic;
use crate::files::floats::bytes_of;
use crate::{Error, Result};
use mlaan_engine::{Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;

/// Values written at a time.
const CHUNK: usize = 1 << 14;

/// A tensor that is about to be written.
pub struct TensorView<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// Its shape in the file.
    pub shape: &'a [usize],
    /// Where its values are.
    pub values: Values<'a>,
}

/// Where the values of a [`TensorView`] are, row by row.
pub enum Values<'a> {
    /// In host memory.
    Host(&'a [f32]),
    /// On a device, to be copied when their turn comes.
    Device(&'a Device, &'a Tensor),
    /// To be fetched when their turn comes.
    Lazy(&'a dyn Fn() -> Result<Vec<f32>>),
    /// Nowhere: all are zero.
    Zeros,
    /// One integer of 64 bits: a counter of PyTorch's.
    Integer(i64),
}

impl TensorView<'_> {
    /// A copy of its values; none of an integer.
    ///
    /// # Errors
    /// From the device, or what fetching returns.
    pub(super) fn values(&self) -> Result<Vec<f32>> {
        match self.values {
            Values::Host(values) => Ok(values.to_vec()),
            Values::Device(device, tensor) => Ok(device.download(tensor)?),
            Values::Lazy(fetch) => fetch(),
            Values::Zeros => Ok(vec![0.0; self.shape.iter().product()]),
            Values::Integer(_) => Ok(Vec::new()),
        }
    }
}

/// Tensors to be written. They are visited twice: for the header, then for the values.
pub trait TensorSource {
    /// Shows every tensor in the order of the file, with the same names and shapes each time.
    ///
    /// # Errors
    /// What `show` returns.
    fn each(&mut self, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()>;
}

/// A tensor with its name, in host memory or to be fetched.
pub struct NamedTensor<'a> {
    name: String,
    shape: Vec<usize>,
    data: Data<'a>,
}

enum Data<'a> {
    Here(Cow<'a, [f32]>),
    Lazy(Box<dyn Fn() -> Result<Vec<f32>> + 'a>),
}

impl<'a> NamedTensor<'a> {
    /// A tensor in memory, borrowed or owned, row by row.
    pub fn new(
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        data: impl Into<Cow<'a, [f32]>>,
    ) -> Self {
        NamedTensor { name: name.into(), shape: shape.into(), data: Data::Here(data.into()) }
    }

    /// A tensor that `fetch` copies from a device when it is written.
    pub fn lazy(
        name: impl Into<String>,
        shape: impl Into<Vec<usize>>,
        fetch: impl Fn() -> Result<Vec<f32>> + 'a,
    ) -> Self {
        NamedTensor { name: name.into(), shape: shape.into(), data: Data::Lazy(Box::new(fetch)) }
    }
}

impl<'t, T: AsRef<[NamedTensor<'t>]> + ?Sized> TensorSource for &T {
    fn each(&mut self, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        self.as_ref().iter().try_for_each(|t| {
            let values = match &t.data {
                Data::Here(values) => Values::Host(values),
                Data::Lazy(fetch) => Values::Lazy(fetch.as_ref()),
            };
            show(&TensorView { name: &t.name, shape: &t.shape, values })
        })
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
/// [`Error::Io`] if the file cannot be written; whatever a tensor's device or `fetch` returns.
pub fn write_tensors(path: &Path, tensors: impl TensorSource) -> Result<Stamp> {
    write_tensors_with(path, tensors, Vec::new())
}

/// As [`write_tensors`], with metadata: pairs of key and value.
///
/// # Errors
/// As [`write_tensors`].
pub fn write_tensors_with(
    path: &Path,
    mut tensors: impl TensorSource,
    metadata: Vec<(String, String)>,
) -> Result<Stamp> {
    let header = header(path, &mut tensors, metadata)?;
    atomic::write(path, |out| {
        let mut out = Stamped { out, crc: crc32fast::Hasher::new(), bytes: 0 };
        let failed = |e| Error::io(path)(e);
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        out.write_all(&header).map_err(failed)?;
        // One copy of the largest tensor, for all that come from a device.
        let mut copy = Vec::new();
        tensors.each(&mut |t| write_tensor(&mut out, path, t, &mut copy))?;
        Ok(Stamp { bytes: out.bytes, crc32: out.crc.finalize() })
    })
}

fn write_tensor(out: &mut Stamped<'_>, path: &Path, t: &TensorView<'_>, copy: &mut Vec<f32>) -> Result<()> {
    let count = t.shape.iter().product::<usize>();
    let fetched;
    let values: &[f32] = match t.values {
        Values::Integer(value) => return out.write_all(&value.to_le_bytes()).map_err(Error::io(path)),
        Values::Zeros => return write_zeros(out, count).map_err(Error::io(path)),
        Values::Host(values) => values,
        Values::Lazy(fetch) => {
            fetched = fetch()?;
            &fetched
        }
        Values::Device(device, tensor) => {
            copy.resize(tensor.len(), 0.0);
            device.download_into(tensor, copy)?;
            copy
        }
    };
    if values.len() != count {
        let message = format!(
            "tensor `{}` has {} values, which do not fit its shape {:?}",
            t.name,
            values.len(),
            t.shape
        );
        return Err(checkpoint_error(path, message));
    }
    write_values(out, values).map_err(Error::io(path))
}

fn header(path: &Path, tensors: &mut dyn TensorSource, metadata: Vec<(String, String)>) -> Result<Vec<u8>> {
    let wrong = |message: String| checkpoint_error(path, message);
    let mut names = HashSet::new();
    let mut infos = Vec::new();
    let mut offset = 0;
    tensors.each(&mut |t| {
        if !names.insert(t.name.to_owned()) {
            return Err(wrong(format!("two tensors are called `{}`", t.name)));
        }
        let (dtype, size) = match t.values {
            Values::Integer(_) => (Dtype::I64, size_of::<i64>()),
            _ => (Dtype::F32, size_of::<f32>()),
        };
        let end = offset + t.shape.iter().product::<usize>() * size;
        infos.push((
            t.name.to_owned(),
            TensorInfo { dtype, shape: t.shape.to_vec(), data_offsets: (offset, end) },
        ));
        offset = end;
        Ok(())
    })?;
    // Some Python readers refuse files without this word.
    let mut metadata: HashMap<String, String> = metadata.into_iter().collect();
    metadata.insert("format".to_owned(), "pt".to_owned());
    let metadata = Metadata::new(Some(metadata), infos).map_err(|e| wrong(e.to_string()))?;
    // As a value first: sorted, so that the same network gives the same bytes.
    let header = serde_json::to_value(&metadata).and_then(|value| serde_json::to_vec(&value));
    let mut header = header.map_err(|e| wrong(e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn write_values(out: &mut impl Write, values: &[f32]) -> std::io::Result<()> {
    values.chunks(CHUNK).try_for_each(|chunk| out.write_all(&bytes_of(chunk)))
}

fn write_zeros(out: &mut impl Write, count: usize) -> std::io::Result<()> {
    let zeros = vec![0.0; CHUNK.min(count)];
    let mut left = count;
    while left > 0 {
        let chunk = zeros.get(..left).unwrap_or(&zeros);
        write_values(out, chunk)?;
        left -= chunk.len();
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

fn checkpoint_error(path: &Path, message: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), message: message.into() }
}
