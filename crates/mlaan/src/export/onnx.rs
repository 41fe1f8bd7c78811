//! A residual network as an ONNX graph.
//!
//! Input `image` `[N, 3, size, size]`: pixels from 0 to 1, not normalised (the graph does it: so nobody can forget it).
//! Outputs `logits` and `probabilities` `[N, classes]`. Convolutions hold their BatchNorm.

use super::about::about;
use super::proto::Message;
use crate::backbone::{Backbone, Stem};
use crate::files::atomic;
use crate::local::Learner;
use crate::nn::{SlotKind, UnitSpec};
use crate::train::Trained;
use crate::{Error, Result};
use mlaan_engine::Device;
use std::collections::BTreeMap;
use std::path::Path;

/// The operators' version: of 2022, which everything that is in use reads.
const OPSET: i64 = 17;
/// The format's version that goes with it.
const IR: i64 = 8;
/// What one message can hold.
const MOST: usize = i32::MAX as usize;

/// `TensorProto.DataType`
const FLOAT: i64 = 1;
/// `AttributeProto.AttributeType`
const INT: i64 = 2;
const INTS: i64 = 7;

/// Writes the graph. Its weights are copied from the network one tensor at a time.
pub(super) fn write(trained: &Trained, device: &Device, out: &Path) -> Result<()> {
    let mut network = trained.network(device)?;
    network.fold()?;
    let (model, weights) = model(trained, &mut network)?;
    if model.len() > MOST {
        let message = format!("{} MiB do not fit an ONNX file, which holds 2 GiB", model.len() >> 20);
        return Err(Error::data(out.display().to_string(), message));
    }
    atomic::write(out, |file| {
        model.write(file, out, &mut |key| match weights.get(key) {
            Some((unit, leaf)) => values(&mut network, unit, leaf),
            None => Ok(Vec::new()),
        })
    })
}

/// The values of one parameter.
fn values(network: &mut Learner, unit: &str, leaf: &str) -> Result<Vec<f32>> {
    let device = network.device().clone();
    let mut found = Vec::new();
    network.each_unit(&mut |u| {
        if u.spec().name != unit {
            return Ok(());
        }
        u.slots(&mut |slot| match slot.kind {
            SlotKind::Parameter(p) if slot.leaf == leaf => {
                found = device.download(&p.value)?;
                Ok(())
            }
            _ => Ok(()),
        })
    })?;
    Ok(found)
}

/// The whole message, and what its values are: units and their tensors.
fn model(trained: &Trained, network: &mut Learner) -> Result<(Message, Vec<(String, &'static str)>)> {
    let mut g = Graph::default();
    graph(&mut g, trained, network)?;
    let m = &trained.manifest;
    let (size, classes) = (m.size as i64, m.classes.len() as i64);
    let image = value("image", &[3, size, size]);
    let graph = Message::default()
        .messages(1, g.nodes)
        .text(2, &trained.recipe.model.backbone.to_string())
        .messages(5, g.initialisers)
        .message(11, image)
        .messages(12, [value("logits", &[classes]), value("probabilities", &[classes])]);
    let property = |(key, value): (String, String)| Message::default().text(1, &key).text(2, &value);
    let message = Message::default()
        .int(1, IR)
        .text(2, "mlaan")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph)
        .message(8, Message::default().text(1, "").int(2, OPSET))
        .messages(14, about(trained).into_iter().map(property));
    Ok((message, g.weights))
}

/// A unit after folding.
struct Part {
    spec: UnitSpec,
    tensors: Vec<(&'static str, Vec<usize>)>,
}

fn graph(g: &mut Graph, trained: &Trained, network: &mut Learner) -> Result<()> {
    let mut parts = BTreeMap::new();
    network.each_unit(&mut |unit| {
        let (spec, mut tensors) = (unit.spec().clone(), Vec::new());
        unit.slots(&mut |slot| {
            if let SlotKind::Parameter(_) = slot.kind {
                tensors.push((slot.leaf, slot.shape));
            }
            Ok(())
        })?;
        parts.insert(spec.name.clone(), Part { spec, tensors });
        Ok(())
    })?;
    let n = &trained.manifest.normalise;
    let constant = |values: [f64; 3]| values.map(|v| v as f32).to_vec();
    g.tensor("mean", &[1, 3, 1, 1], &constant(n.mean));
    g.tensor("std", &[1, 3, 1, 1], &constant(n.std));
    let x = g.node("Sub", "centred", &["image", "mean"], &[]);
    let x = g.node("Div", "normalised", &[&x, "std"], &[]);
    let backbone = trained.backbone()?;
    let mut x = g.convolution(&parts, "conv1", &x, true)?;
    if backbone.stem_kind() == Stem::Imagenet {
        let window = [("kernel_shape", &[3, 3][..]), ("strides", &[2, 2]), ("pads", &[1; 4])];
        x = g.node("MaxPool", "maxpool", &[&x], &window);
    }
    for block in backbone.blocks() {
        x = g.block(&parts, &block.name, x)?;
    }
    let x = g.node("GlobalAveragePool", "pooled", &[&x], &[]);
    let x = g.node("Flatten", "features", &[&x], &[]);
    g.initialise(&parts, "fc")?;
    g.linear("logits", &[&x, "fc.weight", "fc.bias"]);
    g.node("Softmax", "probabilities", &["logits"], &[]);
    Ok(())
}

/// Nodes and weights so far.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    initialisers: Vec<Message>,
    /// Units and tensors whose values are written last, by their keys.
    weights: Vec<(String, &'static str)>,
}

impl Graph {
    /// A node that is called as its output; attributes are lists of whole numbers.
    fn node(&mut self, op: &str, output: &str, inputs: &[&str], attributes: &[(&str, &[i64])]) -> String {
        let list =
            |(name, values): &(&str, &[i64])| Message::default().text(1, name).ints(8, values).int(20, INTS);
        self.push(op, output, inputs, attributes.iter().map(list));
        output.into()
    }

