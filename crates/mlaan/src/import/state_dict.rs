//! A state dict: named tensors of a file that PyTorch or safetensors wrote.

use super::beside::belongs_elsewhere;
use super::choice::{Choice, Elsewhere, Set, choose, left, set_of, unwrap_names};
use super::entry::{Entry, Place, Tensors, floats};
use super::kind::{FileFormat, KNOWN_BY};
use super::layout::{self, BATCHES};
use super::sets::Found;
use super::statistics;
use super::torch::Archive;
use crate::files::{Header, read_tensor_header};
use crate::pickle::Element;
use crate::recipe::MeanStd;
use crate::{Error, Result};
use safetensors::Dtype;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// An open file of named tensors, read one at a time as 32-bit floats.
pub struct StateDict {
    path: PathBuf,
    tensors: Tensors,
    about: HashMap<String, String>,
    source: Opened,
    /// What of the file is taken.
    choice: Choice,
    /// Tensors beside the network that are no fault: counters, weights of losses, averages.
    pub(super) left: Vec<String>,
    /// Tensors beside the network that may belong to it.
    pub(super) strange: Tensors,
    /// What its classifier is called, where that is not usual.
    pub(super) classifier: Option<String>,
    /// The mean and standard deviation by which the network normalises images itself.
    pub(crate) statistics: Option<(statistics::Names, MeanStd)>,
}

enum Opened {
    File(File),
    Archive(Archive),
}

