//! A trained network for other programs: as a state dict of PyTorch, or as ONNX. Auxiliary networks stay behind.

mod about;
mod onnx;
mod state_dict;

use crate::Result;
use crate::plan::{Needs, Process};
use crate::train::Trained;
use mlaan_engine::{Device, Usage};
use std::path::Path;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A state dict under torchvision's names.
    Safetensors,
    /// A graph that takes pixels: BatchNorm is in the convolutions, normalisation of pixels in the graph.
    Onnx,
}

/// Writes a network to `out`, whole or not at all.
///
/// # Errors
/// A checkpoint that lacks tensors; a file that cannot be written; a network beyond 2 GiB as ONNX.
pub fn export(trained: &Trained, format: Format, out: &Path) -> Result<()> {
    match format {
        Format::Safetensors => state_dict::write(trained, out),
        Format::Onnx => onnx::write(trained, &Device::cpu(Some(1))?, out),
    }
}

/// What an export needs: one tensor at a time, and as ONNX the network, whose BatchNorm is folded.
///
/// # Errors
/// As [`Trained::plan_values`].
pub fn plan(trained: &Trained, format: Format) -> Result<Needs> {
    Ok(match format {
        Format::Safetensors => Needs { usage: Usage::default(), ..trained.plan_values(Process::Files)? },
        Format::Onnx => trained.plan_values(Process::Inference)?,
    })
}
