//! Flags that make a recipe's run another one.

use super::images::Images;
use super::settings::Settings;
use super::values::parse_whole;
use clap::Args;
use mlaan::recipe::Recipe;

/// Where images come from and what replaces a recipe's keys.
#[derive(Args)]
pub struct Overrides {
    /// Where images come from.
    #[command(flatten)]
    pub images: Images,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub epochs: Option<usize>,
    /// Keys of the recipe.
    #[command(flatten)]
    pub settings: Settings,
    /// How the network is cut and where memory goes.
    #[command(flatten)]
    pub layout: Layout,
    /// Start from pretrained weights: a checkpoint (a run's folder, or last.json or best.json in it), or a state dict of
    /// PyTorch (.pth, .pt, .safetensors); with other classes the classifier is new
    #[arg(long, value_name = "CHECKPOINT|FILE")]
    pub init: Option<String>,
    /// Which network of that file, where it has several (e.g. state_dict_ema)
    #[arg(long, visible_alias = "key", value_name = "NAME", requires = "init")]
    pub init_key: Option<String>,
    /// Random seed
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub seed: Option<u64>,
}

/// How the network is cut and where its memory goes.
#[derive(Args)]
pub struct Layout {
    /// Number of local modules, cut evenly; 1 is backpropagation
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub modules: Option<usize>,
    /// Balance the peak memory of modules instead of their numbers of blocks
    #[arg(long)]
    pub balance: bool,
    /// Recompute activations inside modules in the backward pass instead of storing them (activation checkpointing);
    /// bit-identical
    #[arg(long, value_name = "none|module")]
    pub recompute: Option<String>,
}

impl Layout {
    /// The keys of a recipe that it sets.
    pub fn assignments(&self) -> Vec<String> {
        let mut keys = Vec::new();
        if let Some(n) = self.modules {
            keys.extend([format!("local.modules={n}"), "local.cuts=none".into()]);
            if n == 1 {
                keys.extend(["cascade", "leap", "stem_alone"].map(|key| format!("local.{key}=none")));
            }
        }
        keys.extend(self.balance.then(|| "local.balance=true".to_owned()));
        keys.extend(self.recompute.as_ref().map(|r| format!("local.recompute={r}")));
        keys
    }
}

impl Overrides {
    /// The keys that it sets, but for images and weights, which may look like other values.
    ///
    /// # Errors
    /// What is no assignment.
    pub fn assignments(&self) -> mlaan::Result<Vec<String>> {
        let mut assignments = self.settings.assignments()?;
        assignments.extend(self.epochs.map(|n| format!("train.epochs={n}")));
        assignments.extend(self.images.sample.assignments());
        assignments.extend(self.layout.assignments());
        assignments.extend(self.seed.map(|n| format!("seed={n}")));
        Ok(assignments)
    }

    /// Changes `recipe`, and checks the whole.
    ///
    /// # Errors
    /// Which key is unknown or has an impossible value.
    pub fn apply(&self, recipe: &mut Recipe) -> mlaan::Result<()> {
        recipe.set_all(self.assignments()?)?;
        if let Some(from) = &self.init {
            // As it is: a path may look like another TOML value.
            recipe.model.init = Some(from.clone());
            recipe.model.init_key.clone_from(&self.init_key);
        }
        if let Some(source) = &self.images.data {
            recipe.set_source(source);
        }
        Ok(())
    }

    /// Whether the data set is named.
    pub fn names_data(&self) -> bool {
        self.source().is_some()
    }

    /// Where the images are, if that is named.
    pub fn source(&self) -> Option<String> {
        self.images.data.clone().or_else(|| self.settings.value("data.source"))
    }
}
