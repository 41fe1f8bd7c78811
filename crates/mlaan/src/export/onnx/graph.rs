//! A residual network as operations and weights.

use super::file::{Place, Weight};
use super::messages::{AttributeProto, NodeProto, TensorProto};
use crate::backbone::{Backbone, Stem};
use crate::files::floats::bytes_of;
use crate::local::Learner;
use crate::nn::{ActivationFunction, ConvSpec};
use crate::train::Trained;
use crate::{Error, Result};
use mlaan_engine::Shape;
use std::collections::BTreeMap;

/// The parameters of fused layers, by the layers' names.
type Parts = BTreeMap<String, Vec<(&'static str, Shape)>>;

/// The operations of a network whose BatchNorm is fused, and its weights.
pub(super) fn graph(trained: &Trained, network: &mut Learner) -> Result<Graph> {
    let (mut g, mut parts) = (Graph::default(), Parts::new());
    network.visit(&mut |param| {
        if !param.is_buffer() {
            parts.entry(param.owner.to_owned()).or_default().push((param.leaf, param.shape));
        }
        Ok(())
    })?;
    let n = &trained.manifest.normalise;
    let constant = |values: [f64; 3]| values.map(|v| v as f32).to_vec();
    g.tensor("mean", &[1, 3, 1, 1], &constant(n.mean));
    g.tensor("std", &[1, 3, 1, 1], &constant(n.std));
    let x = g.node("Sub", "centred", &["image", "mean"], &[]);
    let x = g.node("Div", "normalised", &[&x, "std"], &[]);
    let backbone = trained.backbone()?;
    let mut x = g.convolution(&parts, &backbone.stem_conv(), &x)?;
    if backbone.stem_kind() == Stem::Imagenet {
        let window = [("kernel_shape", &[3, 3][..]), ("strides", &[2, 2]), ("pads", &[1; 4])];
        x = g.node("MaxPool", "maxpool", &[&x], &window);
    }
    for (i, block) in backbone.blocks().iter().enumerate() {
        x = g.block(&parts, &block.name, backbone.block_convs(i, &block.name)?, x)?;
    }
    let x = g.node("GlobalAveragePool", "pooled", &[&x], &[]);
    let x = g.node("Flatten", "features", &[&x], &[]);
    g.initialise(&parts, "fc")?;
    g.linear("logits", &[&x, "fc.weight", "fc.bias"]);
    g.node("Softmax", "probabilities", &["logits"], &[]);
    Ok(g)
}

/// Nodes and weights so far.
#[derive(Default)]
pub(super) struct Graph {
    /// In an order in which they can be computed.
    pub nodes: Vec<NodeProto>,
    /// In the order of the operations that use them first.
    pub weights: Vec<Weight>,
}

impl Graph {
    /// A node that is called as its output; attributes are lists of whole numbers.
    fn node(&mut self, op: &str, output: &str, inputs: &[&str], attributes: &[(&str, &[i64])]) -> String {
        let list = |(name, values): &(&str, &[i64])| AttributeProto::ints(name, values);
        self.push(op, output, inputs, attributes.iter().map(list).collect());
        output.into()
    }

    fn push(&mut self, op: &str, output: &str, inputs: &[&str], attribute: Vec<AttributeProto>) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            name: output.into(),
            op_type: op.into(),
            attribute,
        });
    }

    /// `x` times the weight, as PyTorch stores it.
    fn linear(&mut self, output: &str, inputs: &[&str]) {
        self.push("Gemm", output, inputs, vec![AttributeProto::int("transB", 1)]);
    }

    fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let raw_data = bytes_of(values).into_owned();
        let tensor = TensorProto { raw_data, ..TensorProto::floats(name, shape) };
        self.weights.push(Weight { tensor, from: None });
    }

    /// The weights of the layer `name`.
    fn initialise(&mut self, parts: &Parts, name: &str) -> Result<()> {
        for (leaf, shape) in parts.get(name).ok_or_else(|| unknown(name))? {
            let tensor = TensorProto::floats(&format!("{name}.{leaf}"), shape.dims());
            let from = Place { owner: name.to_owned(), leaf, count: shape.elements() };
            self.weights.push(Weight { tensor, from: Some(from) });
        }
        Ok(())
    }

    fn convolution(&mut self, parts: &Parts, spec: &ConvSpec, x: &str) -> Result<String> {
        let ConvSpec { name, window, .. } = spec;
        self.initialise(parts, name)?;
        let [k, s, p] = [window.kernel, window.stride, window.pad].map(|v| v as i64);
        let attributes = [("kernel_shape", &[k; 2][..]), ("strides", &[s; 2]), ("pads", &[p; 4])];
        let inputs = [x, &format!("{name}.weight"), &format!("{name}.bias")];
        let y = self.node("Conv", name, &inputs, &attributes);
        Ok(match spec.activation {
            ActivationFunction::Identity => y,
            ActivationFunction::Relu => self.node("Relu", &format!("{name}.relu"), &[&y], &[]),
        })
    }

    /// relu(convolutions(x) + shortcut(x)).
    fn block(
        &mut self,
        parts: &Parts,
        name: &str,
        (convs, shortcut): (Vec<ConvSpec>, Option<ConvSpec>),
        x: String,
    ) -> Result<String> {
        let y = convs.iter().try_fold(x.clone(), |y, conv| self.convolution(parts, conv, &y))?;
        let side = shortcut.map_or(Ok(x.clone()), |conv| self.convolution(parts, &conv, &x))?;
        let sum = self.node("Add", &format!("{name}.sum"), &[&y, &side], &[]);
        Ok(self.node("Relu", name, &[&sum], &[]))
    }
}

fn unknown(name: &str) -> Error {
    Error::recipe(
        "model",
        format!("this network has no layer `{name}`: only ResNets can be exported as ONNX"),
    )
}
