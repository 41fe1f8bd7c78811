//! PyTorch's archives: a zip file with a pickle and the values of tensors, or, before version 1.6, pickles and values one after
//! the other.

use super::choice::Set;
use super::entry::{Place, Tensors, floats};
use super::old::{self, Values};
use super::sets::{Found, MAX_PICKLE, find, nothing};
use crate::pickle::{Limits, Pickle, Storage, TensorRef};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// An open archive.
pub(super) struct Archive {
    store: Store,
    /// The storage that was read last: tensors may share one.
    last: Option<(Storage, Vec<u8>)>,
}

/// Where the values of tensors lie.
enum Store {
    /// In files of a zip archive, whose names begin with `folder`.
    Zip { zip: ZipArchive<BufReader<File>>, folder: String },
    /// In the file itself.
    Old(Values),
}

impl Archive {
    /// What PyTorch writes since version 1.6.
    pub(super) fn open(path: &Path, file: File) -> Result<(Self, Found)> {
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut zip = ZipArchive::new(BufReader::new(file))
            .map_err(|e| wrong(format!("this archive is cut off or damaged ({e})")))?;
        let names: Vec<String> = zip.file_names().flatten().map(|n| n.into_owned()).collect();
        let folder = names.iter().find_map(|n| n.strip_suffix("data.pkl")).map(str::to_owned);
        let Some(folder) = folder else {
            return Err(wrong(no_pickle(&names)));
        };
        if names.iter().any(|n| n.strip_prefix(&folder) == Some("constants.pkl")) {
            let message = "a TorchScript program, not a state dict; save its weights in Python: \
                           `torch.save(torch.jit.load(FILE).state_dict(), NEW)`";
            return Err(wrong(message.into()));
        }
        let order = entry(&mut zip, &format!("{folder}byteorder"), 16);
        if order.is_ok_and(|o| o.starts_with(b"big")) {
            return Err(wrong("written on a big-endian machine, which is not read".into()));
        }
        let pickle = entry(&mut zip, &format!("{folder}data.pkl"), MAX_PICKLE).map_err(wrong)?;
        let pickle = Pickle::parse(&pickle, Limits::default()).map_err(|e| wrong(e.to_string()))?;
        let mut found = find(pickle.root());
        if found.sets.is_empty() {
            return Err(wrong(nothing(pickle.root(), &found)));
        }
        check(&mut found.sets, length);
        Ok((Archive { store: Store::Zip { zip, folder }, last: None }, found))
    }

    /// What PyTorch wrote before version 1.6, and still writes when asked to.
    pub(super) fn open_old(path: &Path, mut file: File) -> Result<(Self, Found)> {
        let length = file.metadata().map_err(Error::io(path))?.len();
        let (mut found, starts) =
            old::read(&mut file, length).map_err(|m| Error::data(path.display().to_string(), m))?;
        check(&mut found.sets, length);
        Ok((Archive { store: Store::Old(Values { file, starts }), last: None }, found))
    }

    /// The values of a tensor, the last index fastest.
    pub(super) fn values(&mut self, tensor: &TensorRef) -> std::result::Result<Vec<f32>, String> {
        let (storage, size) = (&tensor.storage, tensor.storage.element.size());
        let known = self.last.as_ref().is_some_and(|(s, _)| s == storage);
        if !known {
            let most = storage.length.saturating_mul(size) as u64;
            let bytes = match &mut self.store {
                Store::Zip { zip, folder } => entry(zip, &format!("{folder}data/{}", storage.key), most)?,
                Store::Old(values) => values.of(storage)?,
            };
            if bytes.len() as u64 != most {
                return Err(format!("{} bytes of values instead of {most}", bytes.len()));
            }
            self.last = Some((storage.clone(), bytes));
        }
        let bytes = self.last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let count = tensor.count().ok_or("it is too large")?;
        if tensor.contiguous() {
            let start = tensor.offset * size;
            let part = bytes.get(start..start + count * size).ok_or("it lies outside of its values")?;
            return Ok(floats(storage.element, part));
        }
        let all = floats(storage.element, bytes);
        let mut values = Vec::with_capacity(count);
        for index in 0..count {
            let value = all.get(place(tensor, index)).ok_or("it lies outside of its values")?;
            values.push(*value);
        }
        Ok(values)
    }
}

/// What is said of a zip file without PyTorch's pickle.
fn no_pickle(names: &[String]) -> String {
    match names.iter().all(|name| name.ends_with(".npy")) && !names.is_empty() {
        true => "arrays of NumPy (`.npz`), not a state dict; save them with PyTorch: `torch.save({k: torch.from_numpy(v) for k, v in \
                 numpy.load(FILE).items()}, NEW)`"
            .into(),
        false => "a zip file without `data.pkl`: `torch.save` did not write it".into(),
    }
}

/// Notes in every set the first tensor of more values than a file of `length` bytes can hold, which stores them as they are.
fn check(sets: &mut [Set], length: u64) {
    for set in sets {
        set.fault = set.fault.take().or_else(|| within(&set.tensors, length).err());
    }
}

fn within(tensors: &Tensors, length: u64) -> std::result::Result<(), String> {
    for (name, entry) in tensors {
        let Place::Archive(TensorRef { storage, .. }) = &entry.place else { continue };
        let bytes = (storage.length as u64).saturating_mul(storage.element.size() as u64);
        if bytes > length {
            let what = "that is more than the archive has, which is cut off or damaged";
            return Err(format!("tensor `{name}` takes {bytes} bytes: {what}"));
        }
    }
    Ok(())
}

/// Where the element at `index`, the last index fastest, lies in the storage.
fn place(tensor: &TensorRef, mut index: usize) -> usize {
    let mut at = tensor.offset;
    for (extent, stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        at += index % extent * stride;
        index /= extent;
    }
    at
}

/// A file of the archive, of at most `most` bytes. PyTorch stores without compression, so none is larger than the
/// archive.
fn entry(
    zip: &mut ZipArchive<BufReader<File>>,
    name: &str,
    most: u64,
) -> std::result::Result<Vec<u8>, String> {
    let file = zip.by_name(name).map_err(|e| format!("its `{name}` cannot be read ({e})"))?;
    if file.size() > most {
        return Err(format!("its `{name}` has {} bytes, more than {most}", file.size()));
    }
    let mut bytes = Vec::new();
    // Not by the size that the header says: it may lie.
    file.take(most).read_to_end(&mut bytes).map_err(|e| format!("its `{name}` is damaged ({e})"))?;
    Ok(bytes)
}
