//! `mlaan export`: a trained network for other programs.

use crate::args::{ExportArgs, ExportFormat};
use crate::memory::Planned;
use crate::{format, output};
use anyhow::{Result, bail};
use mlaan::export::Format;
use mlaan::train::{Trained, setup};
use std::process::ExitCode;

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
    let short_side = setup::frame(&trained.recipe.data).short_side;
    let pixels = match args.format {
        ExportFormat::Safetensors => "pixels from 0 to 1, normalised by the mean and std in the metadata",
        ExportFormat::Onnx => "RGB pixels from 0 to 1; the graph normalises them",
    };
    output::page(&format!(
        "{}: {backbone} after {}, {}, images of {}x{} pixels ({})\n images       shorter side resized to {short_side}, centre of {}x{} cut out; {pixels}\n peak memory  {}",
        mlaan::text::path(&args.out),
        format::several(m.epoch, "epoch"),
        format::classes(m.classes.len()),
        m.size,
        m.size,
        format::bytes(bytes),
        m.size,
        m.size,
        memory.text()
    ))?;
    Ok(ExitCode::SUCCESS)
}
