//! Files as `torch.save` writes them, of both forms: of which Python is not needed.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

use super::weights::Tensor;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;

/// What is saved.
#[derive(Clone)]
pub enum Value {
    None,
    Int(i32),
    Text(String),
    Dict(Vec<(Value, Value)>),
    List(Vec<Value>),
    /// Extents and values.
    Tensor(Vec<usize>, Vec<f32>),
    /// The same with an attribute of Python's.
    Attributed(Vec<usize>, Vec<f32>),
    /// A whole network of this class, with its modules.
    Network(String),
}

/// A dictionary with text for keys.
pub fn dict<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    Value::Dict(entries.into_iter().map(|(key, value)| (Value::Text(key.to_owned()), value)).collect())
}

/// A state dict.
pub fn state_dict(tensors: &[Tensor]) -> Value {
    dict(
        tensors
            .iter()
            .map(|(name, shape, values)| (name.as_str(), Value::Tensor(shape.clone(), values.clone()))),
    )
}

/// As PyTorch writes since version 1.6: a zip file.
pub fn archive(value: &Value) -> Vec<u8> {
    let (pickle, storages) = pickled(value, false);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut put = |name: String, bytes: &[u8]| {
        zip.start_file(name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    put("net/data.pkl".into(), &pickle);
    put("net/byteorder".into(), b"little");
    for (at, values) in storages.iter().enumerate() {
        put(format!("net/data/{at}"), &bytes(values));
    }
    zip.finish().unwrap().into_inner()
}

/// As it wrote before: pickles and values one after the other.
pub fn old(value: &Value) -> Vec<u8> {
    let (pickle, storages) = pickled(value, true);
    let mut out = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.".to_vec();
    let machine = [("protocol_version", Value::Int(1001)), ("little_endian", Value::Int(1))];
    out.extend(pickled(&dict(machine), true).0);
    out.extend(pickle);
    // The values are not in the order in which tensors name them.
    let order: Vec<usize> = (0..storages.len()).rev().collect();
    let names = order.iter().map(|at| Value::Text(at.to_string())).collect();
    out.extend(pickled(&Value::List(names), true).0);
    for at in order {
        out.extend((storages[at].len() as u64).to_le_bytes());
        out.extend(bytes(&storages[at]));
    }
    out
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn pickled(value: &Value, old: bool) -> (Vec<u8>, Vec<Vec<f32>>) {
    let mut pickler = Pickler { out: vec![0x80, 2], storages: Vec::new(), old };
    pickler.put(value);
    pickler.out.push(b'.');
    (pickler.out, pickler.storages)
}

struct Pickler {
    out: Vec<u8>,
    storages: Vec<Vec<f32>>,
    old: bool,
}

impl Pickler {
    fn put(&mut self, value: &Value) {
        match value {
            Value::None => self.out.push(b'N'),
            Value::Int(value) => {
                self.out.push(b'J');
                self.out.extend(value.to_le_bytes());
            }
            Value::Text(text) => {
                self.out.push(b'X');
                self.out.extend((text.len() as u32).to_le_bytes());
                self.out.extend(text.as_bytes());
            }
            Value::Dict(entries) => {
                self.out.extend(b"}(");
                for (key, value) in entries {
                    self.put(key);
                    self.put(value);
                }
                self.out.push(b'u');
            }
            Value::List(elements) => {
                self.out.extend(b"](");
                elements.iter().for_each(|element| self.put(element));
                self.out.push(b'e');
            }
            Value::Tensor(shape, values) => {
                self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n");
                self.view(shape, values);
                self.out.push(b'R');
            }
            Value::Attributed(shape, values) => {
                self.out.extend(b"ctorch._tensor\n_rebuild_from_type_v2\n(");
                self.out.extend(b"ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n");
                self.view(shape, values);
                self.put(&dict([("note", Value::Int(1))]));
                self.out.extend(b"tR");
            }
            Value::Network(class) => {
                let class = format!("c__main__\n{class}\n");
                if self.old {
                    // With its source.
                    self.out.push(b'(');
                    self.put(&Value::Text("module".into()));
                    self.out.extend(class.as_bytes());
                    self.put(&Value::Text("net.py".into()));
                    self.put(&Value::Text("class Net".into()));
                    self.out.extend(b"tQ");
                } else {
                    self.out.extend(class.as_bytes());
                }
                self.out.extend([b')', 0x81]);
                self.put(&dict([("training", Value::Int(0)), ("_modules", dict([]))]));
                self.out.push(b'b');
            }
        }
    }

    fn numbers(&mut self, numbers: &[usize]) {
        self.out.push(b'(');
        numbers.iter().for_each(|n| self.put(&Value::Int(*n as i32)));
        self.out.push(b't');
    }

    /// The arguments of what makes a tensor.
    fn view(&mut self, shape: &[usize], values: &[f32]) {
        let key = self.storages.len().to_string();
        self.storages.push(values.to_vec());
        self.out.extend(b"((");
        self.put(&Value::Text("storage".into()));
        self.out.extend(b"ctorch\nFloatStorage\n");
        self.put(&Value::Text(key));
        self.put(&Value::Text("cpu".into()));
        self.put(&Value::Int(values.len() as i32));
        if self.old {
            self.put(&Value::None);
        }
        self.out.extend(b"tQ");
        self.put(&Value::Int(0));
        self.numbers(shape);
        let strides: Vec<usize> = (1..=shape.len()).map(|at| shape[at..].iter().product()).collect();
        self.numbers(&strides);
        self.out.extend(b"\x89ccollections\nOrderedDict\n)Rt");
    }
}
