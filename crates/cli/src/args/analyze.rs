//! `mlaan analyze`.

use super::images::Images;
use super::machine::Machine;
use super::output::Output;
use super::values::parse_positive;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `mlaan analyze`
#[derive(Args)]
#[command(
    after_help = EXAMPLES,
    mut_arg("data", |a| a.help("Images to use [default: those of the first checkpoint's run]")),
    mut_arg("limit", |a| a.help(LIMIT)),
    mut_arg("json", |a| a.help("Print the numbers as one JSON object, as in analysis.json"))
)]
pub struct AnalyzeArgs {
    /// Runs' folders, or checkpoints in them (checkpoints/last.json, best.json)
    #[arg(required = true)]
    pub checkpoints: Vec<PathBuf>,
    /// Linear probes: test error of a linear classifier on the frozen features of every block
    #[arg(long)]
    pub separability: bool,
    /// Linear CKA: similarity of every block to every block of another network
    #[arg(long, requires = "against")]
    pub cka: bool,
    /// Checkpoint that CKA compares with, mostly one of backpropagation
    #[arg(long, value_name = "CHECKPOINT")]
    pub against: Option<PathBuf>,
    /// Draw feature maps of images at several depths (mean over channels, and the 4 strongest channels), a row per
    /// network
    #[arg(long)]
    pub features: bool,
    /// Test error of every auxiliary classifier
    #[arg(long)]
    pub heads: bool,
    /// Images for feature maps: numbers in the test split, or image files
    #[arg(long, value_name = "INDEX,…|PATH", num_args = 1.., default_values = ["0,1,2"])]
    pub images: Vec<String>,
    /// Number of blocks whose feature maps are drawn, spread evenly over the network
    #[arg(long, value_name = "N", default_value = "8", value_parser = parse_positive)]
    pub places: usize,
    /// Where linear probes read: after every block, or only where modules end
    #[arg(long, value_name = "WHERE", default_value = "blocks")]
    pub cut: Cut,
    /// Output size of the adaptive average pooling that probes read
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_grid)]
    pub pool: usize,
    /// Inverse strength of the probes' L2 penalty (scikit-learn's C)
    #[arg(long, value_name = "C", default_value = "1", value_parser = parse_c)]
    pub c: f64,
    /// Batch size of minibatch CKA
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_positive)]
    pub minibatch: usize,
    /// Which images.
    #[command(flatten)]
    pub from: Images,
    /// Folder for numbers and pictures [default: analysis/ in the first checkpoint's run]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

/// Where linear probes read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cut {
    /// After the stem and every block: networks compare at equal depths, however they are cut.
    Blocks,
    /// Where the network's own modules end.
    Modules,
}

const LIMIT: &str =
    "Use at most N training and N test images [default: the run's limit on its own data, otherwise all]";

const EXAMPLES: &str = "\
Examples:
  mlaan analyze runs/bp-resnet32 runs/dgl-resnet32-16 --against runs/bp-resnet32
  mlaan analyze runs/dgl-resnet32-16 --separability --pool 2 --limit 10000
  mlaan analyze runs/bp-resnet32 --features --images 0,17 cat.jpg
  mlaan analyze runs/dgl-resnet32-16 --heads --json

Without --separability, --cka, --features or --heads: all that apply. Numbers come as JSON and CSV, plots as SVG, feature \
maps as PNG.";

fn parse_grid(text: &str) -> Result<usize, String> {
    let n = parse_positive(text)?;
    if n > 16 { Err("at most 16".into()) } else { Ok(n) }
}

fn parse_c(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(c) if c > 0.0 && f64::is_finite(c) => Ok(c),
        _ => Err("a number above 0".into()),
    }
}
