//! Weights from elsewhere as a checkpoint of a run, and as the start of one.

use super::checkpoint::{self, FOLDER, Manifest, Part, Parts};
use super::{
    EpochStats, Lock, TensorView, Trained, Values, clear_unsaved, is_free, recipe_file, setup, state_name,
};
use crate::import::{Options, StateDict, Taken, check, classes, described, fill, names, statistics_taken};
use crate::local::{Learner, Method, Task};
use crate::memory::Needs;
use crate::memory::limit::Limits;
use crate::nn::{ImageShape, Optimizer};
use crate::plan::{Process, TensorSizes};
use crate::recipe::{Family, Model, Normalise, Recipe};
use crate::{Error, Result};
use mlaan_engine::{Device, DeviceKind};
use std::path::Path;

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
/// over or of another shape: all of them are listed. A folder that holds something else, or cannot be written.
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
        image: ImageShape::square(size, 3),
        classes: classes.len(),
        pixels: setup::pixel_scale(&normalise),
    };
    let backbone = setup::backbone(&recipe.model)?;
    let network =
        |device: &Device| Learner::for_inference(device, &backbone, &Method::default(), task, options.seed);
    // First without memory: the sizes that a header announces may ask for all there is.
    let (dry, new) = (Device::dry(DeviceKind::Cpu { threads: Some(1) })?, options.new_classifier);
    let mut learner = network(&dry)?;
    check(&mut learner, (&dict, new), file)?;
    let process = TensorSizes::of(&mut learner)?.process(dry.kind(), Process::Files) + dict.work_bytes();
    let needs = Needs { usage: dry.usage(), process, messages: 0 };
    Limits::of_this_process().check_use(&needs)?;
    let device = Device::cpu(Some(1))?;
    device.pool().reserve(&needs.usage)?;
    let mut learner = network(&device)?;
    let mut taken = fill(&mut learner, (&mut dict, new), file)?;
    if let Some((names, values)) = own {
        let usual = setup::statistics(usual(recipe.model.family()).1)?;
        taken.remarks.push(statistics_taken(&names, &values, &usual));
    }
    let manifest = Manifest {
        epoch: 0,
        step: 0,
        seed: options.seed,
        recipe: recipe.to_toml()?,
        classes,
        images: [0, 0],
        val_images: None,
        normalise,
        size,
        best: None,
        test_error: f64::NAN,
        val_error: None,
        epochs_without_improvement: None,
        seconds: 0.0,
        peak_bytes: 0,
        peak_memory_bytes: None,
        partial: EpochStats::default(),
        rate_batch: None,
        fingerprint: None,
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
        let checkpoints = folder.join(FOLDER);
        std::fs::create_dir(&checkpoints).map_err(Error::io(&checkpoints))?;
        recipe_file::write(folder, &manifest.recipe)?;
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
pub(super) fn initialise(learner: &mut Learner, from: &Path, key: Option<&str>) -> Result<Taken> {
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