    fn push(&mut self, op: &str, output: &str, inputs: &[&str], attributes: impl Iterator<Item = Message>) {
        let node = inputs.iter().fold(Message::default(), |m, i| m.text(1, i));
        self.nodes.push(node.text(2, output).text(3, output).text(4, op).messages(5, attributes));
    }

    /// `x` times the weight, as PyTorch stores it.
    fn linear(&mut self, output: &str, inputs: &[&str]) {
        let transposed = Message::default().text(1, "transB").int(3, 1).int(20, INT);
        self.push("Gemm", output, inputs, std::iter::once(transposed));
    }

    fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initialisers.push(announced(name, shape).bytes(9, &raw));
    }

    /// The weights of the unit `name`.
    fn initialise<'p>(&mut self, parts: &'p BTreeMap<String, Part>, name: &str) -> Result<&'p UnitSpec> {
        let part = parts.get(name).ok_or_else(|| unknown(name))?;
        for (leaf, shape) in &part.tensors {
            let tensor = announced(&format!("{name}.{leaf}"), shape);
            let count = shape.iter().product();
            self.initialisers.push(tensor.floats(9, self.weights.len(), count));
            self.weights.push((name.to_owned(), leaf));
        }
        Ok(&part.spec)
    }

    fn convolution(
        &mut self,
        parts: &BTreeMap<String, Part>,
        name: &str,
        x: &str,
        relu: bool,
    ) -> Result<String> {
        let window = self.initialise(parts, name)?.window;
        let [k, s, p] = [window.kernel, window.stride, window.pad].map(|v| v as i64);
        let attributes = [("kernel_shape", &[k; 2][..]), ("strides", &[s; 2]), ("pads", &[p; 4])];
        let inputs = [x, &format!("{name}.weight"), &format!("{name}.bias")];
        let y = self.node("Conv", name, &inputs, &attributes);
        Ok(if relu { self.node("Relu", &format!("{name}.relu"), &[&y], &[]) } else { y })
    }

    /// relu(convolutions(x) + shortcut(x)).
    fn block(&mut self, parts: &BTreeMap<String, Part>, name: &str, x: String) -> Result<String> {
        let mut y = x.clone();
        for i in 1.. {
            let conv = format!("{name}.conv{i}");
            let Some(part) = parts.get(&conv) else { break };
            y = self.convolution(parts, &conv, &y, part.spec.relu)?;
        }
        let side = format!("{name}.downsample.0");
        let side = if parts.contains_key(&side) { self.convolution(parts, &side, &x, false)? } else { x };
        let sum = self.node("Add", &format!("{name}.sum"), &[&y, &side], &[]);
        Ok(self.node("Relu", name, &[&sum], &[]))
    }
}

/// `TensorProto` of floats, before its values.
fn announced(name: &str, shape: &[usize]) -> Message {
    let dims: Vec<i64> = shape.iter().map(|d| *d as i64).collect();
    Message::default().ints(1, &dims).int(2, FLOAT).text(8, name)
}

fn unknown(name: &str) -> Error {
    Error::recipe(
        "model",
        format!("this network has no layer `{name}`: only ResNets can be exported as ONNX"),
    )
}

/// `ValueInfoProto` of floats `[N, …]`.
fn value(name: &str, shape: &[i64]) -> Message {
    let batch = Message::default().text(2, "N");
    let dims = shape.iter().map(|d| Message::default().int(1, *d));
    let shape = Message::default().message(1, batch).messages(1, dims);
    let tensor = Message::default().int(1, FLOAT).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}
