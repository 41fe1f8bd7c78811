//! A trained network, as a checkpoint keeps it: to test, use, export or look into.

use super::checkpoint::{self, Manifest, Tensors};
use super::{TensorFile, restore, setup};
use crate::Result;
use crate::backbone::ResNet;
use crate::local::{Learner, Method, Task};
use crate::nn::ImageShape;
use crate::plan::{self, Inference, Needs, Process, TensorSizes};
use crate::recipe::Recipe;
use mlaan_engine::{Device, DeviceKind};
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub struct Trained {
    /// The checkpoint: a folder or a manifest.
    pub path: PathBuf,
    /// What it says about its run.
    pub manifest: Manifest,
    /// The run's recipe, with the images' size of the run.
    pub recipe: Recipe,
    pub(crate) tensors: Tensors,
}

impl Trained {
    /// Opens the last checkpoint of a folder, the one whose manifest `path` is, or with `best` the best one there.
    ///
    /// # Errors
    /// As [`checkpoint::load`] and [`checkpoint::best`].
    pub fn open(path: &Path, best: bool) -> Result<Self> {
        let path = if best { checkpoint::best(path)? } else { path.to_owned() };
        let (manifest, tensors) = checkpoint::load(&path)?;
        let mut recipe = Recipe::kept(&manifest.recipe, &format!("checkpoint {}", path.display()))?;
        recipe.data.size = manifest.size;
        Ok(Trained { path, manifest, recipe, tensors })
    }

    /// The network without its values.
    ///
    /// # Errors
    /// None in practice: the run was made of the same recipe.
    pub fn backbone(&self) -> Result<ResNet> {
        setup::backbone(&self.recipe.model)
    }

    /// What it was trained.
    pub fn task(&self) -> Task {
        let m = &self.manifest;
        let pixels = setup::pixel_scale(&m.normalise);
        Task { image: ImageShape::square(m.size, 3), classes: m.classes.len(), pixels }
    }

    /// What it needs to see `images` images, `batch` at a time, on a device of this kind; `data_bytes` of host memory are
    /// the images' and their batches'. `folded` as [`Learner::fuse`].
    ///
    /// # Errors
    /// As [`plan::inference`].
    pub fn plan(
        &self,
        kind: DeviceKind,
        (batch, images): (usize, usize),
        data_bytes: usize,
        folded: bool,
    ) -> Result<Needs> {
        let precision = self.recipe.train.precision.into();
        let sizes = Inference { batch, images, at_once: 1, folded, data_bytes, precision, kind };
        plan::inference(&self.backbone()?, self.task(), &sizes)
    }

    /// What it needs to be built with its values and nothing more, on one thread of the processor, by a process of this kind.
    ///
    /// # Errors
    /// As [`plan::inference`].
    pub fn plan_values(&self, process: Process) -> Result<Needs> {
        let kind = DeviceKind::Cpu { threads: Some(1) };
        let device = Device::dry(kind)?;
        let mut network =
            Learner::for_inference(&device, &self.backbone()?, &Method::default(), self.task(), 0)?;
        let process = TensorSizes::of(&mut network)?.process(kind, process);
        network.fuse()?;
        Ok(Needs { usage: device.usage(), process, messages: 0 })
    }

    /// The file of the network's tensors.
    pub fn model_file(&self) -> &TensorFile {
        &self.tensors.model
    }

    /// The network on a device, in one module, without auxiliary networks and without state of an optimiser.
    ///
    /// # Errors
    /// Out of memory; a checkpoint that lacks tensors.
    pub fn network(&self, device: &Device) -> Result<Learner> {
        let mut learner =
            Learner::for_inference(device, &self.backbone()?, &Method::default(), self.task(), 0)?;
        restore(&mut learner, &self.tensors, false)?;
        Ok(learner)
    }
}
