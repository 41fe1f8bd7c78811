//! Weights from elsewhere: state dicts of PyTorch, as values of a network.

mod beside;
mod choice;
mod class_json;
mod class_lines;
mod classes;
mod described;
mod entry;
mod kind;
mod layout;
mod listed;
mod named;
pub(crate) mod names;
mod old;
mod sets;
mod state_dict;
mod statistics;
mod torch;

pub use classes::read_classes;
pub use state_dict::StateDict;

pub(crate) use described::described;
pub(crate) use statistics::taken as statistics_taken;

use self::listed::listed;
use crate::local::Learner;
use crate::recipe::{MeanStd, Model};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of the classifier's tensors.
const CLASSIFIER: &str = "fc.";
/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";

/// What is known beside a file of weights. What is left out is taken from the file's metadata where this library exported it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The network; otherwise it is told by names and sizes.
    pub model: Option<Model>,
    /// Which of the file's networks is taken: a key of a nested dictionary, or what stands in front of its names. Otherwise
    /// the weights themselves, before an average of them.
    pub key: Option<String>,
    /// Names of the classes; otherwise `0`, `1`, ….
    pub classes: Option<Vec<String>>,
    /// Whether the classifier is a new one. Otherwise another number of classes than the file has is an error.
    pub new_classifier: bool,
    /// Side of the images; otherwise 32 (CIFAR family) or 224 (ImageNet family).
    pub size: Option<usize>,
    /// What pixels are normalised with; otherwise what the file's network normalises by itself, else CIFAR-10's or ImageNet's
    /// statistics, by the family.
    pub normalise: Option<MeanStd>,
    /// Seed of a new classifier.
    pub seed: u64,
}

/// What a network took from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The file or checkpoint.
    pub from: String,
    /// What they are called in it, where it has several networks or an average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether they are an average of weights, as training scripts keep one beside the weights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub average: bool,
    /// What its other networks are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Tensors beside the network that were of no use: counters, weights of a loss.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unused: Vec<String>,
    /// Tensors that were taken.
    pub tensors: usize,
    /// Whether the classifier is new: the file's has another number of classes, or there is none.
    pub new_classifier: bool,
    /// How the file was understood, where that is not plain; sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// Most classes of a classifier whose names are not given.
const MAX_CLASSES: usize = 100_000;

/// Names of the classes: those that are known, or numbers.
///
/// # Errors
/// Other classes than the file's; none.
pub(crate) fn classes(dict: &StateDict, options: &Options, file: &Path) -> Result<Vec<String>> {
    let found = dict.shape("fc.weight").and_then(|s| s.first().copied());
    match (&options.classes, found) {
        (Some(names), Some(n)) if n != names.len() && !options.new_classifier => {
            let message = format!(
                "its classifier has {n} classes, and {} are named (--classes): name those that it was trained for, one a line in \
                 the order of its outputs, or pass --new-classifier to give it up for an untrained one",
                names.len()
            );
            Err(Error::data(file.display().to_string(), message))
        }
        (Some(names), _) => Ok(names.clone()),
        (None, Some(n)) if n == 0 || n > MAX_CLASSES => {
            let message =
                format!("its classifier (`fc.weight`) has {n} classes; 1 to {MAX_CLASSES} are read");
            Err(Error::data(file.display().to_string(), message))
        }
        (None, Some(n)) => Ok((0..n).map(|i| i.to_string()).collect()),
        (None, None) => {
            let there: Vec<String> = behind(dict).collect();
            let instead = match there.is_empty() {
                true => String::new(),
                false => format!(
                    ", but {}, which are no single linear layer behind its blocks",
                    listed("tensors", &there)
                ),
            };
            let message = format!(
                "it has no classifier (`fc.weight`){instead}; name the classes with --classes, for a new, untrained one"
            );
            Err(Error::data(file.display().to_string(), message))
        }
    }
}

/// The names of what lies behind or beside a network's blocks.
fn behind(dict: &StateDict) -> impl Iterator<Item = String> {
    let own = dict.tensors().map(|(name, _)| name).filter(|name| layout::is_behind(name));
    own.chain(dict.strange.keys().map(String::as_str)).map(str::to_owned)
}

