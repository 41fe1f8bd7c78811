//! `mlaan audit`.

use super::machine::Machine;
use super::output::Output;
use super::settings::Settings;
use super::values::{parse_positive, parse_whole};
use clap::Args;
use std::path::PathBuf;

/// `mlaan audit`
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    /// A built-in recipe (see `mlaan recipes`), a TOML file, or a run's folder, for the network and method of that run [default:
    /// one that suits --data; without images demo]
    pub recipe: Option<String>,
    /// Images that a recipe is chosen for, as `mlaan train --data` does; the audit itself is on random ones
    #[arg(long, value_name = "builtin|PATH")]
    pub data: Option<String>,
    /// Images per step
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_positive)]
    pub batch: usize,
    /// Height and width of the images [default: the recipe's]
    #[arg(long, value_name = "PX", value_parser = parse_whole::<usize>)]
    pub size: Option<usize>,
    /// Freeze parameters by the first parts of their names (e.g. stem,layer1); none for all to learn
    /// [default: the recipe's]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub freeze: Vec<String>,
    /// Change a key of the recipe; may be given several times (`mlaan recipes --schema` lists the keys)
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub set: Vec<String>,
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

impl AuditArgs {
    /// What replaces keys of the recipe: those that a network and a method have.
    pub fn settings(&self) -> Settings {
        Settings {
            size: self.size,
            freeze: self.freeze.clone(),
            set: self.set.clone(),
            ..Settings::default()
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  mlaan audit
  mlaan audit dgl-resnet32-16
  mlaan audit runs/mine --out runs/mine

A training step is taken on random images, then again with other labels for one loss alone, for every loss in turn. \
Parameters that differ were reached by that loss. What the method does not allow, and what a loss should reach and does not, is named, and the exit status is then 1. \
Steps are SGD in 32 bits, whatever the recipe says of precision and optimizer.";
