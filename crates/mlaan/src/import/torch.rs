//! PyTorch's archives: a zip file with a pickle and the values of tensors.

use super::choice::{Set, set_of};
use super::state_dict::{Entry, Place, Tensors, floats};
use crate::pickle::{Item, Limits, Pickle, Storage, TensorRef, shown};
use crate::{Error, Result};
use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// Largest pickle read; that of ResNet-152 has 200 KB.
const MAX_PICKLE: u64 = 1 << 26;
/// Most tensors: ResNet-152 has 932, the deepest that is known here 60,000.
const MAX_TENSORS: usize = 1 << 16;
/// How deep a state dict may lie in what was saved.
const DEPTH: usize = 3;
/// Most dictionaries that are looked into.
const MAX_SETS: usize = 256;
/// Keys of a file that an error lists.
const LISTED: usize = 12;

/// An open archive.
pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// What the names of its files begin with.
    folder: String,
    /// The storage that was read last: tensors may share one.
    last: Option<(Storage, Vec<u8>)>,
}

impl Archive {
    pub(super) fn open(path: &Path, file: File) -> Result<(Self, Vec<Set>)> {
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
        let mut sets = sets(pickle.root());
        if sets.is_empty() {
            return Err(wrong(nothing(pickle.root())));
        }
        for set in &mut sets {
            set.fault = set.fault.take().or_else(|| within(&set.tensors, length).err());
        }
        Ok((Archive { zip, folder, last: None }, sets))
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

/// The dictionaries that hold tensors, the outermost first.
fn sets(root: Item<'_, '_>) -> Vec<Set> {
    let mut open = VecDeque::from([(root, String::new(), 0)]);
    // A pickle may refer to one value from everywhere.
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    while let Some((at, path, depth)) = open.pop_front() {
        if seen.len() >= MAX_SETS || !seen.insert(at.id()) {
            continue;
        }
        let mut set = Set { path, ..set_of([]) };
        for (key, value) in at.entries().iter().flatten() {
            let Some(name) = key.text() else { continue };
            match value.tensor() {
                Ok(_) if set.tensors.len() >= MAX_TENSORS => {
                    set.fault = Some(format!("more than {MAX_TENSORS} tensors, which no ResNet has"));
                }
                Ok(tensor) => {
                    let entry = Entry { shape: tensor.shape.clone(), place: Place::Archive(tensor) };
                    set.tensors.insert(name.into_owned(), entry);
                }
                Err(e) if value.callee().is_some_and(|(m, _)| m == "torch._utils") => {
                    set.fault = Some(format!("tensor `{}`: {e}", shown(&name)));
                }
                Err(_) if depth < DEPTH && open.len() < MAX_SETS && value.is_dictionary() => {
                    let path =
                        if set.path.is_empty() { name.into_owned() } else { format!("{}.{name}", set.path) };
                    open.push_back((*value, path, depth + 1));
                }
                Err(_) => {}
            }
        }
        if !set.tensors.is_empty() || set.fault.is_some() {
            found.push(set);
        }
    }
    found
}

/// What a file without tensors holds instead, and what to do.
fn nothing(root: Item<'_, '_>) -> String {
    let whole = |at: Item<'_, '_>| at.callee().is_some_and(|(module, _)| module != "collections");
    let advice = "save the state dict: `torch.save(model.state_dict(), NEW)`";
    let entries = root.entries().unwrap_or_default();
    let network = entries.iter().map(|(_, value)| *value).find(|v| whole(*v) && v.state().is_some());
    if let Some(network) = Some(root).filter(|r| whole(*r)).or(network) {
        return format!("a whole network ({}), which needs its Python code; {advice}", network.describe());
    }
    let told = |(key, value): &(Item<'_, '_>, Item<'_, '_>)| {
        Some(format!("{} ({})", shown(&key.text()?), value.describe()))
    };
    let keys: Vec<String> = entries.iter().take(LISTED).filter_map(told).collect();
    let more = if entries.len() > LISTED { ", …" } else { "" };
    let keys =
        if keys.is_empty() { String::new() } else { format!(" with the keys {}{more}", keys.join(", ")) };
    format!("no state dict, but {}{keys}; {advice}", root.describe())
}
