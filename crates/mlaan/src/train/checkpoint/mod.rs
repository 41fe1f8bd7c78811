//! Checkpoints: everything needed to use a trained network, and to resume its training to the bit.
//!
//! The folder `checkpoints` of a run holds generations of two tensor files, and two manifests:
//! ```text
//! epoch-0007.model.safetensors   the network, under torchvision's names; PyTorch can load it alone. Of a run with
//!                                train.model_ema_decay the EMA of its weights
//! epoch-0007.state.safetensors   everything else: what the optimiser keeps, auxiliary networks, EMA shadows; beside an
//!                                EMA of the weights, themselves (raw.NAME)
//! last.json, best.json           manifests; each names its own two files with size and checksum
//! ```
//! A manifest is written after its tensor files are durable, old tensor files are removed after the new
//! manifest is, and no file that a manifest names is ever overwritten: a kill at any moment leaves the
//! previous checkpoint or the new one, both whole.

use super::epoch_stats::EpochStats;
use super::tensor_file::TensorFile;
use super::tensor_writer::{Stamp, TensorSource, TensorView, write_tensors};
use crate::data::Fingerprint;
use crate::files::{atomic, fault};
use crate::numbers::read_json;
use crate::recipe::MeanStd;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Name of the folder of checkpoints in a run's folder.
pub const FOLDER: &str = "checkpoints";
/// The manifest of the newest epoch.
pub const LAST: &str = "last.json";
/// The manifest of the epoch with the lowest validation error (test error, where there is no validation set).
pub const BEST: &str = "best.json";

/// Newest version of the layout; raised whenever an older reader would misread a newer checkpoint. In version 2 the model
/// is an EMA of the weights, which themselves are in the state; checkpoints without one are of version 1.
const FORMAT: u32 = 2;

/// What a checkpoint says about its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Finished epochs.
    pub epoch: usize,
    /// Optimiser steps taken since the start of the run.
    pub step: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// The recipe, every key spelt out.
    pub recipe: String,
    /// Names of the classes; the classifier's outputs in order.
    pub classes: Vec<String>,
    /// Number of training and test images.
    pub images: [usize; 2],
    /// Number of validation images, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_images: Option<usize>,
    /// What tells these images from others of the same number. Runs of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// What pixels are normalised with.
    pub normalise: MeanStd,
    /// Side of the images fed to the network, pixels.
    pub size: usize,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Test error after the last finished epoch, percent; `null` before the first, and where epochs are validated.
    #[serde(deserialize_with = "crate::numbers::number")]
    pub test_error: f64,
    /// Validation error after the last finished epoch, percent; none before the first, and where there is no validation set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_error: Option<f64>,
    /// Epochs since the best one, in a run that may end early (`train.patience`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs_without_improvement: Option<usize>,
    /// Seconds trained so far, over all resumptions.
    pub seconds: f64,
    /// Bytes of tensors and images at the most so far, as the accountant counts them.
    pub peak_bytes: u64,
    /// Peak memory of the process so far, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// What was done of the next epoch, when the run was interrupted within it.
    pub partial: EpochStats,
    /// Images of a step that `train.lr_batch` is for, where they are fewer than `train.batch`. Runs of earlier versions
    /// have none: their rates follow `train.batch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_batch: Option<usize>,
}

/// The best epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Its validation error (test error, where there is no validation set), percent.
    pub error: f64,
}

/// The tensors of a checkpoint.
#[derive(Debug)]
pub struct Tensors {
    /// The network.
    pub model: TensorFile,
    /// Everything else.
    pub state: TensorFile,
}

/// A manifest file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    /// CRC-32 of `run` and `files` as compact JSON.
    crc32: u32,
    run: Manifest,
    files: Files,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    model: Named,
    state: Named,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    stamp: Stamp,
}

/// A tensor file of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The network, under torchvision's names.
    Model,
    /// Everything else.
    State,
}

/// What a checkpoint is written of: the tensors of both files, shown one at a time, so that saving copies no network.
pub trait Parts {
    /// Shows the tensors of one file, as [`TensorSource::each`] does.
    ///
    /// # Errors
    /// What `show` returns.
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()>;

    /// Whether the model is an EMA of weights that are in the state.
    ///
    /// # Errors
    /// When it cannot be known.
    fn averaged(&mut self) -> Result<bool> {
        Ok(false)
    }
}

/// The model's tensors, then the state's.
impl<M: TensorSource, S: TensorSource> Parts for (M, S) {
    fn each(&mut self, part: Part, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        match part {
            Part::Model => self.0.each(show),
            Part::State => self.1.each(show),
        }
    }
}

/// One of them.
struct One<'a>(&'a mut dyn Parts, Part);

