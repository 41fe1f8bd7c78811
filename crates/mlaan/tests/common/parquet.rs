//! Parquet files as their writers make them: one row per image, one column of labels of any kind.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

/// Labels of rows.
#[derive(Clone)]
pub enum Labels {
    /// In 32 bits, as narrower integers are stored too, with their annotation.
    Narrow(Vec<Option<i32>>, &'static str),
    Wide(Vec<Option<i64>>),
    Text(Vec<Option<&'static str>>),
    Truth(Vec<Option<bool>>),
    Fractions(Vec<Option<f64>>),
    /// In a group, or in lists of one: what is behind `optional group label`, and how deep values lie.
    Nested(Vec<i64>, &'static str, i16),
    /// No column of them.
    None,
}

impl Labels {
    /// Numbers.
    pub fn of(labels: &[i64]) -> Self {
        Labels::Wide(labels.iter().copied().map(Some).collect())
    }

    fn column(&self, name: &str) -> String {
        match self {
            Labels::Narrow(_, kind) => format!("optional int32 {name} ({kind});"),
            Labels::Wide(_) => format!("optional int64 {name};"),
            Labels::Text(_) => format!("optional binary {name} (UTF8);"),
            Labels::Truth(_) => format!("optional boolean {name};"),
            Labels::Fractions(_) => format!("optional double {name};"),
            Labels::Nested(_, within, _) => format!("optional group {name} {within}"),
            Labels::None => String::new(),
        }
    }
}

/// How a file is written.
#[derive(Clone, Copy)]
pub struct How {
    pub codec: Compression,
    pub version: WriterVersion,
    /// Of images; none for a dictionary.
    pub encoding: Option<Encoding>,
    /// Whether images are a column of bytes and not of a group.
    pub plain: bool,
    /// What the column of labels is called.
    pub label: &'static str,
    /// Names of the classes, in the file's metadata.
    pub names: Option<&'static [&'static str]>,
}

impl Default for How {
    fn default() -> Self {
        How {
            codec: Compression::SNAPPY,
            version: WriterVersion::PARQUET_1_0,
            encoding: None,
            plain: false,
            label: "label",
            names: None,
        }
    }
}

/// Writes a file in row groups of five rows and pages of two.
pub fn write(path: &Path, images: &[Vec<u8>], labels: &Labels, how: How) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image =
        if how.plain { "optional binary image;" } else { "optional group image { optional binary bytes; }" };
    let schema = format!("message m {{ {image} {} }}", labels.column(how.label));
    let names = how.names.map(|names| {
        let names = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let names = format!(
            r#"{{"info": {{"features": {{"{}": {{"names": [{names}], "_type": "ClassLabel"}}}}}}}}"#,
            how.label
        );
        vec![KeyValue::new("huggingface".into(), names)]
    });
    let mut properties = WriterProperties::builder()
        .set_compression(how.codec)
        .set_writer_version(how.version)
        .set_key_value_metadata(names)
        .set_data_page_row_count_limit(2);
    if let Some(encoding) = how.encoding {
        let parts = if how.plain { vec!["image".to_owned()] } else { vec!["image".into(), "bytes".into()] };
        let column = ColumnPath::from(parts);
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_encoding(column, encoding);
    }
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    let rows: Vec<usize> = (0..images.len()).collect();
    for rows in rows.chunks(5) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> = rows.iter().map(|row| images[*row].clone().into()).collect();
        let levels = vec![if how.plain { 1 } else { 2 }; rows.len()];
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        if let Some(mut column) = group.next_column().unwrap() {
            let writer = &mut column;
            match labels {
                Labels::Narrow(labels, _) => put::<Int32Type>(writer, rows, labels),
                Labels::Wide(labels) => put::<Int64Type>(writer, rows, labels),
                Labels::Truth(labels) => put::<BoolType>(writer, rows, labels),
                Labels::Fractions(labels) => put::<DoubleType>(writer, rows, labels),
                Labels::Text(labels) => {
                    let labels: Vec<Option<ByteArray>> =
                        labels.iter().map(|l| l.map(ByteArray::from)).collect();
                    put::<ByteArrayType>(writer, rows, &labels);
                }
                Labels::Nested(labels, _, depth) => {
                    let values: Vec<i64> = rows.iter().map(|row| labels[*row]).collect();
                    let (levels, first) = (vec![*depth; rows.len()], vec![0; rows.len()]);
                    writer.typed::<Int64Type>().write_batch(&values, Some(&levels), Some(&first)).unwrap();
                }
                Labels::None => panic!("a column of labels"),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn put<T: DataType>(column: &mut SerializedColumnWriter<'_>, rows: &[usize], labels: &[Option<T::T>]) {
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(labels[*row].is_some())).collect();
    let values: Vec<T::T> = rows.iter().filter_map(|row| labels[*row].clone()).collect();
    column.typed::<T>().write_batch(&values, Some(&levels), None).unwrap();
}
