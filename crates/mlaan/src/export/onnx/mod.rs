//! A residual network as an ONNX graph.
//!
//! Input `image` `[N, 3, size, size]`: pixels from 0 to 1, not normalised (the graph does it: so nobody can forget it).
//! Outputs `logits` and `probabilities` `[N, classes]`. Convolutions hold their BatchNorm.

mod file;
mod graph;
mod messages;

use self::file::{File, Place};
use self::graph::{Graph, graph};
use self::messages::{GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto};
use super::about::about;
use crate::files::atomic;
use crate::local::Learner;
use crate::train::Trained;
use crate::{Error, Result};
use mlaan_engine::Device;
use std::path::Path;

/// The operators' version: of 2022, which everything that is in use reads.
const OPSET: i64 = 17;
/// The format's version that goes with it.
const IR: i64 = 8;
/// What one message can hold.
const MOST: usize = i32::MAX as usize;

/// Writes the graph. Its weights are copied from the network one tensor at a time.
pub(super) fn write(trained: &Trained, device: &Device, out: &Path) -> Result<()> {
    let mut network = trained.network(device)?;
    network.fuse()?;
    let model = model(trained, &mut network)?;
    if model.len() > MOST {
        let message = format!("{} MiB do not fit an ONNX file, which holds 2 GiB", model.len() >> 20);
        return Err(Error::data(out.display().to_string(), message));
    }
    atomic::write(out, |file| model.write(file, out, &mut |place| values(&mut network, place)))
}

/// The values of one parameter.
fn values(network: &mut Learner, place: &Place) -> Result<Vec<f32>> {
    let device = network.device().clone();
    let mut found = Vec::new();
    network.visit(&mut |param| {
        if (param.owner, param.leaf) == (place.owner.as_str(), place.leaf) {
            found = device.download(param.value)?;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The file, but for the values of its weights.
fn model(trained: &Trained, network: &mut Learner) -> Result<File> {
    let Graph { nodes, weights } = graph(trained, network)?;
    let m = &trained.manifest;
    let classes = m.classes.len();
    let output = ["logits", "probabilities"].map(|name| ValueInfoProto::floats(name, &[classes]));
    let graph = GraphProto {
        node: nodes,
        name: trained.recipe.model.backbone.to_string(),
        initializer: Vec::new(),
        input: vec![ValueInfoProto::floats("image", &[3, m.size, m.size])],
        output: output.into(),
    };
    let property = |(key, value)| StringStringEntryProto { key, value };
    let model = ModelProto {
        ir_version: IR,
        producer_name: "mlaan".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: OPSET }],
        metadata_props: about(trained).into_iter().map(property).collect(),
    };
    Ok(File::new(model, weights))
}