/// Puts a state dict's values into a network, all or none.
///
/// # Errors
/// Tensors that are missing, left over or of another shape: all of them are listed.
pub(crate) fn fill(learner: &mut Learner, (dict, new): (&mut StateDict, bool), file: &Path) -> Result<Taken> {
    let new_classifier = check(learner, (dict, new), file)?;
    let mut tensors = 0;
    learner.visit_on(&mut |device, param| {
        let name = param.name();
        if name.starts_with(AUXILIARY) || (new_classifier && name.starts_with(CLASSIFIER)) {
            return Ok(());
        }
        let values = dict.read(&name)?;
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            let message = format!("tensor `{name}` holds {bad}: this network did not train well");
            return Err(Error::data(file.display().to_string(), message));
        }
        tensors += 1;
        Ok(device.upload(param.value, &values)?)
    })?;
    let (choice, mut unused) = (dict.choice().clone(), dict.left.clone());
    if new_classifier {
        unused.extend(behind(dict).filter(|name| !is_own_classifier(name)));
    }
    let (from, key, average, others) =
        (file.display().to_string(), choice.key, choice.average, choice.others);
    let mut remarks = Vec::new();
    if let (Some(name), false) = (&dict.classifier, new_classifier) {
        remarks.push(format!("Its classifier is called `{name}`."));
    }
    let used = learner.task().pixels;
    let used = MeanStd { mean: used.mean.map(f64::from), std: used.std.map(f64::from) };
    remarks.extend(dict.statistics.as_ref().and_then(|(names, own)| statistics::remark(names, own, &used)));
    Ok(Taken { from, key, average, others, unused, tensors, new_classifier, remarks })
}

/// Whether this is a tensor of the classifier as torchvision calls it.
fn is_own_classifier(name: &str) -> bool {
    name.strip_prefix(CLASSIFIER).is_some_and(|leaf| matches!(leaf, "weight" | "bias"))
}

/// Compares names and sizes; whether the classifier is to be a new one, as `new` asks for.
pub(crate) fn check(learner: &mut Learner, (dict, new): (&StateDict, bool), file: &Path) -> Result<bool> {
    let mut wanted: Vec<(String, Vec<usize>)> = Vec::new();
    learner.visit(&mut |param| {
        let name = param.name();
        if !name.starts_with(AUXILIARY) {
            wanted.push((name, param.shape.dims().to_vec()));
        }
        Ok(())
    })?;
    let new_classifier = new || new_classifier(dict, &wanted);
    let (mut missing, mut shaped) = (Vec::new(), Vec::new());
    for (name, extents) in wanted.iter().filter(|(n, _)| !(new_classifier && n.starts_with(CLASSIFIER))) {
        match dict.shape(name) {
            Some(shape) if shape == extents => {}
            Some(shape) => shaped.push(format!("{name} {shape:?} instead of {extents:?}")),
            None => missing.push(name.clone()),
        }
    }
    let names: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    // What stands in the place of a classifier that is given up is given up with it.
    let given_up = |name: &str| new_classifier && layout::is_behind(name);
    let unexpected = dict.tensors().map(|(name, _)| name).filter(|n| !names.contains(n) && !given_up(n));
    let beside = dict.strange.keys().filter(|_| !new_classifier).map(String::as_str);
    let unexpected: Vec<String> = unexpected.chain(beside).map(str::to_owned).collect();
    if let Some(message) = names::without_projections(dict, &missing) {
        return Err(Error::data(file.display().to_string(), message));
    }
    let parts = [("missing", missing), ("of another shape", shaped), ("unexpected", unexpected)];
    let said: Vec<String> = parts.iter().filter(|(_, n)| !n.is_empty()).map(|(w, n)| listed(w, n)).collect();
    match said.is_empty() {
        true => Ok(new_classifier),
        false => Err(Error::data(
            file.display().to_string(),
            format!("its tensors are not those of this network: {}", said.join("; ")),
        )),
    }
}

/// Whether a file's classifier is for other classes, or it has none. Other features are another network, and half a
/// classifier is a damaged one.
fn new_classifier(dict: &StateDict, wanted: &[(String, Vec<usize>)]) -> bool {
    let name = format!("{CLASSIFIER}weight");
    let mut own = wanted.iter().filter(|(n, _)| n.starts_with(CLASSIFIER));
    match dict.shape(&name) {
        Some([found, features]) => {
            let shape = own.find(|(n, _)| *n == name).map(|(_, shape)| shape.as_slice());
            shape.is_some_and(|own| own.get(1) == Some(features) && own.first() != Some(found))
        }
        Some(_) => false,
        None => own.all(|(n, _)| dict.shape(n).is_none()),
    }
}
