//! The command line.

mod analyze;
mod audit;
mod compare;
mod data;
pub mod help;
mod images;
mod machine;
mod output;
mod overrides;
mod parse;
mod recipes;
mod report;
mod settings;
mod using;
mod values;

pub use analyze::{AnalyzeArgs, Cut};
pub use audit::AuditArgs;
pub use compare::CompareArgs;
pub use data::{DataArgs, DataCommand, DownloadArgs, InspectArgs};
pub use overrides::{Layout, Overrides};
pub use parse::{Unread, parse};
pub use recipes::{CompletionsArgs, ManArgs, RecipesArgs};
pub use report::ReportArgs;
pub use settings::{Settings, value};
pub use using::{ExportArgs, ExportFormat, ImportArgs, PredictArgs, Split, Turning};
pub use values::{DEFAULT_RECIPE, fewer_threads};

use self::images::Images;
use self::machine::{Machine, Machines};
use self::output::{Output, Speech};
use self::values::{
    PRECISIONS, parse_division, parse_gflops, parse_latency, parse_memory, parse_number, parse_positive,
    parse_precision, parse_ranks, parse_rate, parse_time, parse_whole,
};
use clap::{Args, Parser, Subcommand};
use mlaan::plan::Division;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// Train deep image classifiers module by module, in less memory than backpropagation needs.
#[derive(Parser)]
#[command(name = "mlaan", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; without a word, `train` with its defaults.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  mlaan                                a first run on the built-in images
  mlaan train --data photos/           your own images: it chooses the rest
  mlaan plan mlaan-paper-resnet32-16   what a run would need, before it runs
  mlaan eval runs/demo                 its accuracy, class by class
  mlaan predict runs/demo a.jpg        the class of an image
  mlaan analyze runs/demo              what its modules hold, block by block
  mlaan bench bp-resnet32 --batch 128  how fast it trains here
  mlaan compare small --plan           every method side by side, and its cost
  mlaan recipes                        the experiments that are built in
  mlaan devices                        the devices that are available

`mlaan COMMAND --help` says more.";

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Train a network as a recipe says
    Train(TrainArgs),
    /// Test a trained network
    Eval(EvalArgs),
    /// Classify images with a trained network
    Predict(PredictArgs),
    /// Write a trained network for other programs: as a state dict of PyTorch, or as ONNX
    Export(ExportArgs),
    /// Convert PyTorch weights to a checkpoint
    Import(ImportArgs),
    /// See what trained networks hold at each depth: linear probes, similarity (CKA), auxiliary classifiers, feature maps
    Analyze(AnalyzeArgs),
    /// Check that gradients stay where a method says: which loss reaches which module
    Audit(AuditArgs),
    /// Show what a run would need: memory and compute, module by module
    Plan(PlanArgs),
    /// Measure how fast a recipe trains here, and in how much memory
    Bench(BenchArgs),
    /// Inspect and download data sets
    Data(DataArgs),
    /// Run methods side by side, with several seeds, as the paper's tables do
    Compare(CompareArgs),
    /// Write an HTML report of runs, comparisons and analyses
    Report(ReportArgs),
    /// List the built-in recipes, print one, or list the keys that a recipe may hold
    Recipes(RecipesArgs),
    /// List the available devices: the processor, NVIDIA GPUs, and what these lack
    Devices(DevicesArgs),
    /// Print completions of commands, flags and recipes for a shell
    Completions(CompletionsArgs),
    /// Print or write manual pages
    Man(ManArgs),
}

/// `mlaan train`
#[derive(Args)]
#[command(after_help = TRAIN_EXAMPLES, mut_arg("json", |a| a.help(TRAIN_JSON)))]
pub struct TrainArgs {
    /// A built-in recipe (see `mlaan recipes`) or a TOML file [default: one that suits --data; without images demo]
    pub recipe: Option<String>,
    /// What replaces keys of the recipe.
    #[command(flatten)]
    pub overrides: Overrides,
    /// Folder for metrics, recipe and checkpoints [default: runs/ and the recipe's name]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Resume from the last checkpoint of the folder, exactly as if the run had never stopped
    #[arg(long)]
    pub resume: bool,
    /// Memory budget of the run (e.g. 2GiB, 900MB or 1.5G); where the recipe needs more, auxiliary networks
    /// move to host memory (on a GPU), then recomputation is chosen, then activations in bf16, and a smaller batch if need be
    #[arg(long, value_name = "BYTES", value_parser = parse_memory, conflicts_with = "resume")]
    pub memory: Option<usize>,
    /// Time budget (e.g. 8h, 90min or 2d); no run or epoch begins that is not expected to end within it, and a run's
    /// first epoch stops within it. All is saved, and what follows goes on as if nothing had happened
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub time: Option<Duration>,
    /// Which modules each of several ranks holds: divided evenly by time or by memory, or how many each has (e.g. 6,5,5);
    /// results are the same
    #[arg(long, value_name = "time|memory|N,N,…", default_value = "time", value_parser = parse_division)]
    pub rank_modules: Division,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machines,
    /// Write TensorBoard's event files too, into this folder [default: tensorboard in the run's folder]; a run that has
    /// that one goes on with it
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub tensorboard: Option<Option<PathBuf>>,
    /// Show a progress bar and lines even where the terminal has room for the dashboard
    #[arg(long)]
    pub plain: bool,
    /// What it prints.
    #[command(flatten)]
    pub speech: Speech,
}

