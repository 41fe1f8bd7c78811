//! A trained network, as a checkpoint keeps it: to test, use, export or look into.

use super::checkpoint::{self, Manifest, Tensors};
use super::{restore, setup};
use crate::Result;
use crate::backbone::ResNet;
use crate::local::{Learner, Method, Task};
use crate::nn::Extent;
use crate::recipe::Recipe;
use mlaan_engine::Device;
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
    tensors: Tensors,
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

    /// What it was taught.
    pub fn task(&self) -> Task {
        let m = &self.manifest;
        let pixels = setup::pixel_scale(&m.normalise);
        Task { image: Extent::square(m.size, 3), classes: m.classes.len(), pixels }
    }

    /// The file of the network's tensors.
    pub fn model_file(&self) -> &Path {
        self.tensors.model.path()
    }

    /// The network on a device, in one module and without what only teaches it.
    ///
    /// # Errors
    /// Out of memory; a checkpoint that lacks tensors.
    pub fn network(&mut self, device: &Device) -> Result<Learner> {
        let mut learner = Learner::new(device, &self.backbone()?, &Method::default(), self.task(), 0)?;
        restore(&mut learner, &mut self.tensors, false)?;
        Ok(learner)
    }
}
