//! `mlaan export`: a trained network for other programs.

use crate::args::{ExportArgs, ExportFormat};
use crate::memory::Planned;
use crate::{format, output};
use anyhow::{Result, bail};
use mlaan::data::Frame;
use mlaan::export::Format;
use mlaan::recipe::Family;
use mlaan::text;
use mlaan::train::checkpoint::Manifest;
use mlaan::train::{Trained, setup};
use std::process::ExitCode;

/// Which epoch is used, where it is not the best.
pub fn last(manifest: &Manifest, best: bool) -> Option<String> {
    let other = manifest.best.filter(|b| !best && b.epoch != manifest.epoch && b.epoch > 0)?;
    Some(format!("the last; --best takes the best, after epoch {}", other.epoch))
}

/// How Python reads the file.
fn load(args: &ExportArgs, trained: &Trained) -> String {
    let file = text::path(&args.out);
    let model = &trained.recipe.model;
    // torchvision has those of its own width, and none for small images.
    let in_torchvision = model.family() == Family::Imagenet && model.width() == 64;
    match (args.format, in_torchvision) {
        (ExportFormat::Onnx, _) => format!("onnxruntime.InferenceSession(\"{file}\")"),
        (ExportFormat::Safetensors, true) => {
            let (network, classes) = (model.backbone, trained.manifest.classes.len());
            format!(
                "net = torchvision.models.{network}(num_classes={classes}); \
                 net.load_state_dict(safetensors.torch.load_file(\"{file}\"))"
            )
        }
        (ExportFormat::Safetensors, false) => {
            format!("net = mlaan.load(\"{file}\"), of the Python package, is an nn.Module with these weights")
        }
    }
}

/// What the network wants of an image, as an evaluation prepares it.
fn prepared(format: ExportFormat, frame: Frame) -> String {
    let (size, short_side) = (frame.size, frame.short_side);
    let pixels = match format {
        ExportFormat::Safetensors => "pixels from 0 to 1, normalised by the mean and std in the metadata",
        ExportFormat::Onnx => "RGB pixels from 0 to 1; the graph normalises them",
    };
    format!(
        "{size}x{size} as they are; others: shorter side resized to {short_side}, center crop of {size}x{size}; {pixels}"
    )
}

/// What a graph takes and gives, as lines; of a state dict that is the network's business.
fn ends(format: ExportFormat, size: usize, classes: usize) -> String {
    match format {
        ExportFormat::Safetensors => String::new(),
        ExportFormat::Onnx => format!(
            "\n input        image: float32 [N, 3, {size}, {size}], RGB from 0 to 1\
             \n outputs      logits, probabilities: float32 [N, {classes}]; class names in the metadata (classes)"
        ),
    }
}

/// Writes the file.
///
/// # Errors
/// A checkpoint that cannot be used, a file that cannot be written.
pub fn export(args: &ExportArgs) -> Result<ExitCode> {
    if args.out.is_dir() {
        bail!("{}: this is a folder; --out wants a file", args.out.display());
    }
    let trained = Trained::open(&args.checkpoint, args.best)?;
    let format = match args.format {
        ExportFormat::Safetensors => Format::Safetensors,
        ExportFormat::Onnx => Format::Onnx,
    };
    let memory = Planned::process(mlaan::export::plan(&trained, format)?)?;
    mlaan::export::export(&trained, format, &args.out)?;
    let bytes = std::fs::metadata(&args.out).map_or(0, |m| m.len());
    let (m, backbone) = (&trained.manifest, trained.recipe.model.backbone);
    // The network's own size is what was trained; a short side below it counts as it.
    let frame = setup::frame(&trained.recipe.data);
    let frame = Frame { size: m.size, short_side: frame.short_side.max(m.size) };
    let network = last(m, args.best).map_or_else(String::new, |said| format!("\n weights      {said}"));
    output::page(&format!(
        "{}: {backbone} after {}, {}, images of {}x{} pixels ({}){network}\n images       {}{}\n load         {}\n peak memory  {}",
        text::path(&args.out),
        format::several(m.epoch, "epoch"),
        format::classes(m.classes.len()),
        m.size,
        m.size,
        format::bytes(bytes),
        prepared(args.format, frame),
        ends(args.format, m.size, m.classes.len()),
        load(args, &trained),
        memory.text()
    ))?;
    Ok(ExitCode::SUCCESS)
}