const TRAIN_JSON: &str = "Print every event as a line of JSON, the lines of metrics.jsonl, and nothing else";

const TRAIN_EXAMPLES: &str = "\
Examples:
  mlaan train
  mlaan train --data photos/   a folder per class: chooses the rest, and says so
  mlaan train mlaan-paper-resnet32-16 --data cifar10/ --epochs 30
  mlaan train mine.toml --set local.cascade.span=3 --lr 0.05 --out runs/span3
  mlaan train --resume --out runs/span3
  mlaan train mlaan-paper-resnet32-16 --memory 900MB
  mlaan train mlaan-paper-resnet110-55 --device cuda:0,cuda:1
  mpirun -n 2 mlaan train mlm-resnet110-55 --data cifar10/   modules over processes: docs/several-machines.md
  mlaan train bp-resnet32 --data photos/ --validation 0.1
  mlaan train bp-resnet110 --data cifar10/ --time 8h   then with --resume
  mlaan train --tensorboard               then: tensorboard --logdir runs
  mlaan train --data photos/ --init resnet50.pth       fine-tuning

Ctrl-C stops after the current step and saves; --resume goes on from there.";

/// `mlaan eval`
#[derive(Args)]
#[command(
    after_help = EVAL_EXAMPLES,
    mut_arg("data", |a| a.help("Images whose split is used [default: those of the run]")),
    mut_arg("test", |a| a.requires("data")),
    mut_arg("limit", |a| a.help("Use at most N images of the split [default: the run's limit on its own data, otherwise all]"))
)]
pub struct EvalArgs {
    /// A run's folder, its checkpoints folder, or a checkpoint in it (last.json, best.json)
    pub checkpoint: PathBuf,
    /// Use the checkpoint of the best epoch, chosen by the validation error (test error, where there is no validation set),
    /// instead of the last one
    #[arg(long)]
    pub best: bool,
    /// Which images.
    #[command(flatten)]
    pub images: Images,
    /// Split to test on; training images are not augmented
    #[arg(long, value_enum, default_value_t)]
    pub split: Split,
    /// Fraction of every class that is tested on, where the images of --data have no test split [default: 0.2]
    #[arg(long, value_name = "FRACTION", value_parser = parse_number, allow_negative_numbers = true)]
    pub test: Option<f64>,
    /// Images per step; changes speed and memory, not the result [default: the run's]
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub batch: Option<usize>,
    /// Whether images are turned as their EXIF orientation says [default: as in the run]
    #[arg(long, value_enum)]
    pub orientation: Option<Turning>,
    /// Precision that activations are stored in [default: as in the run]
    #[arg(long, value_name = PRECISIONS, value_parser = parse_precision)]
    pub precision: Option<String>,
    /// Write the confusion matrix as CSV: a row per class, a column per class that its images were predicted as
    #[arg(long, value_name = "FILE.csv")]
    pub confusion: Option<PathBuf>,
    /// List the N mistakes with the highest loss: class, what it was predicted as, confidence, file
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub mistakes: Option<usize>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const EVAL_EXAMPLES: &str = "\
Examples:
  mlaan eval runs/demo
  mlaan eval runs/demo --best --mistakes 20
  mlaan eval runs/demo --split train
  mlaan eval runs/demo --confusion confusion.csv
  mlaan eval runs/cifar/checkpoints/last.json --data cifar10/ --json

Loss is the mean cross-entropy. Precision, recall, F1 and their averages are those of scikit-learn's \
classification_report (0 where there is nothing to divide by). ECE is the expected calibration error over 15 bins of equal \
width (Guo et al., 2017). With --json, `confusion` is a list of [class, predicted, images], zeros left out; classes and images count \
from 0. A run keeps the same in its folder, of its last epoch, as evaluation.json.";

/// `mlaan plan`
#[derive(Args)]
#[command(
    after_help = PLAN_EXAMPLES,
    mut_arg("data", |a| a.help("Images that the run is to train on: they are opened as it opens them, and counted in its memory")),
    mut_arg("limit", |a| a.requires("data")),
    mut_arg("skip_broken", |a| a.requires("data")),
    mut_arg("device", |a| a.help("Where the run is to compute; a plan for a GPU needs none")),
    mut_arg("threads", |a| a.help("Threads of the processor to compute with; some scratch memory is per thread [default: all cores]"))
)]
pub struct PlanArgs {
    /// A built-in recipe (see `mlaan recipes`) or a TOML file [default: one that suits --data; without images demo]
    pub recipe: Option<String>,
    /// Which images.
    #[command(flatten)]
    pub images: Images,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>)]
    pub epochs: Option<usize>,
    /// What replaces keys of the recipe.
    #[command(flatten)]
    pub settings: Settings,
    /// How the network is cut and where memory goes.
    #[command(flatten)]
    pub layout: Layout,
    /// Show what fits into this much memory (e.g. 2GiB, 900MB or 1.5G) instead of the modules
    #[arg(long, value_name = "BYTES", value_parser = parse_memory)]
    pub memory: Option<usize>,
    /// Host memory beside a GPU of that --memory, for --set local.offload [default: this machine's where it has a GPU, else as
    /// much as it takes]
    #[arg(long, value_name = "BYTES", value_parser = parse_memory, requires = "memory")]
    pub host_memory: Option<usize>,
    /// Plan N ranks (`mpirun -n N mlaan train`), or A..B ranks and their speed-up (e.g. 1..64); what each holds, sends and
    /// waits for. A few images go through the network to see how long its modules take here, unless --gflops says it
    #[arg(long, value_name = "N|A..B", value_parser = parse_ranks, conflicts_with = "memory")]
    pub ranks: Option<RangeInclusive<usize>>,
    /// Which modules each of several ranks holds: divided evenly by time or by memory, or how many each has (e.g. 6,5,5);
    /// results are the same
    #[arg(long, value_name = "time|memory|N,N,…", default_value = "time", value_parser = parse_division, requires = "ranks")]
    pub rank_modules: Division,
    /// Bandwidth between two ranks, per second (e.g. 10Gbit or 25GB) [default: 5GB, as within one machine]
    #[arg(long, value_name = "RATE", value_parser = parse_rate, requires = "ranks")]
    pub bandwidth: Option<f64>,
    /// Latency of a message between two ranks (e.g. 50us or 2ms) [default: 20us]
    #[arg(long, value_name = "TIME", value_parser = parse_latency, requires = "ranks")]
    pub latency: Option<Duration>,
    /// Speed of a rank, GFLOP/s [default: measured here]
    #[arg(long, value_name = "N", value_parser = parse_gflops, requires = "ranks")]
    pub gflops: Option<f64>,
    /// Number of classes [default: those of --data, else 10 for images of up to 96 pixels and 1000 for larger ones]
    #[arg(long, value_name = "N", value_parser = parse_whole::<usize>, conflicts_with = "data")]
    pub classes: Option<usize>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machines,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  mlaan plan
  mlaan plan mlaan-released-resnet110-55 --batch 256
  mlaan plan mlaan-released-resnet110-55 --memory 1GiB
  mlaan plan dgl-resnet32-16 --balance --modules 4
  mlaan plan bp-resnet50 --device cuda
  mlaan plan mlm-resnet110-55 --ranks 1..64 --bandwidth 10Gbit --latency 50us
  mlaan plan --data photos/   what a run on these images would choose and need
  mlaan plan quickstart --set local.leap=none model.backbone=resnet20

