//! PyTorch's archives: a zip file with a pickle and the values of tensors.

use super::state_dict::{Entry, Place, floats};
use crate::pickle::{Item, Limits, Pickle, Storage, TensorRef};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// Largest pickle read; that of ResNet-152 has 200 KB.
const MAX_PICKLE: u64 = 1 << 26;
/// Most tensors: ResNet-152 has 932, the deepest that is known here 60,000.
const MAX_TENSORS: usize = 1 << 16;
/// Where training scripts put a state dict within what they save.
const KEYS: [&str; 6] = ["state_dict", "model_state_dict", "model", "net", "network", "weights"];
/// How deep it may lie.
const DEPTH: usize = 3;

/// An open archive.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// What the names of its files begin with.
    folder: String,
    /// The storage that was read last: tensors may share one.
    last: Option<(Storage, Vec<u8>)>,
}

impl Archive {
    pub(super) fn open(path: &Path, file: File) -> Result<(Self, BTreeMap<String, Entry>)> {
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut zip = ZipArchive::new(BufReader::new(file))
            .map_err(|e| wrong(format!("this archive is cut off or damaged ({e})")))?;
        let names: Vec<String> = zip.file_names().flatten().map(|n| n.into_owned()).collect();
        let folder = names.iter().find_map(|n| n.strip_suffix("data.pkl")).map(str::to_owned);
        let Some(folder) = folder else {
            return Err(wrong("a zip file without `data.pkl`: `torch.save` did not write it".into()));
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
        let tensors = tensors(pickle.root()).map_err(wrong)?;
        within(&tensors, length).map_err(wrong)?;
        Ok((Archive { zip, folder, last: None }, tensors))
    }

    /// The values of a tensor, the last index fastest.
    pub(super) fn values(&mut self, tensor: &TensorRef) -> std::result::Result<Vec<f32>, String> {
        let (storage, size) = (&tensor.storage, tensor.storage.element.size());
        let known = self.last.as_ref().is_some_and(|(s, _)| s == storage);
        if !known {
            let most = storage.length.saturating_mul(size) as u64;
            let bytes = entry(&mut self.zip, &format!("{}data/{}", self.folder, storage.key), most)?;
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

/// Refuses tensors of more values than an archive of `length` bytes can hold, which stores them as they are.
fn within(tensors: &BTreeMap<String, Entry>, length: u64) -> std::result::Result<(), String> {
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

/// The tensors of the state dict, wherever it lies in what was saved.
fn tensors(root: Item<'_, '_>) -> std::result::Result<BTreeMap<String, Entry>, String> {
    let mut at = root;
    for _ in 0..DEPTH {
        // First where its name says so: training keeps other things beside it, which may be tensors.
        let named = || KEYS.iter().filter_map(|key| at.get(key));
        let inner =
            named().find(|v| v.entries().is_some()).or_else(|| named().find(|v| v.callee().is_some()));
        match inner.filter(|v| v.tensor().is_err()) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    let mut found = BTreeMap::new();
    for (key, value) in at.entries().iter().flatten() {
        let Some(name) = key.text() else { continue };
        match value.tensor() {
            Ok(tensor) => {
                let entry = Entry { shape: tensor.shape.clone(), place: Place::Archive(tensor) };
                found.insert(name.into_owned(), entry);
            }
            Err(e) if value.callee().is_some_and(|(m, _)| m == "torch._utils") => {
                return Err(format!("tensor `{name}`: {e}"));
            }
            Err(_) => {}
        }
        if found.len() > MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors, which no ResNet has"));
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let whole = at.callee().is_some_and(|(module, _)| module != "collections");
    let advice = "save the state dict: `torch.save(model.state_dict(), NEW)`";
    Err(match whole {
        true => format!("a whole network ({}), which needs its Python code; {advice}", at.describe()),
        false => format!("no state dict, but {}; {advice}", at.describe()),
    })
}
