//! Weights from elsewhere: state dicts of PyTorch as checkpoints, and as the start of a run.

mod beside;
mod choice;
mod class_json;
mod class_lines;
mod classes;
mod described;
mod kind;
mod names;
mod old;
mod sets;
mod state_dict;
mod statistics;
mod torch;

pub use classes::read_classes;
pub use state_dict::StateDict;

use self::described::described;
use crate::local::{Learner, Method, Task};
use crate::nn::{Extent, Optimizer};
use crate::plan::limit::Limits;
use crate::plan::{Needs, TensorSizes};
use crate::recipe::{Family, MeanStd, Model, Normalise, Recipe};
use crate::train::checkpoint::{self, FOLDER, Manifest, Part, Parts};
use crate::train::{
    Lock, RECIPE, Tally, TensorView, Trained, Values, atomic, clear_unsaved, is_free, setup, state_name,
};
use crate::{Error, Result};
use mlaan_engine::{Device, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// Names of the classifier's tensors.
const CLASSIFIER: &str = "fc.";
/// Names of auxiliary tensors begin with this.
const AUXILIARY: &str = "aux.";
/// Names of each kind that an error lists.
const LISTED: usize = 5;

/// What is known beside a file of weights. What is left out is taken from the file's metadata where this library exported it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The network; otherwise it is told by names and extents.
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

/// What [`import`] made.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The checkpoint's manifest.
    pub manifest: Manifest,
    /// What was taken from the file.
    pub taken: Taken,
    /// The memory that was planned for it.
    pub needs: Needs,
}

/// Makes a run's folder with one checkpoint (epoch 0, never trained here) out of a state dict. A folder that holds the same
/// already, or what a killed import left, is no other one.
///
/// # Errors
/// A file that is no state dict; a network that is not known; other classes than the file's; tensors that are missing, left
/// over or of other extents: all of them are listed. A folder that holds something else, or cannot be written.
pub fn import(file: &Path, options: &Options, folder: &Path) -> Result<Imported> {
    let mut dict = StateDict::open_key(file, options.key.as_deref())?;
    let options = &mut described(file, dict.about(), options)?;
    names::normalise(&mut dict);
    let own = options.normalise.is_none().then(|| dict.statistics.clone()).flatten();
    options.normalise = options.normalise.or(own.as_ref().map(|(_, values)| *values));
    let model = match &options.model {
        Some(model) => model.clone(),
        None => names::model(&dict, file)?,
    };
    let classes = classes(&dict, options, file)?;
    let recipe = recipe(model, options, file)?;
    let normalise = match &recipe.data.normalise {
        Normalise::Values(values) => *values,
        Normalise::Named(_) => return Err(Error::recipe("data.normalise", "no values")),
    };
    let size = recipe.data.size;
    let task = Task {
        image: Extent::square(size, 3),
        classes: classes.len(),
        pixels: setup::pixel_scale(&normalise),
    };
    let backbone = setup::backbone(&recipe.model)?;
    let network =
        |device: &Device| Learner::for_inference(device, &backbone, &Method::default(), task, options.seed);
    // First without memory: the extents that a header announces may ask for all there is.
    let (dry, new) = (Device::dry(Kind::Cpu { threads: Some(1) })?, options.new_classifier);
    let mut learner = network(&dry)?;
    check(&mut learner, (&dict, new), file)?;
    let process = TensorSizes::of(&mut learner)?.process(dry.kind()) + dict.work_bytes();
    let needs = Needs { usage: dry.usage(), process };
    Limits::of_this_process().check_use(&needs)?;
    let device = Device::cpu(Some(1))?;
    device.pool().reserve(&needs.usage)?;
    let mut learner = network(&device)?;
    let mut taken = fill(&mut learner, (&mut dict, new), file)?;
    if let Some((names, values)) = own {
        let usual = setup::statistics(usual(recipe.model.family()).1)?;
        taken.remarks.push(statistics::taken(&names, &values, &usual));
    }
    let manifest = Manifest {
        epoch: 0,
        step: 0,
        seed: options.seed,
        recipe: recipe.to_toml()?,
        classes,
        images: [0, 0],
        normalise,
        size,
        best: None,
        test_error: f64::NAN,
        seconds: 0.0,
        peak_bytes: 0,
        peak_memory_bytes: None,
        partial: Tally::default(),
        rate_batch: None,
    };
    let mut tensors = Untrained(learner, setup::optimizer(&recipe.train));
    let there = !is_free(folder) && holds(folder, &manifest, &mut tensors);
    if !there {
        put(folder, &manifest, &mut tensors)?;
    }
    Ok(Imported { manifest, taken, needs })
}

/// A network that was never trained here: what an optimiser would keep of it is zero.
struct Untrained(Learner, Optimizer);

impl Parts for Untrained {
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        match part {
            Part::Model => self.0.each(part, show),
            Part::State => self.0.visit(&mut |param| {
                let kinds = if param.is_buffer() { &[] } else { self.1.state_names() };
                kinds.iter().try_for_each(|kind| {
                    let name = state_name(kind, &param.name());
                    show(&TensorView { name: &name, shape: param.shape.dims(), values: Values::Zeros })
                })
            }),
        }
    }
}