impl TensorSource for One<'_> {
    fn each(&mut self, show: &mut dyn FnMut(&TensorView<'_>) -> Result<()>) -> Result<()> {
        self.0.each(self.1, show)
    }
}

/// Writes a checkpoint into `folder` (a run's [`FOLDER`], created if need be) as the last one, and as the
/// best one if `is_best`; then removes the files of earlier ones. One process at a time may do this.
///
/// # Errors
/// [`Error::Io`] if a file cannot be written, [`Error::Checkpoint`] if tensors are contradictory. The earlier
/// checkpoint is then still there.
pub fn save(folder: &Path, manifest: &Manifest, tensors: &mut dyn Parts, is_best: bool) -> Result<()> {
    create_folder(folder)?;
    atomic::remove_stale(folder)?;
    let saved = write_generation(folder, manifest, tensors, is_best);
    if saved.is_err() {
        if !fault::killed() {
            // Gives back the room of half a checkpoint; the first error is the one to report.
            let _ = prune(folder);
        }
        return saved;
    }
    prune(folder)
}

fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => atomic::sync_folder(parent),
        _ => Ok(()),
    }
}

fn write_generation(
    folder: &Path,
    manifest: &Manifest,
    tensors: &mut dyn Parts,
    is_best: bool,
) -> Result<()> {
    let stem = free_stem(folder, manifest.epoch);
    let format = if tensors.averaged()? { FORMAT } else { 1 };
    let mut write = |kind: &str, part| {
        let name = tensor_name(&stem, kind);
        let stamp = write_tensors(&folder.join(&name), One(&mut *tensors, part))?;
        Ok::<_, Error>(Named { name, stamp })
    };
    let files = Files { model: write("model", Part::Model)?, state: write("state", Part::State)? };
    let mut stored = Stored { format, crc32: 0, run: manifest.clone(), files };
    stored.crc32 = stored.checksum(folder)?;
    // The best first: a kill in between must not leave a last checkpoint that takes a lost epoch for saved.
    if is_best {
        write_manifest(&folder.join(BEST), &stored)?;
    }
    write_manifest(&folder.join(LAST), &stored)
}

/// Whether a file in a run's [`FOLDER`] has the name of tensors.
pub(super) fn is_tensors(name: &OsStr) -> bool {
    name.to_str().is_some_and(|n| n.starts_with("epoch-") && n.ends_with(".safetensors"))
}

fn tensor_name(stem: &str, kind: &str) -> String {
    format!("{stem}.{kind}.safetensors")
}

/// A name for this epoch's files that no file has: an epoch that is trained again after a resumption must
/// not overwrite what a manifest names.
fn free_stem(folder: &Path, epoch: usize) -> String {
    let taken = |stem: &str| {
        let exists = |kind| folder.join(tensor_name(stem, kind)).exists();
        exists("model") || exists("state")
    };
    let mut stem = format!("epoch-{epoch:04}");
    let mut attempt = 2;
    while taken(&stem) {
        stem = format!("epoch-{epoch:04}-{attempt}");
        attempt += 1;
    }
    stem
}

fn write_manifest(path: &Path, stored: &Stored) -> Result<()> {
    let mut json = serde_json::to_vec_pretty(stored)
        .map_err(|e| checkpoint_error(path, format!("cannot be written: {e}")))?;
    json.push(b'\n');
    atomic::write(path, |out| out.write_all(&json).map_err(Error::io(path)))
}

impl Stored {
    fn checksum(&self, path: &Path) -> Result<u32> {
        let json = serde_json::to_vec(&(&self.run, &self.files))
            .map_err(|e| checkpoint_error(path, format!("cannot be written: {e}")))?;
        Ok(crc32fast::hash(&json))
    }
}

/// Removes what a killed process left in a run's [`FOLDER`]: half-written files, and tensor files that no manifest names.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be read or a file not removed.
pub(super) fn tidy(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    atomic::remove_stale(folder)?;
    prune(folder)
}

