//! Parquet files as writers make them: every codec, both kinds of pages, dictionaries or none, numbers or text for labels.

#![allow(clippy::expect_used, reason = "what is made here is valid")]

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter::{ByteArrayColumnWriter, Int64ColumnWriter};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

const NUMBERS: &str = "message m {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";
const TEXT: &str = "message m {
    required binary image;
    required binary label (UTF8);
}";
const NAMES: &str = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;

/// Files of these images, which differ in how they are written.
pub(crate) fn files(images: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let lengths = Encoding::DELTA_LENGTH_BYTE_ARRAY;
    vec![
        file(images, NUMBERS, Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0, None),
        file(images, NUMBERS, Compression::SNAPPY, WriterVersion::PARQUET_2_0, Some(Encoding::PLAIN)),
        file(
            images,
            NUMBERS,
            Compression::GZIP(Default::default()),
            WriterVersion::PARQUET_1_0,
            Some(Encoding::PLAIN),
        ),
        file(images, NUMBERS, Compression::BROTLI(Default::default()), WriterVersion::PARQUET_2_0, None),
        file(images, TEXT, Compression::ZSTD(Default::default()), WriterVersion::PARQUET_1_0, None),
        file(images, TEXT, Compression::LZ4, WriterVersion::PARQUET_1_0, None),
        file(images, TEXT, Compression::LZ4_RAW, WriterVersion::PARQUET_2_0, Some(lengths)),
        file(
            images,
            TEXT,
            Compression::UNCOMPRESSED,
            WriterVersion::PARQUET_2_0,
            Some(Encoding::DELTA_BYTE_ARRAY),
        ),
    ]
}

/// One file; images have a dictionary where no encoding is given.
fn file(
    images: &[Vec<u8>],
    schema: &str,
    codec: Compression,
    version: WriterVersion,
    encoding: Option<Encoding>,
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let named = KeyValue::new("huggingface".into(), NAMES.to_string());
    let mut properties = WriterProperties::builder()
        .set_compression(codec)
        .set_writer_version(version)
        .set_key_value_metadata(Some(vec![named]))
        .set_data_page_row_count_limit(3);
    if let Some(encoding) = encoding {
        for column in ["image", "image.bytes"] {
            let column = ColumnPath::from(column.split('.').map(String::from).collect::<Vec<_>>());
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, encoding);
        }
    }
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).expect("a writer");
    for images in images.chunks(5) {
        let mut group = writer.next_row_group().expect("a group");
        let mut image = true;
        while let Some(mut column) = group.next_column().expect("a column") {
            let rows = images.len();
            match column.untyped() {
                Int64ColumnWriter(labels) => {
                    let numbers: Vec<i64> = (0..rows as i64).map(|row| row % 2).collect();
                    labels.write_batch(&numbers, Some(&vec![1; rows]), None).expect("labels");
                }
                ByteArrayColumnWriter(_) => {
                    let values: Vec<ByteArray> = match image {
                        true => images.iter().cloned().map(ByteArray::from).collect(),
                        false => (0..rows).map(|row| ByteArray::from(["cat", "dog"][row % 2])).collect(),
                    };
                    let levels = vec![if image { 2 } else { 1 }; rows];
                    column
                        .typed::<ByteArrayType>()
                        .write_batch(&values, Some(&levels), None)
                        .expect("values");
                    image = false;
                }
                _ => {}
            }
            column.close().expect("a column");
        }
        group.close().expect("a group");
    }
    writer.into_inner().expect("a file")
}