impl StateDict {
    /// Opens a file: what lies in it decides, not its name. Of several networks the weights themselves are taken, not an
    /// average of them.
    ///
    /// # Errors
    /// [`Error::Data`] that says what the file is instead, and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_key(path, None)
    }

    /// As [`StateDict::open`], taking the network under this key (of a nested dictionary, or in front of its names).
    ///
    /// # Errors
    /// As [`StateDict::open`]; nothing under this key, or several networks that may be meant.
    pub fn open_key(path: &Path, key: Option<&str>) -> Result<Self> {
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        if path.is_dir() {
            return Err(wrong("this is a folder; name a file of weights (a run's folder needs no import: `--init` takes it)".into()));
        }
        let mut file = crate::files::open(path).map_err(Error::io(path))?;
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut first = Vec::new();
        file.by_ref().take(KNOWN_BY).read_to_end(&mut first).map_err(Error::io(path))?;
        file.rewind().map_err(Error::io(path))?;
        let archived = |(archive, found): (Archive, Found)| {
            (found.sets, found.elsewhere, HashMap::new(), Opened::Archive(archive))
        };
        let (mut sets, elsewhere, about, source) = match FileFormat::of(&first, length) {
            FileFormat::Archive => archived(Archive::open(path, file)?),
            FileFormat::Old => archived(Archive::open_old(path, file)?),
            FileFormat::Safetensors => {
                let (tensors, about) = safetensors(path, &file)?;
                (vec![set_of(tensors)], Vec::new(), about, Opened::File(file))
            }
            FileFormat::Other(message) => return Err(wrong(message)),
        };
        sets.iter_mut().for_each(unwrap_names);
        let choice = choose(&sets, &elsewhere, key).map_err(wrong)?;
        let beside = left(&sets, choice.set);
        let Set { tensors, fault, .. } = sets.swap_remove(choice.set);
        if let Some(fault) = fault {
            return Err(wrong(fault));
        }
        let own = |name: &str| name.strip_prefix(choice.prefix.as_str()).is_some_and(layout::is_own);
        let (empty, tensors): (Tensors, Tensors) =
            tensors.into_iter().partition(|(_, t)| t.shape.contains(&0));
        if let Some((name, t)) = empty.iter().find(|(name, _)| own(name)) {
            return Err(wrong(format!(
                "tensor `{name}` has shape {:?}, so no values: the file is damaged",
                t.shape
            )));
        }
        // What has no values yet, as a metric's predictions, is no part of the network.
        let told = elsewhere.iter().filter(|e| e.weights).map(Elsewhere::named);
        let left = told.chain(beside).chain(empty.into_keys()).collect();
        let (strange, classifier, statistics) = (Tensors::new(), None, None);
        let path = path.into();
        let mut dict =
            StateDict { path, tensors, about, source, choice, left, strange, classifier, statistics };
        if let Some(names) = statistics::names(&dict.tensors) {
            dict.statistics =
                statistics::values(&mut |name| dict.read(name), &names)?.map(|values| (names, values));
        }
        Ok(dict)
    }

    /// Names and sizes, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t.shape.as_slice()))
    }

    /// What its writer says beside the tensors; only safetensors have it.
    pub(crate) fn about(&self) -> &HashMap<String, String> {
        &self.about
    }

    /// The sizes of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|t| t.shape.as_slice())
    }

    /// What of the file is taken.
    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Replaces the names: `rename` gives the new one, or none where the tensor is of no use. What is not the chosen
    /// network's is put aside.
    pub(super) fn rename(&mut self, rename: impl Fn(&str) -> Option<String>) {
        let old = std::mem::take(&mut self.tensors);
        let Choice { prefix, beside, .. } = &self.choice;
        let names: HashSet<String> = old.keys().cloned().collect();
        let elsewhere = |name: &str, inner: &str, shape: &[usize]| {
            let there =
                |other: &str| names.contains(&format!("{}{other}", &name[..name.len() - inner.len()]));
            belongs_elsewhere(inner, there) || statistics::is_one(inner, shape)
        };
        let mut kept = Tensors::new();
        for (name, tensor) in old {
            let inner = name.strip_prefix(prefix.as_str());
            // Prefixes of others may begin with this one's.
            let other = beside.iter().any(|p| p.len() > prefix.len() && name.starts_with(p.as_str()));
            match inner.filter(|_| !other) {
                Some(inner) if !inner.ends_with(BATCHES) && elsewhere(&name, inner, &tensor.shape) => {
                    self.left.push(name);
                }
                Some(inner) => kept.extend(rename(inner).map(|new| (new, tensor))),
                None if other || beside.iter().any(|p| name.starts_with(p.as_str())) => {}
                None if elsewhere(&name, &name, &tensor.shape) => self.left.push(name),
                None => drop(self.strange.insert(name, tensor)),
            }
        }
        self.tensors = kept;
    }

    /// Takes the tensors `classifier.weight` and `.bias`, wherever they lie, as the network's `fc`.
    pub(super) fn take_classifier(&mut self, classifier: &str) {
        for leaf in ["weight", "bias"] {
            let name = format!("{classifier}.{leaf}");
            let tensor = self.tensors.remove(&name).or_else(|| self.strange.remove(&name));
            self.tensors.extend(tensor.map(|tensor| (format!("fc.{leaf}"), tensor)));
        }
        self.classifier = Some(classifier.to_owned());
    }

    /// Bytes that reading any one tensor takes beside its values.
    pub(crate) fn work_bytes(&self) -> usize {
        let stored = |t: &Entry| match &t.place {
            Place::File { element, .. } => t.shape.iter().product::<usize>().saturating_mul(element.size()),
            // The storage that was read last is kept, and one that is not contiguous is converted as a whole.
            Place::Archive(tensor) => {
                let (length, size) = (tensor.storage.length, tensor.storage.element.size());
                let converted = if tensor.contiguous() { 0 } else { size_of::<f32>() };
                length.saturating_mul(size + converted)
            }
        };
        self.tensors.values().map(stored).max().unwrap_or(0)
    }

    /// The values of a tensor, the last index fastest.
    ///
    /// # Errors
    /// No such tensor; a file that is damaged or cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>> {
        let wrong = |message: String| {
            Error::data(self.path.display().to_string(), format!("tensor `{name}`: {message}"))
        };
        let entry = self.tensors.get(name).ok_or_else(|| wrong("there is none".into()))?;
        match (&entry.place, &mut self.source) {
            (Place::Archive(tensor), Opened::Archive(archive)) => archive.values(tensor).map_err(wrong),
            (Place::File { element, start }, Opened::File(file)) => {
                let mut bytes = vec![0; entry.shape.iter().product::<usize>() * element.size()];
                file.seek(SeekFrom::Start(*start))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(Error::io(&self.path))?;
                Ok(floats(*element, &bytes))
            }
            _ => Err(wrong("it lies elsewhere".into())),
        }
    }
}

fn safetensors(path: &Path, file: &File) -> Result<(BTreeMap<String, Entry>, HashMap<String, String>)> {
    let Header { start, tensors, about } = read_tensor_header(path, file)?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let entry = |(name, info): (String, safetensors::tensor::TensorInfo)| {
        let wrong = |m: String| Error::data(path.display().to_string(), format!("tensor `{name}`: {m}"));
        let element =
            element(info.dtype).ok_or_else(|| wrong(format!("its type {:?} is not read", info.dtype)))?;
        let (from, to) = info.data_offsets;
        let bytes = info.shape.iter().try_fold(element.size(), |n, e| n.checked_mul(*e));
        if to.checked_sub(from) != bytes {
            return Err(wrong(format!("its sizes {:?} do not fit its place in the file", info.shape)));
        }
        let end = start.saturating_add(to as u64);
        if end > length {
            return Err(wrong(format!("it ends at byte {end} of {length}: the file is cut off")));
        }
        Ok((name, Entry { shape: info.shape, place: Place::File { element, start: start + from as u64 } }))
    };
    Ok((tensors.into_iter().map(entry).collect::<Result<_>>()?, about))
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::I64 => Element::I64,
        Dtype::I32 => Element::I32,
        Dtype::I16 => Element::I16,
        Dtype::I8 => Element::I8,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}
