//! Commands that use a trained network, or bring one in.

use super::machine::Machine;
use super::output::Output;
use super::values::{parse_positive, parse_whole};
use clap::{Args, ValueEnum};
use mlaan::recipe::Orientation;
use std::path::PathBuf;

/// `mlaan predict`
#[derive(Args)]
#[command(
    after_help = PREDICT_EXAMPLES,
    mut_arg("json", |a| a.help("Print one JSON object per image and line"))
)]
pub struct PredictArgs {
    /// A run's folder, its checkpoints folder, or a checkpoint in it (last.json, best.json)
    pub checkpoint: PathBuf,
    /// Image files (JPEG, PNG, WebP, BMP, GIF, TIFF, PNM), folders with images in or below them, or - for a list of paths
    /// on standard input (a line each, or ended by zeros as `find -print0` writes them)
    #[arg(required = true, value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// Use the checkpoint of the best epoch, chosen by the validation error (test error, where there is no validation set),
    /// instead of the last one
    #[arg(long)]
    pub best: bool,
    /// Number of classes per image, the most probable first
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_positive)]
    pub top: usize,
    /// Whether images are turned as their EXIF orientation says [default: as the network's training images were]
    #[arg(long, value_enum)]
    pub orientation: Option<Turning>,
    /// Images per step; changes speed and memory, not the result
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_positive)]
    pub batch: usize,
    /// What to compute with.
    #[command(flatten)]
    pub machine: Machine,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
    /// Print a table as CSV: image, rank, class, probability (names that a spreadsheet would compute begin with '; --json has
    /// them exactly)
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Which images are evaluated: `--split`.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// Training images, without augmentation
    Train,
    /// Validation images
    Val,
    /// Test images
    #[default]
    Test,
}

impl Split {
    /// What one of its images is called.
    pub fn image(self) -> &'static str {
        match self {
            Split::Train => "training image",
            Split::Val => "validation image",
            Split::Test => "test image",
        }
    }

    /// As the flag has it.
    pub fn word(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

/// Whether images are turned: `--orientation`.
#[derive(Clone, Copy, ValueEnum)]
pub enum Turning {
    /// As viewers show them
    Exif,
    /// As they are stored
    Ignore,
}

impl From<Turning> for Orientation {
    fn from(turning: Turning) -> Self {
        match turning {
            Turning::Exif => Orientation::Exif,
            Turning::Ignore => Orientation::Ignore,
        }
    }
}

const PREDICT_EXAMPLES: &str = "\
Examples:
  mlaan predict runs/demo cat.jpg
  mlaan predict runs/demo photos/ --top 5 --csv > classes.csv
  find / -name '*.png' | mlaan predict runs/demo - --json

Images are prepared as in an evaluation: one of the network's size is taken as it is, of others the shorter side is \
resized and the center crop taken. A file that is no image is reported \
and stops nothing; the exit status is then 1.";

/// `mlaan export`
#[derive(Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub struct ExportArgs {
    /// A run's folder, its checkpoints folder, or a checkpoint in it (last.json, best.json)
    pub checkpoint: PathBuf,
    /// What to write: a state dict for PyTorch (safetensors), or a graph (onnx)
    #[arg(long, value_name = "FORMAT", value_parser = ExportFormat::parse)]
    pub format: ExportFormat,
    /// The file to write; one that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Use the checkpoint of the best epoch, chosen by the validation error (test error, where there is no validation set),
    /// instead of the last one
    #[arg(long)]
    pub best: bool,
}

/// See [`ExportArgs::format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A state dict under torchvision's names, for load_state_dict
    Safetensors,
    /// A graph: `image` [N, 3, size, size] of pixels from 0 to 1 becomes `logits` and `probabilities` [N, classes]
    Onnx,
}

impl ExportFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "safetensors" => Ok(ExportFormat::Safetensors),
            "onnx" => Ok(ExportFormat::Onnx),
            "pytorch" | "torch" | "pth" | "pt" | "state_dict" | "state-dict" => Err(format!(
                "for PyTorch write `--format safetensors`, a state dict: \
                 model.load_state_dict(safetensors.torch.load_file(FILE)) reads it, torch.save then makes a .{} of it",
                if text == "pth" { "pth" } else { "pt" }
            )),
            _ => Err("safetensors (a state dict for PyTorch) or onnx".into()),
        }
    }
}

const EXPORT_EXAMPLES: &str = "\
Examples:
  mlaan export runs/demo --format onnx --out demo.onnx
  mlaan export runs/photos --best --format safetensors --out net.safetensors

Auxiliary networks are left out. Names of the classes, image size, mean and standard deviation are in the file's metadata. Both want images whose shorter \
side was resized and of which the center crop was taken, by the numbers that are printed. The ONNX graph normalizes pixels itself; a program that \
uses the state dict has to do it.";

/// `mlaan import`
#[derive(Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub struct ImportArgs {
    /// A state dict of a ResNet with torchvision's names: what torch.save wrote (.pth, .pt), or safetensors
    pub file: PathBuf,
    /// The folder to make, as a run's
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The network (e.g. resnet50) [default: told by the names and sizes of the tensors]
    #[arg(long, value_name = "NAME", conflicts_with = "recipe")]
    pub backbone: Option<String>,
    /// A recipe whose network it is
    #[arg(long, value_name = "RECIPE")]
    pub recipe: Option<String>,
    /// Which of the file's networks to take: a key of what was saved (e.g. state_dict_ema; several joined by dots, e.g.
    /// model.encoder_q; a number in a list), or what its names begin with [default: the weights themselves, before an
    /// average of them]
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Names of the classes in the order of the classifier's outputs: one a line, or JSON (a list, {"0": "cat"}, {"cat": 0},
    /// ImageNet's {"0": ["n01440764", "tench"]})
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Replace the file's classifier by a new, untrained one, of as many classes as are named
    #[arg(long)]
    pub new_classifier: bool,
    /// Height and width of the images, pixels [default: 32 for CIFAR's ResNets, 224 for ImageNet's]
    #[arg(long, value_name = "PX", value_parser = parse_positive)]
    pub size: Option<usize>,
    /// Mean and standard deviation that pixels are normalized with [default: those that a wrapper in the file has, else
    /// those of cifar10 or imagenet, by the network]
    #[arg(long, visible_alias = "normalize", value_name = "cifar10|svhn|stl10|imagenet")]
    pub normalise: Option<String>,
    /// Random seed of a new classifier
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_whole::<u64>)]
    pub seed: u64,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

const IMPORT_EXAMPLES: &str = "\
Examples:
  mlaan import resnet50-11ad3fa6.pth --classes imagenet.txt --out runs/resnet50
  mlaan import checkpoint-best.pth.tar --key state_dict_ema --out runs/average
  mlaan predict runs/resnet50 photos/ --top 5
  mlaan train bp-resnet50 --data photos/ --init runs/resnet50 --lr 0.01

Nothing in the file is executed. `mlaan train --init` takes such a file as well.";