/// Removes tensor files that neither manifest names. Removes nothing if a manifest cannot be read, since
/// it may name any of them.
fn prune(folder: &Path) -> Result<()> {
    let mut named = Vec::new();
    for manifest in [LAST, BEST] {
        let path = folder.join(manifest);
        match path.exists().then(|| read_manifest(&path)) {
            Some(Ok(stored)) => named.extend([stored.files.model.name, stored.files.state.name]),
            Some(Err(_)) => return Ok(()),
            None => {}
        }
    }
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let name = entry.file_name();
        if is_tensors(&name) && !named.iter().any(|k| name == k.as_str()) {
            fault::step().map_err(Error::io(entry.path()))?;
            fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    Ok(())
}

/// Opens a checkpoint: the last one of a run's folder or of its `checkpoints` folder, or the one whose
/// manifest `path` is. Every file is compared with its checksum first.
///
/// # Errors
/// [`Error::Checkpoint`] if nothing is there, a file is missing, cut off or damaged, or the format is unknown;
/// it says what to try. [`Error::Io`] if a file cannot be read.
pub fn load(path: &Path) -> Result<(Manifest, Tensors)> {
    let manifest = find(path)?;
    open(&manifest).map_err(|e| advise(e, &manifest))
}

/// The manifest of the best epoch beside what `path` names: a run's folder, its [`FOLDER`], or a manifest there.
///
/// # Errors
/// [`Error::Checkpoint`] if there is none.
pub fn best(path: &Path) -> Result<PathBuf> {
    let beside = path.with_file_name(BEST);
    let places =
        if path.is_file() { vec![beside] } else { vec![path.join(FOLDER).join(BEST), path.join(BEST)] };
    places.into_iter().find(|p| p.is_file()).ok_or_else(|| {
        let message = format!("there is no {BEST} here; a run writes it after its first epoch");
        checkpoint_error(path, message)
    })
}

/// The manifest file that `path` stands for.
fn find(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        return Err(checkpoint_error(path, "there is no such file or folder"));
    }
    if let Some(what) = files::special(path) {
        return Err(checkpoint_error(
            path,
            format!("is {what}, neither a folder nor a checkpoint's index (last.json, best.json)"),
        ));
    }
    let folders = [path.to_owned(), path.join(FOLDER)];
    if let Some(folder) = folders.iter().find(|f| f.join(LAST).is_file()) {
        return Ok(folder.join(LAST));
    }
    let hint = match folders.iter().find(|f| f.join(BEST).is_file()) {
        Some(f) => format!("pass {} to use that one", f.join(BEST).display()),
        None => "pass the folder of a run that finished at least one epoch".to_owned(),
    };
    let message = format!("no {LAST} here or in {FOLDER}; {hint}");
    Err(checkpoint_error(path, message))
}

fn open(path: &Path) -> Result<(Manifest, Tensors)> {
    let stored = read_manifest(path)?;
    let file = |named: &Named| TensorFile::open_stamped(&path.with_file_name(&named.name), named.stamp);
    let tensors = Tensors { model: file(&stored.files.model)?, state: file(&stored.files.state)? };
    Ok((stored.run, tensors))
}

fn read_manifest(path: &Path) -> Result<Stored> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let json = files::read(path, files::MANIFEST)?;
    let damaged = |what: String| {
        checkpoint_error(path, format!("this checkpoint's index was cut off or damaged ({what})"))
    };
    let version: Version = read_json(&json).map_err(damaged)?;
    if !(1..=FORMAT).contains(&version.format) {
        let message = format!(
            "its format is version {}, and this program reads versions up to {FORMAT}; use the program that wrote it",
            version.format
        );
        return Err(checkpoint_error(path, message));
    }
    let stored: Stored = read_json(&json).map_err(damaged)?;
    if stored.crc32 != stored.checksum(path)? {
        let message = "the checksum does not match: this checkpoint's index was damaged or edited";
        return Err(checkpoint_error(path, message));
    }
    for name in [&stored.files.model.name, &stored.files.state.name] {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            let message = format!("it names the file `{name}`, which is not in its folder");
            return Err(checkpoint_error(path, message));
        }
    }
    Ok(stored)
}

/// Adds to a checkpoint's error what else can be tried.
fn advise(e: Error, manifest: &Path) -> Error {
    let Error::Checkpoint { path, message } = e else {
        return e;
    };
    let other = match manifest.file_name() {
        Some(name) if name == LAST => manifest.with_file_name(BEST),
        _ => manifest.with_file_name(LAST),
    };
    // Of a run whose last epoch was its best both name the same tensors.
    let tensors =
        |manifest: &Path| read_manifest(manifest).ok().map(|m| (m.files.model.name, m.files.state.name));
    let same = tensors(manifest).is_some_and(|names| tensors(&other) == Some(names));
    let advice = if other.is_file() && !same {
        format!("{} may still be good: pass it instead", other.display())
    } else {
        "restore it from a copy, or start the run again".to_owned()
    };
    let message = format!("{message}. {advice}");
    Error::Checkpoint { path, message }
}

/// Whether `path` holds a checkpoint that [`load`] would try to open.
pub fn exists(path: &Path) -> bool {
    find(path).is_ok()
}

/// The epoch of a manifest that can be read.
pub(super) fn epoch_of(manifest: &Path) -> Option<usize> {
    read_manifest(manifest).ok().map(|stored| stored.run.epoch)
}

fn checkpoint_error(path: &Path, message: impl Into<String>) -> Error {
    Error::Checkpoint { path: path.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests;
