//! Flags that set keys of a recipe, the same in every command that takes a recipe.

use super::values::{OPTIMIZERS, PRECISIONS, parse_number, parse_optimizer, parse_precision, parse_whole};
use clap::Args;
use mlaan::Error;

/// What replaces keys of a recipe.
#[derive(Args, Clone, Debug, Default)]
pub struct Settings {
    /// Images per step [default: the recipe's]
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub batch: Option<usize>,
    /// Height and width of the images [default: the recipe's]
    #[arg(long, value_name = "PX", value_parser = parse_whole::<usize>)]
    pub size: Option<usize>,
    /// Peak learning rate, not scaled with the batch size [default: the recipe's]
    #[arg(long, value_name = "RATE", value_parser = parse_number, allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Optimizer; recipes' rates are for sgd, so give --lr beside the others (adamw: about 0.001)
    /// [default: the recipe's]
    #[arg(long, value_name = OPTIMIZERS, value_parser = parse_optimizer)]
    pub optimizer: Option<String>,
    /// Precision that activations and their gradients are stored in; bf16 halves their memory [default: the recipe's]
    #[arg(long, value_name = PRECISIONS, value_parser = parse_precision)]
    pub precision: Option<String>,
    /// Fraction of the training images to hold out for choosing the best epoch (e.g. 0.1; stratified, of the images that
    /// --limit and --test leave), where the set has no validation split of its own; the test images are then used once, at
    /// the end
    /// [default: the recipe's]
    #[arg(long, value_name = "FRACTION", value_parser = parse_number, allow_negative_numbers = true)]
    pub validation: Option<f64>,
    /// Fraction of every class to hold out for testing (e.g. 0.2), where the set has no test split, or no splits at all; the
    /// same for every seed [default: the recipe's]
    #[arg(long, value_name = "FRACTION", value_parser = parse_number, allow_negative_numbers = true)]
    pub test: Option<f64>,
    /// Freeze parameters by the first parts of their names (e.g. stem,layer1); none for all to learn
    /// [default: the recipe's]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub freeze: Vec<String>,
    /// Change a key of the recipe; may be given several times (`mlaan recipes --schema` lists the keys)
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub set: Vec<String>,
}

impl Settings {
    /// The assignments, those with a flag of their own behind those of `--set`, which they outdo.
    ///
    /// # Errors
    /// What is no assignment.
    pub fn assignments(&self) -> mlaan::Result<Vec<String>> {
        if let Some(stray) = self.set.iter().find(|a| !a.contains('=')) {
            let message = match mlaan::recipe::KEYS.iter().any(|key| key.path == stray) {
                true => format!("expected key=value, as --set {stray}=VALUE"),
                false => "expected key=value after --set, as local.cascade.span=3; a recipe or suite is named before --set".into(),
            };
            return Err(Error::recipe(stray, message));
        }
        let numbers = [("train.batch", self.batch), ("data.size", self.size)];
        let numbers = numbers.iter().filter_map(|(key, n)| n.map(|n| format!("{key}={n}")));
        let lr = self.lr.map(|rate| format!("train.lr={rate:?}"));
        let optimizer = self.optimizer.as_ref().map(|name| format!("train.optimizer={name}"));
        let precision = self.precision.as_ref().map(|p| format!("train.precision={p}"));
        let validation = self.validation.map(|share| format!("data.validation={share:?}"));
        let test = self.test.map(|share| format!("data.test={share:?}"));
        let shares = validation.into_iter().chain(test);
        let named = lr.into_iter().chain(optimizer).chain(precision).chain(shares).chain(self.frozen());
        Ok(self.set.iter().cloned().chain(numbers).chain(named).collect())
    }

    fn frozen(&self) -> Option<String> {
        match self.freeze.as_slice() {
            [] => None,
            [none] if none == "none" => Some("train.freeze=none".into()),
            // As TOML writes strings, too.
            names => Some(format!("train.freeze={}", serde_json::json!(names))),
        }
    }

    /// What `--set` sets a key to.
    pub fn value(&self, key: &str) -> Option<String> {
        value(&self.set, key).map(str::to_owned)
    }
}

/// The text that the last of `keys` gives to a key.
pub fn value<'a>(keys: &'a [String], key: &str) -> Option<&'a str> {
    let of = |text: &'a String| text.split_once('=').filter(|(name, _)| name.trim() == key);
    keys.iter().rev().find_map(of).map(|(_, value)| value.trim().trim_matches('"'))
}
