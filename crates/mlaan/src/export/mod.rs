//! A trained network for other programs: as a state dict of PyTorch, or as ONNX. Auxiliary networks stay behind.

mod onnx;
mod proto;
mod state_dict;

use crate::Result;
use crate::plan::Needs;
use crate::train::{Trained, setup};
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
    let whole = trained.plan_values()?;
    Ok(match format {
        Format::Safetensors => Needs { usage: Usage::default(), ..whole },
        Format::Onnx => whole,
    })
}

/// What a reader of the file needs to know: names and values, lists and numbers as JSON.
fn about(trained: &Trained) -> Vec<(String, String)> {
    let m = &trained.manifest;
    let json = |value: serde_json::Value| value.to_string();
    vec![
        ("classes".into(), json(m.classes.clone().into())),
        ("size".into(), m.size.to_string()),
        ("short_side".into(), setup::frame(&trained.recipe.data).short_side.to_string()),
        ("mean".into(), json(m.normalise.mean.to_vec().into())),
        ("std".into(), json(m.normalise.std.to_vec().into())),
        ("backbone".into(), trained.recipe.model.backbone.to_string()),
        ("epoch".into(), m.epoch.to_string()),
        ("producer".into(), format!("mlaan {}", env!("CARGO_PKG_VERSION"))),
    ]
}