Nothing is computed (but for --ranks), and no images are read but those of --data: a training step runs on a device that only \
counts.";

/// `mlaan bench`
#[derive(Args)]
#[command(
    after_help = BENCH_EXAMPLES,
    mut_arg("data", |a| a.help("Time the loading of these images; with --steps or --profile of training steps as well")),
    mut_arg("limit", |a| a.requires("data")),
    mut_arg("skip_broken", |a| a.requires("data"))
)]
pub struct BenchArgs {
    /// A built-in recipe (see `mlaan recipes`) or a TOML file [default: one that suits --data; without images demo]
    pub recipe: Option<String>,
    /// What replaces keys of the recipe.
    #[command(flatten)]
    pub settings: Settings,
    /// How the network is cut and where memory goes.
    #[command(flatten)]
    pub layout: Layout,
    /// Which images.
    #[command(flatten)]
    pub images: Images,
    /// Number of rounds; their median counts. With --data a round is an epoch
    #[arg(long, value_name = "N", default_value = "5", value_parser = parse_positive)]
    pub rounds: usize,
    /// Number of steps per round; their median counts, on a GPU their mean, of more where they are short [default: 3]
    #[arg(long, value_name = "N", value_parser = parse_positive)]
    pub steps: Option<usize>,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// Also time every kind and shape of operation
    #[arg(long)]
    pub profile: bool,
    /// Number of operations in the profile's table
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_positive)]
    pub top: usize,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  mlaan bench
  mlaan bench bp-resnet32 --batch 128 --profile
  mlaan bench bp-resnet50 --batch 16 --threads 2 --json
  mlaan bench mlaan-released-resnet32-16 --precision bf16
  mlaan bench bp-resnet110 --recompute module
  mlaan bench quickstart --set local.leap=none model.width=32
  mlaan bench bp-resnet34 --data DIR   images a second that loading reaches
  mlaan bench --data photos/ --steps 3 and training, with the recipe that suits them

