//! `mlaan audit`.

use super::machine::Machine;
use super::output::Output;
use super::settings::Settings;
use super::values::{DEFAULT_RECIPE, parse_positive};
use clap::Args;
use std::path::PathBuf;

/// `mlaan audit`
#[derive(Args)]
#[command(after_help = EXAMPLES, mut_arg("batch", |a| a.help("Images of a step [default: 4]").value_parser(parse_positive)))]
pub struct AuditArgs {
    /// A built-in recipe (see `mlaan recipes`) or a TOML file
    #[arg(default_value = DEFAULT_RECIPE)]
    pub recipe: String,
    /// What replaces keys of the recipe.
    #[command(flatten)]
    pub settings: Settings,
    /// Also write audit.json into this folder; in a run's folder, `mlaan report` shows it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const EXAMPLES: &str = "\
Examples:
  mlaan audit
  mlaan audit dgl-resnet32-16
  mlaan audit mlaan-released-resnet20-10 --out runs/mine

A training step is taken on random images, then again with other labels for one loss alone, for every loss in turn. \
Parameters that differ were reached by that loss. What the method does not allow, and what a loss should teach and does not, is named, and the exit status is then 1. \
Steps are SGD in 32 bits, whatever the recipe says of precision and optimiser.";
