//! A model as a file. Its weights are written one after the other, since a whole network in memory once more is too much.
//!
//! A message that is written in parts is the same message: so what stands before the weights and what stands behind them are
//! messages of their own, and only the length of the graph, which goes before it, has to be known.

use super::messages::{GraphProto, ModelProto, TensorProto};
use crate::files::floats::bytes_of;
use crate::{Error, Result};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use std::io::Write;
use std::path::Path;

/// Floats converted to bytes at a time.
const CHUNK: usize = 1 << 14;

/// Tags of the fields that hold others' bytes: `ModelProto.graph`, `GraphProto.initializer`, `TensorProto.raw_data`.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// A weight of the network.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The tensor, with its values or without.
    pub tensor: TensorProto,
    /// Where the values are that it lacks.
    pub from: Option<Place>,
}

/// A tensor of the network that is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its owner.
    pub owner: String,
    /// Its name there.
    pub leaf: &'static str,
    /// Its values.
    pub count: usize,
}

/// A file that is ready to be written.
#[derive(Debug, Default)]
pub struct File {
    /// Bytes, and the values that follow them.
    parts: Vec<(Vec<u8>, Place)>,
    /// Bytes after the last values.
    end: Vec<u8>,
    /// Bytes of all that is there.
    length: usize,
}

impl File {
    /// The file of a model, whose graph has no weights yet, and of the graph's weights.
    pub fn new(mut model: ModelProto, weights: Vec<Weight>) -> Self {
        let mut graph = model.graph.take().unwrap_or_default();
        let ports = GraphProto {
            input: std::mem::take(&mut graph.input),
            output: std::mem::take(&mut graph.output),
            ..GraphProto::default()
        };
        let mut file = File::default();
        file.push(&graph.encode_to_vec());
        weights.into_iter().for_each(|weight| file.weight(weight));
        file.push(&ports.encode_to_vec());

        let (opset_import, metadata_props) =
            (std::mem::take(&mut model.opset_import), std::mem::take(&mut model.metadata_props));
        let behind = ModelProto { opset_import, metadata_props, ..ModelProto::default() };
        let mut before = model.encode_to_vec();
        before.extend(header(GRAPH, file.length));
        file.length += before.len();
        let first = file.parts.first_mut().map_or(&mut file.end, |(bytes, _)| bytes);
        first.splice(0..0, before);
        file.push(&behind.encode_to_vec());
        file
    }

    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.end.extend_from_slice(bytes);
    }

    fn weight(&mut self, Weight { tensor, from }: Weight) {
        let mut bytes = tensor.encode_to_vec();
        let values = from.as_ref().map_or(0, |place| place.count * size_of::<f32>());
        if from.is_some() {
            bytes.extend(header(RAW_DATA, values));
        }
        self.push(&header(INITIALIZER, bytes.len() + values));
        self.push(&bytes);
        if let Some(place) = from {
            self.length += values;
            self.parts.push((std::mem::take(&mut self.end), place));
        }
    }

    /// Its bytes when it is written.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Writes it; `values` gives those of a place when their turn comes.
    ///
    /// # Errors
    /// Of `out`, as an error of `path`, and of `values`; another number of values than was announced.
    pub fn write(
        &self,
        out: &mut dyn Write,
        path: &Path,
        values: &mut dyn FnMut(&Place) -> Result<Vec<f32>>,
    ) -> Result<()> {
        for (bytes, place) in &self.parts {
            out.write_all(bytes).map_err(Error::io(path))?;
            let values = values(place)?;
            if values.len() != place.count {
                let (found, wanted) = (values.len(), place.count);
                let message = format!("{}.{}: {found} values came for {wanted}", place.owner, place.leaf);
                return Err(Error::data(path.display().to_string(), message));
            }
            for chunk in values.chunks(CHUNK) {
                out.write_all(&bytes_of(chunk)).map_err(Error::io(path))?;
            }
        }
        out.write_all(&self.end).map_err(Error::io(path))
    }
}

/// What goes before the bytes of a field.
fn header(tag: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint(length as u64, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::messages::{
        AttributeProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
    };
    use super::*;

    fn model() -> ModelProto {
        let node = NodeProto {
            input: vec!["image".into()],
            output: vec!["y".into()],
            name: "y".into(),
            op_type: "MaxPool".into(),
            attribute: vec![
                AttributeProto::ints("pads", &[0, 0, 300, -1]),
                AttributeProto::int("ceil_mode", 0),
            ],
        };
        let graph = GraphProto {
            node: vec![node; 3],
            name: "resnet8".into(),
            initializer: Vec::new(),
            input: vec![ValueInfoProto::floats("image", &[3, 32, 32])],
            output: vec![ValueInfoProto::floats("y", &[10])],
        };
        ModelProto {
            ir_version: 8,
            producer_name: "mlaan".into(),
            producer_version: "1".into(),
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: 17 }],
            metadata_props: vec![StringStringEntryProto { key: "size".into(), value: "32".into() }],
        }
    }

    fn weight(name: &str, shape: &[usize], later: bool) -> Weight {
        let count = shape.iter().product();
        let mut tensor = TensorProto::floats(name, shape);
        if later {
            return Weight { tensor, from: Some(Place { owner: name.into(), leaf: "weight", count }) };
        }
        tensor.raw_data = bytes_of(&values(name, count)).into_owned();
        Weight { tensor, from: None }
    }

    fn values(name: &str, count: usize) -> Vec<f32> {
        (0..count).map(|i| (i + name.len()) as f32).collect()
    }

    /// As `prost` writes the whole message at once, wherever the weights come from.
    #[test]
    fn a_file_in_parts_is_the_whole_message() {
        let shapes: [(&str, &[usize]); 4] =
            [("mean", &[1, 3]), ("a", &[200, 300]), ("bb", &[1]), ("c", &[40])];
        for later in [[false; 4], [true; 4], [false, true, false, true], [true, false, true, false]] {
            let weights: Vec<Weight> =
                shapes.iter().zip(later).map(|((name, shape), later)| weight(name, shape, later)).collect();
            let file = File::new(model(), weights);
            let mut written = Vec::new();
            file.write(&mut written, Path::new("x"), &mut |p| Ok(values(&p.owner, p.count))).unwrap();
            let mut whole = model();
            let graph = whole.graph.as_mut().unwrap();
            graph.initializer =
                shapes.iter().map(|(name, shape)| weight(name, shape, false).tensor).collect();
            assert_eq!(file.len(), written.len());
            assert!(written == whole.encode_to_vec(), "{later:?}");
        }
        assert_eq!(File::new(model(), Vec::new()).len(), model().encoded_len());
    }

    #[test]
    fn another_number_of_values_than_announced_is_an_error() {
        let file = File::new(model(), vec![weight("conv1", &[3], true)]);
        let e = file.write(&mut Vec::new(), Path::new("x"), &mut |_| Ok(vec![0.0; 2])).unwrap_err();
        assert!(e.to_string().contains("conv1.weight: 2 values came for 3"), "{e}");
    }
}
