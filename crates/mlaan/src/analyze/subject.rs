//! The network of a checkpoint, and the images that are shown to it.

use crate::backbone::Backbone;
use crate::data::BatchSource;
use crate::data::{Batch, Dataset, Frame, Loader, LoaderOptions, LoaderPool, by_name};
use crate::local::{Learner, Method, Partition, TaskLoss};
use crate::recipe::Recipe;
use crate::train::checkpoint::{self, Manifest};
use crate::train::{Trained, restore, setup};
use crate::{Error, Result};
use mlaan_engine::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use std::sync::Arc;

/// Where values of a network are looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// 0 is the stem, n the n-th block.
    pub place: usize,
    /// `stem`, or the block's name, as `layer1.0`.
    pub name: String,
    /// Channels of its values.
    pub channels: usize,
    /// The local module that it belongs to, from 0.
    pub module: usize,
    /// Whether that module ends here.
    pub module_end: bool,
}

/// A trained network to look at.
pub struct Subject {
    /// What tables and pictures call it.
    pub name: String,
    /// What its checkpoint says.
    pub manifest: Manifest,
    /// Its run's recipe.
    pub recipe: Recipe,
    /// The network, and its auxiliary networks if they were asked for.
    pub learner: Learner,
    /// All its places, in order.
    pub places: Vec<Place>,
    /// Whether its auxiliary classifiers are there.
    pub with_heads: bool,
}

/// Images that networks are shown.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The images.
    pub data: &'a Arc<dyn Dataset>,
    /// What loads them.
    pub pool: &'a LoaderPool,
    /// Images at a time: decides speed and memory. For CKA also the estimate (see [`super::cka`]).
    pub batch: usize,
}

impl Subject {
    /// Opens the checkpoint at `path` (as [`checkpoint::load`]) on `device`; with `heads` also its auxiliary
    /// classifiers, if it has any. It computes in its run's precision.
    ///
    /// # Errors
    /// A checkpoint that cannot be used; out of memory.
    pub fn open(name: impl Into<String>, path: &Path, device: &Device, heads: bool) -> Result<Self> {
        Self::of(name, &Trained::open(path, false)?, device, heads)
    }

    /// As [`Subject::open`], of a checkpoint that is open; a device that computes nothing gets no values.
    ///
    /// # Errors
    /// A checkpoint that lacks tensors; out of memory.
    pub fn of(name: impl Into<String>, trained: &Trained, device: &Device, heads: bool) -> Result<Self> {
        let (manifest, recipe) = (trained.manifest.clone(), trained.recipe.clone());
        let device = device.with_precision(recipe.train.precision.into());
        let backbone = setup::network(&recipe)?;
        let partition = Partition::new(&recipe.local, &backbone)?;
        let with_heads = heads && partition.len() > 1 && recipe.local.loss == TaskLoss::CrossEntropy;
        let method = if with_heads { recipe.local.clone() } else { Method::default() };
        let mut learner = Learner::for_inference(&device, &backbone, &method, trained.task(), 0)?;
        if device.computes() {
            restore(&mut learner, &trained.tensors, with_heads)?;
        }
        let places = places(&partition, &backbone);
        Ok(Subject { name: name.into(), manifest, recipe, learner, places, with_heads })
    }

    /// Whether a checkpoint has auxiliary classifiers.
    pub fn has_heads(trained: &Trained) -> bool {
        let method = &trained.recipe.local;
        let modules = method.cuts.as_ref().map_or(method.modules, |c| c.len() + 1);
        modules > 1 && method.loss == TaskLoss::CrossEntropy
    }

    /// The places at which its modules end.
    pub fn ends(&self) -> Vec<Place> {
        self.places.iter().filter(|p| p.module_end).cloned().collect()
    }

    /// The images of a set with the labels of its own classes, by name; a set may have fewer of them.
    ///
    /// # Errors
    /// When a class with images is none of its own, or a name stands for several.
    pub(super) fn matched(&self, data: &Arc<dyn Dataset>) -> Result<Arc<dyn Dataset>> {
        let (ours, theirs) = (&self.manifest.classes, data.classes());
        if ours == theirs {
            return Ok(Arc::clone(data));
        }
        by_name(data, ours).map_err(|unknown| {
            let lost = ours.iter().find(|class| !theirs.contains(class));
            let why = match (unknown.first(), lost) {
                (Some(class), Some(own)) => format!("it does not know `{class}`, and has `{own}`"),
                (Some(class), None) => format!("it does not know `{class}`"),
                (None, _) => "a name stands for several classes".into(),
            };
            let message = format!(
                "its classes ({}) are not the images' ({}; {why}): analyze it with images of its own kind (`--data`)",
                ours.len(),
                theirs.len()
            );
            Error::data(&self.name, message)
        })
    }

    /// What it sees of an image of any size.
    pub fn frame(&self) -> Frame {
        Frame::new(self.manifest.size, self.recipe.data.short_side)
    }

