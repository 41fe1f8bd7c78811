//! TensorBoard's messages, as much of them as a run needs: `event.proto`, `summary.proto`, `tensor.proto`.

use prost::{Message, Oneof};

/// One entry of an event file.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    pub wall_time: f64,
    /// Training steps done.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// What it says.
    #[prost(oneof = "What", tags = "3, 5, 7")]
    pub what: Option<What>,
}

/// What an event says.
#[derive(Clone, PartialEq, Oneof)]
pub enum What {
    /// The first event of a file.
    #[prost(string, tag = "3")]
    FileVersion(String),
    /// Values.
    #[prost(message, tag = "5")]
    Summary(Summary),
    /// A run begins or goes on: earlier values of this step and later ones no longer hold.
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

/// Values of a step.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    /// Each with its name.
    #[prost(message, repeated, tag = "1")]
    pub value: Vec<Value>,
}

/// A named value.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    /// Its name; what stands before a slash groups charts.
    #[prost(string, tag = "1")]
    pub tag: String,
    /// A number.
    #[prost(float, optional, tag = "2")]
    pub simple_value: Option<f32>,
    /// Anything else.
    #[prost(message, optional, tag = "8")]
    pub tensor: Option<Tensor>,
    /// Who shows it.
    #[prost(message, optional, tag = "9")]
    pub metadata: Option<Metadata>,
}

/// Who shows a value.
#[derive(Clone, PartialEq, Message)]
pub struct Metadata {
    /// The part of TensorBoard.
    #[prost(message, optional, tag = "1")]
    pub plugin_data: Option<Plugin>,
}

/// A part of TensorBoard.
#[derive(Clone, PartialEq, Message)]
pub struct Plugin {
    /// Its name.
    #[prost(string, tag = "1")]
    pub plugin_name: String,
}

/// A tensor of texts.
#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    /// Type of the elements; 7 is text.
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    /// Extents.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    /// The elements.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub string_val: Vec<Vec<u8>>,
}

/// Extents.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    /// One each.
    #[prost(message, repeated, tag = "2")]
    pub dim: Vec<Dim>,
}

/// A size.
#[derive(Clone, PartialEq, Message)]
pub struct Dim {
    /// The size.
    #[prost(int64, tag = "1")]
    pub size: i64,
}

/// The state of a run.
#[derive(Clone, PartialEq, Message)]
pub struct SessionLog {
    /// 1: it begins.
    #[prost(int32, tag = "1")]
    pub status: i32,
}

impl Value {
    /// A number.
    pub fn scalar(tag: impl Into<String>, value: f64) -> Self {
        Value { tag: tag.into(), simple_value: Some(value as f32), ..Value::default() }
    }

    /// A text in Markdown.
    pub fn text(tag: &str, text: &str) -> Self {
        let plugin = Plugin { plugin_name: "text".into() };
        let shape = Shape { dim: vec![Dim { size: 1 }] };
        Value {
            tag: tag.into(),
            tensor: Some(Tensor { dtype: 7, shape: Some(shape), string_val: vec![text.as_bytes().to_vec()] }),
            metadata: Some(Metadata { plugin_data: Some(plugin) }),
            ..Value::default()
        }
    }
}
