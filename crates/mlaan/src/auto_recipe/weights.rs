//! Weights that training starts from, and what follows from them: the network, its image size, its pixel statistics.

use crate::Result;
use crate::import::{Options, StateDict, described, names};
use crate::recipe::{Family, MeanStd, Model, Normalise, Recipe, Statistics};
use crate::train::checkpoint;
use std::path::Path;

/// What a file of weights, or a checkpoint, says of itself.
pub(super) struct Weights {
    pub from: String,
    pub model: Model,
    /// Side of the images that it was trained on, where that is known.
    pub size: Option<usize>,
    /// What pixels were normalised with, where that is known.
    pub normalise: Option<MeanStd>,
}

impl Weights {
    /// Of a checkpoint (a run's folder or its index) or a file of weights.
    pub fn read(from: &str, key: Option<&str>) -> Result<Self> {
        let path = Path::new(from);
        if path.is_dir() || path.extension().is_some_and(|e| e == "json") {
            return Self::of_run(from, path);
        }
        let mut dict = StateDict::open_key(path, key)?;
        let known = described(path, dict.about(), &Options::default())?;
        names::normalise(&mut dict);
        let own = dict.statistics.as_ref().map(|(_, values)| *values);
        let (model, normalise) = (names::model(&dict, path)?, known.normalise.or(own));
        Ok(Weights { from: from.into(), model, size: known.size, normalise })
    }

    fn of_run(from: &str, path: &Path) -> Result<Self> {
        let (manifest, _) = checkpoint::load(path)?;
        let recipe = Recipe::kept(&manifest.recipe, from)?;
        let model = Model { init: None, init_key: None, ..recipe.model };
        Ok(Weights {
            from: from.into(),
            model,
            size: Some(manifest.size),
            normalise: Some(manifest.normalise),
        })
    }

    /// Whether its network is one for images of 224 pixels.
    pub fn is_imagenet(&self) -> bool {
        self.model.family() == Family::Imagenet
    }

    /// What its pixels were normalised with, for people.
    pub fn statistics(&self) -> String {
        match self.normalise {
            Some(n) => n.to_string(),
            None if self.is_imagenet() => "ImageNet's".into(),
            None => "CIFAR-10's".into(),
        }
    }

    /// Gives a recipe the network and the statistics.
    pub fn lay_over(self, recipe: &mut Recipe) {
        let named = if self.is_imagenet() { Statistics::Imagenet } else { Statistics::Cifar10 };
        recipe.data.normalise = self.normalise.map_or(Normalise::Named(named), Normalise::Values);
        recipe.model = Model { init: Some(self.from), ..self.model };
    }

    /// The network, as recipes name it.
    pub fn network(&self) -> String {
        format!("resnet{}", self.model.backbone.depth())
    }
}
