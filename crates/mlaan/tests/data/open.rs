//! Sets made here: every layout, and what is wrong with them.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::{Load, OpenOptions, Splits, open};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tempfile::TempDir;

/// A picture of one colour.
fn picture(value: u8, format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_pixel(6, 5, Rgb([value, value, value]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn put(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The images of a class.
const FILES: [&str; 3] = ["0.PNG", "1.jpg", "2.webp"];

/// `train/` and `val/` with two classes of three images, in three formats.
fn folder() -> TempDir {
    let root = TempDir::new().unwrap();
    for split in ["train", "val"] {
        for (c, class) in ["cat", "dog"].iter().enumerate() {
            let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
            for (i, format) in formats.into_iter().enumerate() {
                let path = root.path().join(split).join(class).join(FILES[i]);
                put(path, &picture((c * 100 + i * 10) as u8, format));
            }
        }
    }
    root
}

fn opened(root: &Path, options: &OpenOptions) -> mlaan::Result<Splits> {
    open(root.to_str().unwrap(), options)
}

fn error(root: &Path) -> String {
    match opened(root, &OpenOptions::default()) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

/// The first byte of a training image.
fn first(splits: &Splits, index: usize) -> u8 {
    splits.train.image(index, &mut Vec::new()).unwrap().rgb[0]
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn an_image_folder_is_read_in_order() {
    let root = folder();
    put(root.path().join("train/.hidden/x"), b"not an image");
    put(root.path().join("train/cat/Thumbs.db"), b"not an image");
    put(root.path().join("train/readme.txt"), b"not a class");
    let splits = opened(root.path(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    assert_eq!((splits.train.len(), splits.test.len(), splits.skipped), (6, 6, 0));
    assert_eq!(Some(splits.name.as_str()), root.path().file_name().and_then(|n| n.to_str()));
    for (i, value) in [0u8, 10, 20, 100, 110, 120].into_iter().enumerate() {
        assert_eq!(splits.train.label(i), i / 3);
        assert!(first(&splits, i).abs_diff(value) <= 2, "image {i}");
    }
    let options = OpenOptions { short_side: 3, threads: 1, ..OpenOptions::default() };
    let small = opened(root.path(), &options).unwrap();
    let mut scratch = Vec::new();
    let image = small.train.image(0, &mut scratch).unwrap();
    assert_eq!((image.height, image.width), (3, 3));
}

#[test]
fn a_limit_applies_before_decoding() {
    let root = folder();
    let options = OpenOptions { limit: Some(2), ..OpenOptions::default() };
    let splits = opened(root.path(), &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (2, 2));
    assert_eq!((splits.train.label(0), splits.train.label(1)), (0, 1));
    // Everything that is not kept may be broken.
    let kept: Vec<u8> = (0..2).map(|i| first(&splits, i)).collect();
    for (c, class) in ["cat", "dog"].iter().enumerate() {
        for (i, file) in FILES.into_iter().enumerate() {
            if kept[c].abs_diff((c * 100 + i * 10) as u8) > 2 {
                put(root.path().join(format!("train/{class}/{file}")), b"broken");
            }
        }
    }
    assert_eq!(opened(root.path(), &options).unwrap().train.len(), 2);
    let none = OpenOptions { limit: Some(0), ..OpenOptions::default() };
    assert!(opened(root.path(), &none).is_err());
}

#[test]
fn a_broken_file_is_named_or_skipped() {
    let root = folder();
    put(root.path().join("train/dog/1.jpg"), b"this is not an image");
    put(root.path().join("val/cat/0.PNG"), &picture(0, ImageFormat::Png)[..40]);
    says(&error(root.path()), &["train/dog/1.jpg", "broken image", "--skip-broken", "JPEG"]);
    let options = OpenOptions { skip_broken: true, ..OpenOptions::default() };
    let splits = opened(root.path(), &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.skipped), (5, 5, 2));
    for class in ["cat", "dog"] {
        for file in FILES {
            put(root.path().join(format!("val/{class}/{file}")), b"");
        }
    }
    let text = opened(root.path(), &options).map(|_| ()).unwrap_err().to_string();
    says(&text, &["val", "none of the 6 images"]);
}

#[test]
fn folders_that_do_not_fit_are_explained() {
    let root = folder();
    fs::create_dir(root.path().join("train/emu")).unwrap();
    says(&error(root.path()), &["train/emu", "no images to train on: it is empty"]);
    fs::remove_dir(root.path().join("train/emu")).unwrap();
    // By its content an image.
    put(root.path().join("val/emu/0"), &picture(0, ImageFormat::Png));
    says(&error(root.path()), &["val", "`emu` is not in", "train", "must be trained"]);
    fs::remove_dir_all(root.path().join("val")).unwrap();
    says(&error(root.path()), &["no class folders in `test/`, `val/`"]);
    fs::rename(root.path().join("train"), root.path().join("test")).unwrap();
    says(&error(root.path()), &["none in `train/`"]);
    fs::rename(root.path().join("test"), root.path().join("images")).unwrap();
    says(&error(root.path()), &["found images/", "class folders lie in `images`", "to `train/`"]);
    fs::remove_dir_all(root.path().join("images")).unwrap();
    fs::create_dir(root.path().join("images")).unwrap();
    says(&error(root.path()), &["found images/", "Hugging Face parquet", "builtin", "data inspect --help"]);
    assert!(mlaan::data::layouts().iter().any(|l| l.contains("train-*.parquet")), "which says this");
    fs::remove_dir_all(root.path().join("images")).unwrap();
    says(&error(root.path()), &["found nothing"]);
    says(&error(&root.path().join("gone")), &["no such file or folder", "gone"]);
    put(root.path().join("set.tar"), b"");
    says(&error(&root.path().join("set.tar")), &["set.tar", "the archive is cut"]);
    put(root.path().join("set"), b"");
    says(&error(&root.path().join("set")), &["one file, and no data set by itself"]);
    put(root.path().join("set.zip"), b"");
    says(&error(&root.path().join("set.zip")), &["set.zip", "not read: unpack it"]);
}

#[test]
fn a_set_just_above_or_below_is_pointed_at() {
    let root = folder();
    let above = format!("{} is one (image folder): name it", root.path().display());
    says(&error(&root.path().join("train")), &["found cat/, dog/", &above]);
    let outer = TempDir::new().unwrap();
    fs::create_dir(outer.path().join("empty")).unwrap();
    fs::rename(root.path(), outer.path().join("inner")).unwrap();
    says(&error(outer.path()), &["found empty/, inner/", "inner is one (image folder): name it"]);
    put(outer.path().join("inner/notes.txt"), b"x");
    says(&error(&outer.path().join("inner/notes.txt")), &["inner is one (image folder): name it"]);
    fs::rename(outer.path().join("inner"), root.path()).unwrap();
    // A published set that is not here.
    let text = open("stl10", &OpenOptions::default()).map(|_| ()).unwrap_err().to_string();
    says(&text, &["no such file or folder", "`mlaan data download stl10`", "data/stl10"]);
}

const SCHEMA: &str = "message m {
    optional group img { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";

const NAMES: &str = r#"{"info": {"features": {"img": {"_type": "Image"},
    "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}"#;

/// Rows of image and label, either of which may be missing.
type Rows<'a> = &'a [(Option<Vec<u8>>, Option<i64>)];

/// Writes a parquet file with row groups of two rows.
fn write(path: &Path, schema: &str, metadata: Option<&str>, rows: Rows<'_>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let pairs = metadata.map(|m| vec![KeyValue::new("huggingface".into(), m.to_string())]);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(pairs)
        .set_compression(parquet::basic::Compression::SNAPPY)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for rows in rows.chunks(2) {
        let mut group = writer.next_row_group().unwrap();
        let images: Vec<ByteArray> = rows.iter().filter_map(|r| r.0.clone().map(Into::into)).collect();
        let image_levels: Vec<i16> = rows.iter().map(|r| if r.0.is_some() { 2 } else { 0 }).collect();
        let labels: Vec<i64> = rows.iter().filter_map(|r| r.1).collect();
        let label_levels: Vec<i16> = rows.iter().map(|r| i16::from(r.1.is_some())).collect();
        let mut binary = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            use parquet::column::writer::ColumnWriter::{
                ByteArrayColumnWriter, Int32ColumnWriter, Int64ColumnWriter,
            };
            match column.untyped() {
                ByteArrayColumnWriter(_) if binary == 0 => {
                    binary += 1;
                    let typed = column.typed::<ByteArrayType>();
                    typed.write_batch(&images, Some(&image_levels), None).unwrap();
                }
                ByteArrayColumnWriter(_) => {
                    let typed = column.typed::<ByteArrayType>();
                    typed.write_batch(&[], Some(&vec![0; rows.len()]), None).unwrap();
                }
                Int64ColumnWriter(_) => {
                    let typed = column.typed::<Int64Type>();
                    typed.write_batch(&labels, Some(&label_levels), None).unwrap();
                }
                Int32ColumnWriter(_) => {
                    let labels: Vec<i32> = labels.iter().map(|l| *l as i32).collect();
                    column.typed::<Int32Type>().write_batch(&labels, None, None).unwrap();
                }
                _ => panic!("another column"),
            }
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Rows with these labels; the image's grey is ten times its place.
fn rows(labels: &[i64]) -> Vec<(Option<Vec<u8>>, Option<i64>)> {
    let row = |(i, &l): (usize, &i64)| (Some(picture(10 * i as u8, ImageFormat::Png)), Some(l));
    labels.iter().enumerate().map(row).collect()
}

#[test]
fn parquet_shards_are_read_with_names() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join("data").join(name);
    write(&at("train-00000-of-00002.parquet"), SCHEMA, Some(NAMES), &rows(&[0, 1, 1, 0, 1]));
    write(&at("train-00001-of-00002.parquet"), SCHEMA, Some(NAMES), &rows(&[1, 0, 0]));
    write(&at("validation-00000-of-00001.parquet"), SCHEMA, Some(NAMES), &rows(&[0, 1]));
    let splits = opened(root.path(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    let labels: Vec<usize> = (0..8).map(|i| splits.train.label(i)).collect();
    assert_eq!(labels, [0, 1, 1, 0, 1, 1, 0, 0]);
    let greys: Vec<u8> = (0..8).map(|i| first(&splits, i)).collect();
    assert_eq!(greys, [0, 10, 20, 30, 40, 0, 10, 20]);
    assert_eq!(splits.test.len(), 2);
    // From a copy on disk, in any order.
    let streamed =
        opened(root.path(), &OpenOptions { load: Load::Stream, ..OpenOptions::default() }).unwrap();
    assert!(streamed.train.streams());
    for i in [7, 0, 5, 3] {
        assert_eq!((first(&streamed, i), streamed.train.label(i)), (greys[i], labels[i]));
    }
    // A limit keeps rows out of the middle, with their own labels.
    for seed in 0..5 {
        let options = OpenOptions { limit: Some(3), seed, ..OpenOptions::default() };
        let some = opened(root.path(), &options).unwrap();
        let kept = (0..3).map(|i| (first(&some, i), some.train.label(i)));
        let whole: Vec<_> = greys.iter().copied().zip(labels.clone()).collect();
        assert!(kept.into_iter().all(|k| whole.contains(&k)));
    }
    fs::remove_file(at("train-00001-of-00002.parquet")).unwrap();
    says(&error(root.path()), &["1 of 2 `train` files"]);
}

#[test]
fn parquet_without_metadata_is_recognised_by_its_types() {
    let root = TempDir::new().unwrap();
    let schema = "message m {
        required int32 label;
        optional group picture { optional binary bytes; }
    }";
    write(&root.path().join("train.parquet"), schema, None, &rows(&[0, 2, 1, 2]));
    write(&root.path().join("valid-0.parquet"), schema, None, &rows(&[0, 2]));
    let splits = opened(root.path(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["0", "1", "2"]);
    assert_eq!((first(&splits, 3), splits.train.label(3)), (30, 2));
    write(&root.path().join("valid-0.parquet"), schema, None, &rows(&[0, 3]));
    says(&error(root.path()), &["valid-0.parquet, row 1", "label 3 is out of range"]);
    write(&root.path().join("train.parquet"), schema, None, &rows(&[0, 2_000_000_000]));
    says(&error(root.path()), &["label 2000000000", "100000"]);
}

#[test]
fn fine_labels_are_preferred_to_coarse_ones() {
    let root = TempDir::new().unwrap();
    let schema = "message m {
        optional group img { optional binary bytes; }
        optional int64 fine_label;
        required int32 coarse_label;
    }";
    let metadata = r#"{"info": {"features": {"coarse_label": {"names": ["x"], "_type": "ClassLabel"},
        "fine_label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}"#;
    for name in ["train.parquet", "test.parquet"] {
        write(&root.path().join(name), schema, Some(metadata), &rows(&[1, 0]));
    }
    let splits = opened(root.path(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["a", "b"]);
}

#[test]
fn broken_rows_are_named_or_skipped() {
    let root = TempDir::new().unwrap();
    let (train, test) = (root.path().join("train.parquet"), root.path().join("test.parquet"));
    write(&test, SCHEMA, Some(NAMES), &rows(&[0, 1]));
    let mut broken = rows(&[0, 1, 1, 0, 1]);
    broken[2].0 = Some(b"no image".to_vec());
    broken[3].0 = None;
    write(&train, SCHEMA, Some(NAMES), &broken);
    says(&error(root.path()), &["train.parquet, row 2", "not an image", "--skip-broken"]);
    let options = OpenOptions { skip_broken: true, ..OpenOptions::default() };
    let streamed = opened(root.path(), &OpenOptions { load: Load::Stream, ..options.clone() }).unwrap();
    // Rows without bytes are left out when they are copied, others are met when they are decoded.
    assert_eq!((streamed.train.len(), streamed.skipped), (4, 1));
    assert_eq!((first(&streamed, 2), streamed.train.label(2)), (40, 1));
    let splits = opened(root.path(), &options).unwrap();
    assert_eq!((splits.train.len(), splits.skipped), (3, 2));
    assert_eq!((first(&splits, 2), splits.train.label(2)), (40, 1));
    broken[2] = rows(&[1]).remove(0);
    write(&train, SCHEMA, Some(NAMES), &broken);
    says(&error(root.path()), &["row 3", "no image bytes"]);
    broken[4].1 = None;
    write(&train, SCHEMA, Some(NAMES), &broken);
    says(&error(root.path()), &["row 4", "no label"]);
    write(&train, SCHEMA, Some(NAMES), &rows(&[0, -1]));
    says(&error(root.path()), &["row 1", "no label", "1 of 2 rows", "−1"]);
}

#[test]
fn parquet_sets_that_do_not_fit_are_explained() {
    let root = TempDir::new().unwrap();
    let (train, test) = (root.path().join("train.parquet"), root.path().join("test.parquet"));
    write(&train, SCHEMA, Some(NAMES), &rows(&[0, 1]));
    says(&error(root.path()), &["no `test-*.parquet`"]);
    write(&test, SCHEMA, Some(&NAMES.replace("dog", "emu")), &rows(&[0, 1]));
    says(&error(root.path()), &["test.parquet", "class 1", "`emu`", "`dog`", "same classes"]);
    write(&test, "message m { optional int64 label; }", None, &rows(&[0, 1]));
    says(&error(root.path()), &["test.parquet", "image column", "label (INT64)"]);
    write(&test, "message m { optional group img { optional binary bytes; } }", None, &rows(&[0]));
    says(&error(root.path()), &["label column", "img.bytes"]);
    write(&test, SCHEMA, Some(NAMES), &[]);
    says(&error(root.path()), &["test.parquet", "no images"]);
    put(&test, b"PAR1 this is not parquet");
    says(&error(root.path()), &["test.parquet", "cannot be read as parquet"]);
}

#[test]
fn damaged_parquet_never_panics() {
    let root = TempDir::new().unwrap();
    let (train, test) = (root.path().join("train.parquet"), root.path().join("test.parquet"));
    write(&test, SCHEMA, Some(NAMES), &rows(&[0, 1]));
    write(&train, SCHEMA, Some(NAMES), &rows(&[0, 1, 1, 0]));
    let whole = fs::read(&train).unwrap();
    for length in (0..whole.len()).step_by(37) {
        fs::write(&train, &whole[..length]).unwrap();
        says(&error(root.path()), &["train.parquet"]);
    }
    let mut refused = 0;
    for i in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[i] ^= 0x3F;
        fs::write(&train, &damaged).unwrap();
        refused += usize::from(opened(root.path(), &OpenOptions::default()).is_err());
    }
    assert!(refused > whole.len() / 12, "{refused} of {}", whole.len() / 3);
}

#[test]
fn the_built_in_set_needs_no_files() {
    let options = OpenOptions { limit: Some(25), seed: 9, ..OpenOptions::default() };
    let splits = open("builtin", &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (25, 25));
    assert_eq!(splits.name, "builtin");
    // The run's seed does not change the images.
    let other = open("builtin", &OpenOptions { seed: 8, ..options }).unwrap();
    assert_eq!(first(&splits, 0), first(&other, 0));
}