    /// Normalised images of a batch on its device.
    pub(super) fn to_device(&self, batch: &Batch) -> Result<Tensor> {
        let (size, pixels) = (self.manifest.size, self.learner.task().pixels);
        Ok(BatchSource::Host.to_device(self.learner.device(), Some(batch), batch.len(), size, pixels)?.images)
    }
}

fn places(partition: &Partition, backbone: &dyn Backbone) -> Vec<Place> {
    let stem = ("stem", backbone.stem_channels());
    let all = std::iter::once(stem).chain(backbone.blocks().iter().map(|b| (b.name.as_str(), b.channels)));
    let ends: Vec<usize> = (0..partition.len()).map(|j| partition.blocks(j).end).collect();
    let place = |(place, (name, channels)): (usize, (&str, usize))| {
        let module = ends.iter().filter(|&&e| e < place).count();
        Place { place, name: name.into(), channels, module, module_end: ends.contains(&place) }
    };
    all.enumerate().map(place).collect()
}

impl<'a> Seen<'a> {
    /// Another set, seen alike.
    pub(super) fn of(&self, data: &'a Arc<dyn Dataset>) -> Self {
        Seen { data, ..*self }
    }

    /// Calls `f` with every batch, of framed images without augmentation, in the set's order or shuffled (always
    /// alike).
    ///
    /// # Errors
    /// From the data set; what `f` returns.
    pub(super) fn each(
        &self,
        frame: Frame,
        shuffle: bool,
        f: &mut dyn FnMut(&Batch) -> Result<()>,
    ) -> Result<()> {
        let options = LoaderOptions { shuffle, ..LoaderOptions::evaluation(self.batch, frame) };
        let mut loader = Loader::new(Arc::clone(self.data), self.pool, options)?;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            f(&batch)?;
            loader.recycle(batch);
        }
        Ok(())
    }
}

/// Threads of the processor for what is solved beside the device.
pub(super) fn workers(device: &Device) -> Result<rayon::ThreadPool> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(device.threads()).build();
    pool.map_err(|e| Error::data("analysis", format!("no thread could be started ({e}): use fewer threads")))
}

/// Names for checkpoints: as many of the last parts of their runs' paths as tell them apart, without parts that all
/// end with (as `seed-0`).
pub fn names(paths: &[impl AsRef<Path>]) -> Vec<String> {
    let mut parts: Vec<Vec<String>> = paths.iter().map(|p| run_parts(p.as_ref())).collect();
    let last = |parts: &[Vec<String>]| parts.first().and_then(|p| p.last().cloned());
    while parts.len() > 1
        && parts.iter().all(|p| p.len() > 1 && p.last() == parts[0].last())
        && last(&parts).is_some()
    {
        parts.iter_mut().for_each(|p| drop(p.pop()));
    }
    let tail = |p: &[String], n: usize| p[p.len().saturating_sub(n)..].join("/");
    let longest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let distinct = |n: &usize| {
        let all: std::collections::BTreeSet<String> = parts.iter().map(|p| tail(p, *n)).collect();
        all.len() == parts.len()
    };
    let n = (1..=longest).find(distinct).unwrap_or(longest);
    parts.iter().map(|p| tail(p, n)).collect()
}

/// The parts of the path of a checkpoint's run; of a manifest other than the last one its name too.
fn run_parts(path: &Path) -> Vec<String> {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let parts = whole.components().filter(|c| matches!(c, Component::Normal(_)));
    let mut parts: Vec<String> = parts.map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|p| p == checkpoint::LAST) {
        parts.pop();
    } else if let Some(p) = parts.last_mut().filter(|p| p.ends_with(".json")) {
        p.truncate(p.len() - ".json".len());
    }
    parts.retain(|p| p != checkpoint::FOLDER);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_short_as_tells_checkpoints_apart() {
        let of = |paths: &[&str]| names(paths);
        assert_eq!(of(&["runs/bp"]), ["bp"]);
        assert_eq!(of(&["runs/bp/seed-0", "runs/dgl/seed-0"]), ["bp", "dgl"]);
        assert_eq!(of(&["runs/bp/seed-0", "runs/bp/seed-1"]), ["seed-0", "seed-1"]);
        assert_eq!(
            of(&["a/bp/seed-0", "a/bp/seed-1", "a/dgl/seed-0"]),
            ["bp/seed-0", "bp/seed-1", "dgl/seed-0"]
        );
        assert_eq!(of(&["a/bp/checkpoints/last.json", "a/bp/checkpoints/best.json"]), ["bp", "best"]);
        assert_eq!(of(&["a/bp", "a/bp"]).len(), 2);
    }

    #[test]
    fn places_know_their_modules() {
        let net = crate::backbone::ResNet::cifar(8, 4).unwrap();
        let ends = |cuts: Option<Vec<usize>>| {
            let method = Method { cuts, ..Method::default() };
            let all = places(&Partition::new(&method, &net).unwrap(), &net);
            all.iter().map(|p| (p.module, p.module_end)).collect::<Vec<_>>()
        };
        assert_eq!(ends(None), [(0, false), (0, false), (0, false), (0, true)]);
        assert_eq!(ends(Some(vec![0, 2])), [(0, true), (1, false), (1, true), (2, true)]);
    }
}
