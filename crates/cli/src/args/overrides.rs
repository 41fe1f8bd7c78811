//! Flags that change keys of a recipe.

use super::values::{PRECISIONS, parse_precision, parse_whole};
use clap::Args;
use mlaan::recipe::Recipe;

/// Where images come from and what replaces a recipe's keys.
#[derive(Args, Default)]
pub struct Overrides {
    /// Images: `builtin`, or a folder or archive in any of the forms that `mlaan data inspect` knows
    #[arg(long, value_name = "builtin|PATH")]
    pub data: Option<String>,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub epochs: Option<usize>,
    /// Images per step
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub batch: Option<usize>,
    /// How the network is cut and where memory goes.
    #[command(flatten)]
    pub layout: Layout,
    /// Use only so many training images, and at most as many test images
    #[arg(long, value_name = "IMAGES", value_parser = parse_whole::<usize>)]
    pub limit: Option<usize>,
    /// Start from these weights: a checkpoint (a run's folder or a manifest), or a state dict of PyTorch (.pth, .pt,
    /// .safetensors); with other classes the classifier is new
    #[arg(long, value_name = "CHECKPOINT|FILE")]
    pub init: Option<String>,
    /// Which network of that file, where it has several, as state_dict_ema
    #[arg(long, visible_alias = "key", value_name = "NAME", requires = "init")]
    pub init_key: Option<String>,
    /// Seed of everything random
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub seed: Option<u64>,
    /// What activations and their gradients are stored in: bf16 halves their memory
    #[arg(long, value_name = PRECISIONS, value_parser = parse_precision)]
    pub precision: Option<String>,
    /// Change a key of the recipe; may be given several times (`mlaan recipes --schema` lists the keys)
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub set: Vec<String>,
    /// Leave out images that cannot be decoded, and count them, instead of stopping
    #[arg(long)]
    pub skip_broken: bool,
}

/// How the network is cut and where its memory goes.
#[derive(Args, Clone, Default)]
pub struct Layout {
    /// Local modules, cut evenly; 1 is backpropagation
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub modules: Option<usize>,
    /// Cut such that the greatest memory of a module is least, instead of evenly
    #[arg(long)]
    pub balance: bool,
    /// Compute the inside of modules again on the way back instead of storing it; results stay the same to the bit
    #[arg(long, value_name = "none|module")]
    pub recompute: Option<String>,
}

impl Layout {
    /// The keys of a recipe that it sets.
    fn assignments(&self) -> Vec<String> {
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
    /// Changes `recipe`, and checks the whole.
    ///
    /// # Errors
    /// Which key is unknown or has an impossible value.
    pub fn apply(&self, recipe: &mut Recipe) -> mlaan::Result<()> {
        let mut assignments = self.set.clone();
        if let Some(stray) = assignments.iter().find(|a| !a.contains('=')) {
            let message =
                "expected key=value, as local.cascade.span=3; if this is the recipe, put it before --set";
            return Err(mlaan::Error::recipe(stray, message));
        }
        let numbers =
            [("train.epochs", self.epochs), ("train.batch", self.batch), ("data.limit", self.limit)];
        assignments.extend(numbers.iter().filter_map(|(key, n)| n.map(|n| format!("{key}={n}"))));
        assignments.extend(self.layout.assignments());
        assignments.extend(self.seed.map(|n| format!("seed={n}")));
        assignments.extend(self.precision.as_ref().map(|p| format!("train.precision={p}")));
        assignments.extend(self.skip_broken.then(|| "data.skip_broken=true".to_owned()));
        recipe.set_all(assignments)?;
        if let Some(from) = &self.init {
            // As it is: a path may look like another TOML value.
            recipe.model.init = Some(from.clone());
            recipe.model.init_key.clone_from(&self.init_key);
        }
        if let Some(source) = &self.data {
            recipe.set_source(source);
        }
        Ok(())
    }

    /// Whether the data set is named.
    pub fn names_data(&self) -> bool {
        let sets = |s: &String| s.split('=').next().is_some_and(|k| k.trim() == "data.source");
        self.data.is_some() || self.set.iter().any(sets)
    }
}
