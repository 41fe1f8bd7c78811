//! Which images are used.

use super::values::parse_positive;
use clap::Args;

/// Where images come from, and which of them are used.
#[derive(Args, Clone, Debug, Default)]
pub struct Images {
    /// Images: `builtin`, or a folder or archive in any of the forms that `mlaan data inspect` knows
    #[arg(long, value_name = "builtin|PATH")]
    pub data: Option<String>,
    /// Which of them.
    #[command(flatten)]
    pub sample: Sample,
}

/// Which images of a set are used.
#[derive(Args, Clone, Debug, Default)]
pub struct Sample {
    /// Use only N training images, and at most N test images
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub limit: Option<usize>,
    /// Leave out images that cannot be decoded, and count them, instead of stopping
    #[arg(long)]
    pub skip_broken: bool,
}

impl Sample {
    /// The keys of a recipe that it sets.
    pub fn assignments(&self) -> Vec<String> {
        let limit = self.limit.map(|n| format!("data.limit={n}"));
        limit.into_iter().chain(self.skip_broken.then(|| "data.skip_broken=true".to_owned())).collect()
    }
}
