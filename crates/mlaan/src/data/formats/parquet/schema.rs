//! Which columns of a parquet file hold the image and the label, and what the classes are called.

use parquet::basic::Type;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The columns of interest, as indices of the file's leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// The encoded images.
    pub image: usize,
    /// The labels.
    pub label: usize,
    /// Class names, when the file has them.
    pub names: Option<Vec<String>>,
}

/// Label columns in order of preference: CIFAR-100, for one, has a fine and a coarse one.
const LABELS: [&str; 5] = ["label", "labels", "fine_label", "class", "target"];
/// Image columns in order of preference.
const IMAGES: [&str; 2] = ["image", "img"];

/// Finds the columns by the metadata the `datasets` library writes, else by their types: a group with
/// binary `bytes`, and whole numbers.
///
/// # Errors
/// When there is no such column, or several that nothing tells apart; lists the file's columns.
pub(super) fn columns(file: &ParquetMetaData, place: &str) -> Result<Columns> {
    let features = features(file);
    let leaves = file.file_metadata().schema_descr();
    let leaves = leaves.columns().iter().enumerate();
    let leaves: Vec<(usize, &ColumnDescriptor)> =
        leaves.filter(|(_, c)| c.max_rep_level() == 0).map(|(i, c)| (i, &**c)).collect();
    let images = leaves.iter().filter(|(_, c)| is_image(c)).map(named).collect();
    let labels = leaves.iter().filter(|(_, c)| is_label(c)).map(named).collect();
    let typed = |name: &str| features.get(name)?.get("_type")?.as_str();
    let is = |wanted: &'static str| move |name: &str| typed(name) == Some(wanted);
    let image = pick(images, is("Image"), &IMAGES);
    let label = pick(labels, is("ClassLabel"), &LABELS);
    match (image, label) {
        (Some((_, image)), Some((name, label))) => {
            Ok(Columns { image, label, names: names(features.get(name)) })
        }
        (image, _) => Err(no_column(file, place, image.is_none())),
    }
}

fn no_column(file: &ParquetMetaData, place: &str, image: bool) -> Error {
    let leaves = file.file_metadata().schema_descr();
    let described =
        |c: &std::sync::Arc<ColumnDescriptor>| format!("{} ({})", c.path().string(), c.physical_type());
    let found: Vec<String> = leaves.columns().iter().map(described).collect();
    let wanted = if image {
        "one image column (a group with binary `bytes`, as the `datasets` library writes)"
    } else {
        "one label column of whole numbers, called `label`"
    };
    Error::data(place, format!("needs {wanted}; found {}", found.join(", ")))
}

/// The feature descriptions in the file's metadata, by column name.
fn features(file: &ParquetMetaData) -> Map<String, Value> {
    let pairs = file.file_metadata().key_value_metadata();
    let text = pairs
        .into_iter()
        .flatten()
        .find(|pair| pair.key == "huggingface")
        .and_then(|pair| pair.value.as_deref());
    let value: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
    match value.as_ref().and_then(|v| v.pointer("/info/features")) {
        Some(Value::Object(features)) => features.clone(),
        _ => Map::new(),
    }
}

fn names(feature: Option<&Value>) -> Option<Vec<String>> {
    let names = feature?.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(Into::into)).collect();
    names.filter(|n| !n.is_empty())
}

fn is_image(column: &ColumnDescriptor) -> bool {
    let parts = column.path().parts();
    parts.len() == 2 && parts[1] == "bytes" && column.physical_type() == Type::BYTE_ARRAY
}

fn is_label(column: &ColumnDescriptor) -> bool {
    let whole = matches!(column.physical_type(), Type::INT32 | Type::INT64);
    column.path().parts().len() == 1 && whole
}

/// A leaf with the name of its top-level column.
fn named<'a>((index, column): &(usize, &'a ColumnDescriptor)) -> (&'a str, usize) {
    let name = column.path().parts().first();
    (name.map_or("", String::as_str), *index)
}

/// Of the candidates, those the metadata names if any; of these the preferred name, else the only one.
fn pick<'a>(
    candidates: Vec<(&'a str, usize)>,
    described: impl Fn(&str) -> bool,
    preferred: &[&str],
) -> Option<(&'a str, usize)> {
    let known: Vec<_> = candidates.iter().copied().filter(|c| described(c.0)).collect();
    let from = if known.is_empty() { candidates } else { known };
    let by_name = preferred.iter().find_map(|name| from.iter().find(|c| c.0 == *name));
    by_name.or(if from.len() == 1 { from.first() } else { None }).copied()
}
