//! `mlaan data`.

use super::machine::Processor;
use super::output::Output;
use super::values::parse_number;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `mlaan data`
#[derive(Args)]
#[command(after_help = DATA_EXAMPLES)]
pub struct DataArgs {
    /// What to do with images.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// What can be done with images.
#[derive(Subcommand)]
pub enum DataCommand {
    /// Say what lies at a path: form, classes, sizes, statistics, and the first problem
    Inspect(InspectArgs),
    /// Fetch a published set: resumed where it was cut, and checked before it counts
    Download(DownloadArgs),
}

const DATA_EXAMPLES: &str = "\
Examples:
  mlaan data download cifar10
  mlaan data inspect data/cifar10
  mlaan train bp-resnet32 --data data/cifar10";

/// `mlaan data inspect`
#[derive(Args)]
#[command(
    after_help = inspect_help(),
    mut_arg("threads", |a| a.help("Threads that decode [default: all cores]"))
)]
pub struct InspectArgs {
    /// A folder, an archive, or `builtin`
    pub path: String,
    /// Fraction of the training images to hold out for validation, as --validation of `mlaan train` does
    #[arg(long, value_name = "FRACTION", value_parser = parse_number, allow_negative_numbers = true)]
    pub validation: Option<f64>,
    /// Fraction of every class to hold out for testing, where the set has no test split, as --test of `mlaan train` does
    /// [default: 0.2]
    #[arg(long, value_name = "FRACTION", value_parser = parse_number, allow_negative_numbers = true)]
    pub test: Option<f64>,
    /// Show every class and up to a hundred problems
    #[arg(long)]
    pub all: bool,
    /// What decodes.
    #[command(flatten)]
    pub processor: Processor,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  mlaan data inspect cifar-10-binary.tar.gz
  mlaan data inspect photos/ --all
  mlaan data inspect flowers/ --test 0.1   class folders without splits; a fifth is held out by default
  mlaan data inspect imagenet/ --json

Every image is decoded, and none is kept. The exit status is 1 where images are broken.";

fn inspect_help() -> String {
    let layouts = mlaan::data::layouts();
    format!("{INSPECT_EXAMPLES}\n\nA data set is\n  {}\n  `builtin`", layouts.join("\n  "))
}

/// `mlaan data download`
#[derive(Args)]
#[command(
    after_help = DOWNLOAD_EXAMPLES,
    mut_arg("json", |a| a.help("Print one JSON object, and progress nowhere"))
)]
pub struct DownloadArgs {
    /// The set: cifar10, cifar100, svhn or stl10
    pub set: String,
    /// The folder to put it in [default: data/ and the set's name]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// A folder on a server of your own that has the files; it is asked first
    #[arg(long, value_name = "URL", value_parser = parse_mirror)]
    pub mirror: Option<String>,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const DOWNLOAD_EXAMPLES: &str = "\
Examples:
  mlaan data download cifar10
  mlaan data download svhn --to sets/svhn
  mlaan data download stl10 --mirror http://files.example/stl10

A download that stopped goes on where it was when it is asked for again. Archives stay packed: they are read so. Proxies \
are taken from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.";

fn parse_mirror(text: &str) -> Result<String, String> {
    let http = text.starts_with("http://") || text.starts_with("https://");
    if http { Ok(text.into()) } else { Err("a URL that begins with http:// or https://".into()) }
}