/// Fills a folder. The manifest is written last: with it all is there, and without it the folder is free again.
fn put(folder: &Path, manifest: &Manifest, tensors: &mut dyn Parts) -> Result<()> {
    let free = || match is_free(folder) {
        true => Ok(()),
        false => {
            let message = "is there already and not empty; pass another --out";
            Err(Error::data(folder.display().to_string(), message))
        }
    };
    // Once before anything is put there, and once more when nobody else can.
    free()?;
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let held = Lock::take(folder)?;
    free()?;
    held.write(|folder| {
        clear_unsaved(folder)?;
        let (checkpoints, path) = (folder.join(FOLDER), folder.join(RECIPE));
        std::fs::create_dir(&checkpoints).map_err(Error::io(&checkpoints))?;
        atomic::write(&path, |out| out.write_all(manifest.recipe.as_bytes()).map_err(Error::io(&path)))?;
        checkpoint::save(&checkpoints, manifest, tensors, false)
    })
}

/// Whether a folder holds this import already: one that was killed when all was done.
fn holds(folder: &Path, manifest: &Manifest, tensors: &mut dyn Parts) -> bool {
    let json = |m: &Manifest| serde_json::to_string(m).ok();
    let Ok((there, files)) = checkpoint::load(folder) else { return false };
    json(&there).is_some_and(|there| Some(there) == json(manifest))
        && tensors.each(Part::Model, &mut |t| files.model.holds(t)).is_ok()
}

/// Most classes of a classifier whose names are not given.
const MAX_CLASSES: usize = 100_000;

fn classes(dict: &StateDict, options: &Options, file: &Path) -> Result<Vec<String>> {
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
    let own = dict.tensors().map(|(name, _)| name).filter(|name| names::is_behind(name));
    own.chain(dict.strange.keys().map(String::as_str)).map(str::to_owned)
}

/// Side of the images and name of their statistics.
fn usual(family: Family) -> (usize, &'static str) {
    match family {
        Family::Cifar => (32, "cifar10"),
        Family::Imagenet => (224, "imagenet"),
    }
}

fn recipe(model: Model, options: &Options, file: &Path) -> Result<Recipe> {
    let (size, statistics) = usual(model.family());
    let normalise = match options.normalise {
        Some(values) => values,
        None => setup::statistics(statistics)?,
    };
    let mut recipe = Recipe { model, seed: options.seed, ..Recipe::default() };
    recipe.description = format!("imported from {}", file.display());
    recipe.local = Method::default();
    recipe.data.size = options.size.unwrap_or(size);
    recipe.data.normalise = Normalise::Values(normalise);
    recipe.validate()?;
    Ok(recipe)
}

/// Gives a learner's network the values of a checkpoint (a folder or a manifest) or of a file of weights, where `key` names one
/// of several networks ([`Options::key`]). A classifier for
/// another number of classes keeps its initial values; auxiliary networks too, but mirrors, which take over their sources'.
///
/// # Errors
/// As [`import`].
pub fn initialise(learner: &mut Learner, from: &Path, key: Option<&str>) -> Result<Taken> {
    let manifest = from.is_dir() || from.extension().is_some_and(|e| e == "json");
    let mut dict = match manifest {
        true => StateDict::open_key(Trained::open(from, false)?.model_file().path(), key)?,
        false => StateDict::open_key(from, key)?,
    };
    names::normalise(&mut dict);
    let mut taken = fill(learner, (&mut dict, false), from)?;
    learner.mirror()?;
    taken.from = from.display().to_string();
    Ok(taken)
}

/// Puts a state dict's values into a network, all or none.
fn fill(learner: &mut Learner, (dict, new): (&mut StateDict, bool), file: &Path) -> Result<Taken> {
    let new_classifier = check(learner, (dict, new), file)?;
    let device = learner.device().clone();
    let mut tensors = 0;
    learner.visit(&mut |param| {
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

/// Compares names and extents; whether the classifier is to be a new one, as `new` asks for.
fn check(learner: &mut Learner, (dict, new): (&StateDict, bool), file: &Path) -> Result<bool> {
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
    let given_up = |name: &str| new_classifier && names::is_behind(name);
    let unexpected = dict.tensors().map(|(name, _)| name).filter(|n| !names.contains(n) && !given_up(n));
    let beside = dict.strange.keys().filter(|_| !new_classifier).map(String::as_str);
    let unexpected: Vec<String> = unexpected.chain(beside).map(str::to_owned).collect();
    if let Some(message) = names::without_projections(dict, &missing) {
        return Err(Error::data(file.display().to_string(), message));
    }
    let parts = [("missing", missing), ("of other extents", shaped), ("unexpected", unexpected)];
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

fn listed(what: &str, names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(LISTED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} {what} ({shown}{rest})", names.len())
}