Images of steps are made up, as those of 10 or (over 96x96) 1000 classes: none are read. Steps are those of a run: on a GPU one behind the other, waited for at \
the end of a round, and at least as many as a run takes until it reads losses (32, or what takes a second). The \
peak of the machine is measured in the same run.";

/// `mlaan devices`
#[derive(Args)]
#[command(after_help = DEVICES_EXAMPLES)]
pub struct DevicesArgs {
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const DEVICES_EXAMPLES: &str = "\
Examples:
  mlaan devices
  mlaan train --device cuda
  mlaan train --device cuda:1

A GPU needs NVIDIA's driver, which runs kernels, and NVRTC, which compiles them when a run begins.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::collections::BTreeMap;

    /// Flags that are something else in these commands, or have more to say there.
    const OWN: [(&str, &[&str]); 10] = [
        ("batch", &["eval", "predict", "audit"]),
        ("data", &["eval", "analyze", "bench", "compare", "plan", "audit"]),
        ("device", &["plan"]),
        ("json", &["train", "predict", "analyze", "compare", "report", "recipes", "download"]),
        ("limit", &["eval", "analyze"]),
        ("precision", &["eval"]),
        ("quiet", &["compare"]),
        ("set", &["compare"]),
        ("time", &["train"]),
        ("threads", &["plan", "inspect"]),
    ];
    /// Flags that share a name alone.
    const APART: [&str; 13] = [
        "against",
        "classes",
        "key",
        "memory",
        "orientation",
        "out",
        "recipe",
        "seed",
        "show",
        "size",
        "test",
        "top",
        "validation",
    ];

    fn flags(command: &clap::Command, found: &mut BTreeMap<String, Vec<(String, String, bool)>>) {
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let one = (command.get_name().to_owned(), help, arg.get_action().takes_values());
            found.entry(long.to_owned()).or_default().push(one);
        }
        command.get_subcommands().for_each(|inner| flags(inner, found));
    }

    #[test]
    fn a_flag_says_the_same_in_every_command() {
        let mut found = BTreeMap::new();
        flags(&Cli::command(), &mut found);
        for (flag, uses) in found.iter().filter(|(flag, _)| !APART.contains(&flag.as_str())) {
            let own = OWN.iter().find(|(of, _)| of == flag).map_or(&[][..], |(_, own)| own);
            let mut others = uses.iter().filter(|(command, ..)| !own.contains(&command.as_str()));
            let first = others.next().unwrap();
            for other in others {
                assert_eq!((&other.1, other.2), (&first.1, first.2), "--{flag}: {} and {}", first.0, other.0);
            }
            for command in own {
                let (_, help, _) = uses.iter().find(|(of, ..)| of == command).unwrap();
                assert!(*help != first.1, "--{flag} says nothing of its own in {command}");
            }
        }
    }

    #[test]
    fn flags_of_a_recipe_are_wherever_one_is_run() {
        let command = Cli::command();
        for name in ["train", "plan", "bench", "compare"] {
            let command = command.find_subcommand(name).unwrap();
            for flag in [
                "batch",
                "device",
                "freeze",
                "json",
                "lr",
                "optimizer",
                "precision",
                "set",
                "size",
                "threads",
            ] {
                assert!(command.get_arguments().any(|a| a.get_long() == Some(flag)), "{name} --{flag}");
            }
        }
    }
}
