//! Parquet sets by what their files and columns are called and hold: read, or refused by name.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use crate::parquet_files::{How, Labels, write};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::{OpenOptions, Splits, open};
use tempfile::TempDir;

const FOUR: [i64; 4] = [0, 1, 1, 0];

fn pictures(count: usize) -> Vec<Vec<u8>> {
    let picture = |i: usize| {
        let image = RgbImage::from_pixel(3, 2, Rgb([10 * i as u8; 3]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    (0..count).map(picture).collect()
}

fn opened(root: &Path) -> mlaan::Result<Splits> {
    open(root.to_str().unwrap(), &OpenOptions { threads: 1, ..OpenOptions::default() })
}

#[track_caller]
fn refused(root: &Path, parts: &[&str]) {
    let error = opened(root).err().unwrap_or_else(|| panic!("opened")).to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
}

/// Files of these names, with as many rows as are said, labelled by numbers.
fn files(names: &[(&str, usize)]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (name, rows) in names {
        let labels = Labels::of(&FOUR[..*rows]);
        write(&root.path().join(name), &pictures(*rows), &labels, How::default());
    }
    root
}

fn set(train: &Labels, test: &Labels, how: How) -> TempDir {
    let root = TempDir::new().unwrap();
    write(&root.path().join("train.parquet"), &pictures(4), train, how);
    write(&root.path().join("test.parquet"), &pictures(2), test, how);
    root
}

fn text(labels: &[&'static str]) -> Labels {
    Labels::Text(labels.iter().copied().map(Some).collect())
}

#[test]
fn files_are_named_as_people_name_them() {
    for (train, test) in [
        ("set-train.parquet", "set-test.parquet"),
        ("mnist_train.parquet", "mnist_val.parquet"),
        ("cifar100-train-00000-of-00001.parquet", "cifar100-test-00000-of-00001.parquet"),
        ("train0.parquet", "test0.parquet"),
        ("trainset.parquet", "testset.parquet"),
        ("train.parq", "test.PQ"),
        ("train.snappy.parquet", "test.zstd.parquet"),
        ("split=train/0.parquet", "split=test/0.parquet"),
        ("train.parquet/part-0.parquet", "test.parquet/part-0.parquet"),
        ("train-00000-of-00001-0123456789abcdef.parquet", "test-00000-of-00001-0123456789abcdef.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-test/0000.parquet"),
    ] {
        let splits =
            opened(files(&[(train, 4), (test, 2)]).path()).unwrap_or_else(|e| panic!("{train}: {e}"));
        assert_eq!((splits.train.len(), splits.test.len()), (4, 2), "{train}");
        assert!(splits.notes.skipped.is_empty(), "{train}");
    }
    // Those of no set go before those of a named one, which are counted.
    let root = files(&[
        ("train.parquet", 4),
        ("old-train.parquet", 2),
        ("test.parquet", 2),
        ("unsupervised.parquet", 2),
    ]);
    let splits = opened(root.path()).unwrap();
    assert_eq!((splits.train.len(), splits.notes.skipped[0].count), (4, 2));
    let root = files(&[("a-train.parquet", 4), ("b-train.parquet", 2), ("a-test.parquet", 2)]);
    refused(root.path(), &["files of several sets are here (`a`, `b`)"]);
    let root = files(&[("a-train.parquet", 4), ("b-test.parquet", 2)]);
    refused(root.path(), &["files of several sets are here (`a`, `b`)"]);
}

#[test]
fn files_that_are_missing_or_there_twice_are_said() {
    let of = |n: &str| format!("train-{n}.parquet");
    let with = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| of(n)).collect();
        let mut all: Vec<(&str, usize)> = names.iter().map(|n| (n.as_str(), 4)).collect();
        all.push(("test.parquet", 2));
        files(&all)
    };
    refused(with(&["00000-of-00002"]).path(), &["1 of 2 `train` files found, without `00001-of-00002`"]);
    refused(
        with(&["00001-of-00003-ab", "00002-of-00003-ab"]).path(),
        &["2 of 3", "without `00000-of-00003`"],
    );
    refused(with(&["00000-of-00001-ab", "00000-of-00001-cd"]).path(), &["two files `train` 0 of 1"]);
    refused(
        with(&["00000-of-00001", "00000-of-00002", "00001-of-00002"]).path(),
        &["of 1 and of 2 are here"],
    );
    assert_eq!(opened(with(&["00000-of-00002", "00001-of-00002"]).path()).unwrap().train.len(), 8);
    let gap = files(&[("train/0000.parquet", 4), ("train/0002.parquet", 4), ("test/0000.parquet", 2)]);
    let splits = opened(gap.path()).unwrap();
    assert!(
        splits.notes.remarks[0].contains("a file numbered 2 follows that numbered 0"),
        "{:?}",
        splits.notes
    );
    write(&gap.path().join("train/more/0.parquet"), &pictures(1), &Labels::of(&[0]), How::default());
    assert_eq!(opened(gap.path()).unwrap().notes.skipped[0].count, 1);
    #[cfg(unix)]
    for link in ["train-1.parquet", "train/1.parquet"] {
        let names = if link.contains('/') {
            ["train/0.parquet", "test/0.parquet"]
        } else {
            ["train-0.parquet", "test.parquet"]
        };
        let root = files(&[(names[0], 4), (names[1], 2)]);
        std::os::unix::fs::symlink("gone.parquet", root.path().join(link)).unwrap();
        refused(root.path(), &[link, "is a link to what is not there"]);
    }
}

#[test]
fn files_without_rows_are_no_split() {
    let root = files(&[("train.parquet", 0), ("test.parquet", 2)]);
    refused(root.path(), &["train.parquet", "no row, so no images to train on"]);
    let root =
        files(&[("train-0.parquet", 4), ("train-1.parquet", 0), ("test.parquet", 0), ("val.parquet", 2)]);
    let splits = opened(root.path()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (4, 2));
    assert!(
        splits.notes.remarks[0].contains("test split has no labels (it has no rows, so no images)"),
        "{:?}",
        splits.notes
    );
    fs::remove_file(root.path().join("val.parquet")).unwrap();
    refused(root.path(), &["no row of the test split has a label (it has no rows, so no images)"]);
}

#[test]
fn columns_that_hold_no_labels_are_named_with_what_they_hold() {
    let narrow = |kind| Labels::Narrow(vec![Some(0), Some(1), Some(1), Some(0)], kind);
    for (labels, holds) in [
        (narrow("DATE"), "dates (INT32)"),
        (narrow("TIME_MILLIS"), "times of day (INT32)"),
        (narrow("DECIMAL(9,2)"), "decimal fractions (INT32)"),
        (Labels::Nested(FOUR.to_vec(), "{ optional int64 id; }", 2), "groups (`id`: INT64)"),
        (
            Labels::Nested(FOUR.to_vec(), "(LIST) { repeated group list { optional int64 element; } }", 3),
            "lists (INT64)",
        ),
    ] {
        let wanted = format!("the column `label` holds {holds}, which are no labels");
        refused(
            set(&labels, &Labels::of(&FOUR), How::default()).path(),
            &["train.parquet", &wanted, "whole numbers"],
        );
        // In the test split too, where another would do.
        let root = set(&Labels::of(&FOUR), &labels, How::default());
        refused(root.path(), &["test.parquet", &wanted]);
    }
    let cats = text(&["cat", "dog", "dog", "cat"]);
    for label in ["Label", "category", "cls", "coarse_label", "class_name", "y"] {
        let how = How { label, ..How::default() };
        assert_eq!(opened(set(&cats, &cats, how).path()).unwrap().train.classes(), ["cat", "dog"], "{label}");
    }
    let how = How { label: "species", ..How::default() };
    refused(set(&cats, &cats, how).path(), &["needs one label column", "species (BYTE_ARRAY, text)"]);
}

#[test]
fn classes_that_look_the_same_are_told_apart() {
    let labels = Labels::of(&FOUR);
    for (names, told) in [
        (["cat", "c\u{430}t"], ["cat", "c\\u{430}t"]),
        (["cat", "cat\u{200b}"], ["cat", "cat\\u{200b}"]),
        (["cat", "cat "], ["cat", "cat\\u{20}"]),
        (["crane", "crane"], ["crane (0)", "crane (1)"]),
        (["caf\u{e9}", "cafe\u{301}"], ["caf\\u{e9} (0)", "caf\\u{e9} (1)"]),
    ] {
        let names: &'static [&'static str] = Box::leak(Box::new(names));
        let how = How { names: Some(names), ..How::default() };
        let splits = opened(set(&labels, &labels, how).path()).unwrap();
        assert_eq!(
            (splits.train.classes(), splits.test.classes()),
            (&told.map(String::from)[..], &told.map(String::from)[..])
        );
        let found: Vec<usize> = (0..4).map(|i| splits.train.label(i)).collect();
        assert_eq!(found, [0, 1, 1, 0]);
        // As labels, those that are one name are one class.
        if told[1].ends_with(')') {
            continue;
        }
        let written = text(&[names[0], names[1], names[1], names[0]]);
        let splits = opened(set(&written, &written, How::default()).path()).unwrap();
        assert_eq!(splits.train.classes(), told);
    }
    let root = set(&text(&["cat", "dog", "dog", "cat"]), &text(&["c\u{430}t", "dog"]), How::default());
    refused(root.path(), &["test.parquet, row 0", "(here it is `c\\u{430}t`, there `cat`)"]);
}
