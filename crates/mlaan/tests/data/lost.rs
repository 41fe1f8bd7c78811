//! What of a set is lost, there twice, or not what it seems: it is refused, or counted and named.

use crate::sets;

use std::path::Path;

use crate::parquet_files::{How, Labels, write};
use crate::sets::{gz, png, put, tar};
use mlaan::data::{OpenOptions, Splits, open};
use tempfile::TempDir;

type Files = Vec<(String, Vec<u8>)>;

fn opened(path: &Path) -> mlaan::Result<Splits> {
    open(path.to_str().unwrap(), &OpenOptions::default())
}

#[track_caller]
fn fails(path: &Path, says: &[&str]) {
    match opened(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(error) => {
            let error = error.to_string();
            assert!(says.iter().all(|part| error.contains(part)), "{says:?}: {error}");
        }
    }
}

/// All that is said of a set.
#[track_caller]
fn said(path: &Path) -> String {
    opened(path).unwrap().notes.lines().join("\n")
}

#[track_caller]
fn says(path: &Path, parts: &[&str]) {
    let said = said(path);
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
}

/// An image folder with two images of each class in each split.
fn folder(splits: [&str; 2], classes: [&str; 2]) -> Files {
    let mut files = Vec::new();
    for (s, split) in splits.into_iter().enumerate() {
        for (c, class) in classes.into_iter().enumerate() {
            files.extend((0..2).map(|i| (format!("{split}/{class}/{i}.png"), png(s, 2 * c + i))));
        }
    }
    files
}

/// The set with more files as a folder, an archive and a compressed one.
fn forms(files: &Files, more: &[(&str, &[u8])]) -> TempDir {
    let root = TempDir::new().unwrap();
    let more = more.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    let files: Files = files.iter().cloned().chain(more).collect();
    sets::unpacked(&root.path().join("set"), &files);
    put(root.path().join("set.tar"), &tar(".", &files));
    put(root.path().join("set.tgz"), &gz(&tar(".", &files)));
    root
}

const FORMS: [&str; 3] = ["set", "set.tar", "set.tgz"];

/// A WebDataset with two samples of these labels in each shard.
fn shards(names: &[&str], labels: [&str; 2]) -> TempDir {
    let root = TempDir::new().unwrap();
    for (at, name) in names.iter().enumerate() {
        let mut files = Files::new();
        for (i, label) in labels.iter().enumerate() {
            files.push((format!("{i}.png"), png(at % 2, i)));
            files.push((format!("{i}.cls"), label.as_bytes().to_vec()));
        }
        put(root.path().join(name), &tar(".", &files));
    }
    root
}

/// Parquet files of four rows of two classes.
fn tables(names: &[&str], how: How, labels: &Labels) -> TempDir {
    let root = TempDir::new().unwrap();
    for name in names {
        write(&root.path().join(name), &pictures(), labels, how);
    }
    root
}

fn pictures() -> Vec<Vec<u8>> {
    (0..4).map(|i| png(0, i)).collect()
}

#[test]
fn shards_that_are_missing_are_said() {
    for ending in ["part", "crdownload", "Partial", "tmp"] {
        let root = shards(&["train-0000.tar", "val-0000.tar"], ["0", "1"]);
        put(root.path().join(format!("train-0001.tar.{ending}")), b"x");
        fails(root.path(), &["train-0001.tar.", "a download that did not end, so a shard is missing"]);
        let whole = shards(&["train-0000.tar", "train-0001.tar", "val-0000.tar"], ["0", "1"]);
        put(whole.path().join(format!("train-0001.tar.{ending}")), b"x");
        says(whole.path(), &["1 file skipped (a download that did not end)", "train-0001.tar."]);
    }
    let root = shards(&["train/0.tar", "val/0.tar"], ["0", "1"]);
    put(root.path().join("train/1.tar.gz.part"), b"x");
    fails(root.path(), &["1.tar.gz.part", "did not end"]);
    let gap = shards(&["train-0000.tar", "train-0001.tar", "train-0003.tar", "val-0000.tar"], ["0", "1"]);
    says(gap.path(), &["a file numbered 3 follows that numbered 1"]);
    let of = shards(&["train-0-of-3.tar", "train-1-of-3.tar", "val-0-of-1.tar"], ["0", "1"]);
    says(of.path(), &["2 of 3 files found, without number 2"]);
    let whole = shards(&["train-0000.tar", "train-0001.tar", "val-0000.tar"], ["0", "1"]);
    assert_eq!(said(whole.path()), "");
    let mixed = shards(&["train-0000.tar", "train-small.tar", "val-0000.tar"], ["0", "1"]);
    says(mixed.path(), &["`train-small.tar` is read as a shard of the same split as `train-0000.tar`"]);
}

#[test]
fn copies_of_shards_are_refused() {
    for copy in ["train-0000 (1).tar", "train-0000 - Copy.tar", "Copy of train-0000.tar"] {
        let root = shards(&["train-0000.tar", copy, "val-0000.tar"], ["0", "1"]);
        fails(root.path(), &[copy, "is a copy of `train-0000.tar`"]);
    }
    // Without what it is a copy of it is the shard.
    assert_eq!(said(shards(&["train-0000 (1).tar", "val-0000.tar"], ["0", "1"]).path()), "");
    let labels = Labels::of(&[0, 1, 0, 1]);
    let root = tables(&["train-0.parquet", "train-0 (1).parquet", "test.parquet"], How::default(), &labels);
    fails(root.path(), &["train-0 (1).parquet", "is a copy of `train-0.parquet`"]);
}

#[test]
fn files_of_parquet_that_are_missing_or_of_another_set_are_said() {
    let labels = Labels::of(&[0, 1, 0, 1]);
    let set = |names: &[&str]| tables(names, How::default(), &labels);
    let part = set(&["train-0.parquet", "test.parquet"]);
    put(part.path().join("train-1.parquet.crdownload"), b"x");
    fails(part.path(), &["train-1.parquet.crdownload", "did not end"]);
    write(&part.path().join("train-1.parquet"), &pictures(), &labels, How::default());
    says(part.path(), &["1 file skipped (a download that did not end)"]);
    says(
        set(&["train-0000.parquet", "train-0002.parquet", "test.parquet"]).path(),
        &["a file numbered 2 follows that numbered 0"],
    );
    says(
        set(&["train-00000-of-00001.parquet", "train-small.parquet", "test.parquet"]).path(),
        &["train-small.parquet is read as a file of the same split as", "of another, rename it"],
    );
    assert_eq!(said(set(&["train-0000.parquet", "train-0001.parquet", "test.parquet"]).path()), "");
}

#[test]
fn images_beside_the_splits_are_counted() {
    let set = folder(["train", "test"], ["cat", "dog"]);
    let image = png(0, 7);
    for (beside, first) in [
        (&["training/cat/7.png"][..], "training/cat/7.png"),
        (&["Train/cat/7.png", "Train/dog/8.png"], "Train/cat/7.png"),
        (&["train_augmented/cat/7.png"], "train_augmented/cat/7.png"),
        (&["unlabeled/7.png", "unlabeled/8.png"], "unlabeled/7.png"),
    ] {
        let more: Vec<(&str, &[u8])> = beside.iter().map(|name| (*name, &image[..])).collect();
        let root = forms(&set, &more);
        for form in FORMS {
            let splits = opened(&root.path().join(form)).unwrap();
            assert_eq!((splits.train.len(), splits.test.len()), (4, 4));
            let skipped = &splits.notes.skipped;
            assert_eq!((skipped.len(), skipped[0].count), (1, beside.len()), "{form}: {skipped:?}");
            assert_eq!(skipped[0].reason, "an image in a folder that is neither split");
            assert!(skipped[0].example.ends_with(first), "{form}: {skipped:?}");
        }
    }
    // A split that is not needed, and what is no image, are nothing to be said.
    let quiet = forms(&[set, folder(["val", "valid"], ["cat", "dog"])].concat(), &[("docs/a.txt", b"a")]);
    FORMS.iter().for_each(|form| assert_eq!(said(&quiet.path().join(form)), ""));
}

#[cfg(unix)]
#[test]
fn links_to_splits_are_no_images_beside_them() {
    let root = forms(&folder(["train", "test"], ["cat", "dog"]), &[]);
    std::os::unix::fs::symlink("train", root.path().join("set/latest")).unwrap();
    std::os::unix::fs::symlink(".", root.path().join("set/here")).unwrap();
    assert_eq!(said(&root.path().join("set")), "");
}

#[test]
fn numbers_of_another_column_are_labels_by_its_name_alone() {
    let labels = Labels::of(&[0, 1, 0, 1]);
    let set = |column, labels: &Labels| {
        tables(&["train.parquet", "test.parquet"], How { label: column, ..How::default() }, labels)
    };
    for column in ["id", "image_id", "width", "Row", "timestamp"] {
        fails(set(column, &labels).path(), &["train.parquet", "one label column, called `label`", column]);
    }
    says(set("digit", &labels).path(), &["labels are the column `digit`, the only one of whole numbers"]);
    fails(set("digit", &Labels::of(&[3, 1, 0, 2])).path(), &["`digit`, has another in every row"]);
    for column in ["label", "class_id", "Category", "class_idx"] {
        opened(set(column, &labels).path()).unwrap();
    }
    let named = How { label: "id", names: Some(&["cat", "dog"]), ..How::default() };
    let root = tables(&["train.parquet", "test.parquet"], named, &labels);
    assert_eq!(opened(root.path()).unwrap().train.classes(), ["cat", "dog"]);
}

#[test]
fn a_test_folder_of_other_classes_is_not_passed_over_in_silence() {
    let set = folder(["train", "val"], ["a", "b"]);
    let image = png(1, 9);
    let root = forms(&set, &[("test/A/0.png", &image), ("test/B/0.png", &image)]);
    FORMS.iter().for_each(|form| {
        fails(&root.path().join(form), &["`A`, `B` are not in", "here it is `A`, there `a`"])
    });
    let root = forms(&set, &[("test/x/0.png", &image), ("test/y/0.png", &image)]);
    for form in FORMS {
        says(
            &root.path().join(form),
            &[
                "`test/` has no folder of a class with images (but `x`, `y`, no trained class)",
                "tested is on",
            ],
        );
    }
}

#[test]
fn contents_count_more_than_the_ending_of_another_format() {
    let set = folder(["train", "test"], ["cat", "dog"]);
    let root =
        forms(&set, &[("train/cat/IMG_1.HEIC", &png(0, 9)), ("train/cat/2.avif", b"\0\0\0\x18ftypavif")]);
    for form in FORMS {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!(splits.train.len(), 5, "{form}");
        assert_eq!((splits.notes.skipped.len(), splits.notes.skipped[0].count), (1, 1));
        assert!(splits.notes.skipped[0].example.ends_with("2.avif"));
    }
    let root = TempDir::new().unwrap();
    for split in ["train", "test"] {
        let files = [("1.HEIC".to_owned(), png(0, 1)), ("1.cls".to_owned(), b"0".to_vec())];
        put(root.path().join(format!("{split}-0.tar")), &tar(".", &files));
    }
    assert_eq!(opened(root.path()).unwrap().train.len(), 1);
}

#[test]
fn labels_that_differ_in_capitals_alone_are_said() {
    let remark = "`Cat` and `cat` differ in capitals alone, and are two classes";
    says(shards(&["train-0.tar", "test-0.tar"], ["Cat", "cat"]).path(), &[remark]);
    let labels = Labels::Text(["Cat", "cat", "dog", "cat"].map(Some).to_vec());
    says(tables(&["train.parquet", "test.parquet"], How::default(), &labels).path(), &[remark]);
}

#[test]
fn backups_and_downloads_that_did_not_end_are_skipped() {
    let set = folder(["train", "test"], ["cat", "dog"]);
    let image = png(0, 9);
    let more: Vec<(&str, &[u8])> = ["0.png~", "0.png.bak", "#0.png#", "7.jpg.part", "8.png.crdownload"]
        .map(|name| (name, &image[..]))
        .to_vec();
    let named: Vec<(String, &[u8])> =
        more.iter().map(|(name, bytes)| (format!("train/cat/{name}"), *bytes)).collect();
    let more: Vec<(&str, &[u8])> = named.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let root = forms(&set, &more);
    for form in FORMS {
        let splits = opened(&root.path().join(form)).unwrap();
        assert_eq!(splits.train.len(), 4, "{form}");
        let mut counts: Vec<_> = splits.notes.skipped.iter().map(|s| (s.count, s.reason)).collect();
        counts.sort_unstable();
        assert_eq!(
            counts,
            [(2, "a download that did not end"), (3, "hidden, or left behind by a system")],
            "{form}"
        );
    }
}

#[test]
fn folders_of_masks_are_said_to_be_read_as_classes() {
    let set: Files = ["train", "test"]
        .into_iter()
        .flat_map(|split| ["images", "masks"].map(|kind| (format!("{split}/{kind}/a/0.png"), png(0, 1))))
        .collect();
    let root = forms(&set, &[]);
    FORMS
        .iter()
        .for_each(|form| says(&root.path().join(form), &["`images` and `masks` are read as classes"]));
    let of_people = forms(&folder(["train", "test"], ["mask", "no_mask"]), &[]);
    FORMS.iter().for_each(|form| assert_eq!(said(&of_people.path().join(form)), ""));
}

#[test]
fn what_lies_in_the_place_of_a_file_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (bytes, what) in
        [(&pointer[..], "git lfs pull"), (b"<!DOCTYPE html>\n<html></html>\n", "a web page was saved")]
    {
        let mut set = folder(["train", "test"], ["cat", "dog"]);
        set[0].1 = bytes.to_vec();
        let root = forms(&set, &[]);
        FORMS.iter().for_each(|form| fails(&root.path().join(form), &["0.png", what]));
        for (set, name) in [
            (sets::mnist(), "train-images-idx3-ubyte"),
            (sets::svhn(), "train_32x32.mat"),
            (sets::cifar10_binary(), "test_batch.bin"),
        ] {
            let root = TempDir::new().unwrap();
            sets::unpacked(root.path(), &set);
            assert!(root.path().join(name).is_file(), "{name}");
            put(root.path().join(name), bytes);
            fails(root.path(), &[name, what]);
        }
        let table = tables(&["test.parquet"], How::default(), &Labels::of(&[0, 1, 0, 1]));
        put(table.path().join("train.parquet"), bytes);
        fails(table.path(), &["train.parquet", what]);
        let shard = shards(&["train-0.tar", "val-0.tar"], ["0", "1"]);
        for name in ["train-1.tar", "train-1.tar.gz"] {
            put(shard.path().join(name), bytes);
            fails(shard.path(), &[name, what]);
            std::fs::remove_file(shard.path().join(name)).unwrap();
        }
    }
}

#[test]
fn samples_and_labels_that_do_not_fit_are_explained() {
    let root = TempDir::new().unwrap();
    for split in ["train", "test"] {
        let files = [
            ("1.json".to_owned(), br#"{"label": 0}"#.to_vec()),
            ("1.png".to_owned(), png(0, 1)),
            ("2.json".to_owned(), br#"{"width": 9, "caption": "a cat"}"#.to_vec()),
            ("2.png".to_owned(), png(0, 2)),
        ];
        put(root.path().join(format!("{split}-0.tar")), &tar(".", &files));
    }
    fails(root.path(), &["sample 2 (its JSON holds `caption`, `width`)", "1 of 2 images"]);
    for (json, says) in
        [(r#"{"Label": [0, 1]}"#, "(`Label` in its JSON is a list)"), ("{", "(its JSON cannot be read)")]
    {
        for split in ["train", "test"] {
            let files = [("1.png".to_owned(), png(0, 1)), ("1.json".to_owned(), json.as_bytes().to_vec())];
            put(root.path().join(format!("{split}-0.tar")), &tar(".", &files));
        }
        fails(root.path(), &["sample 1", says, "1 of 1 image of"]);
    }
    fails(
        shards(&["train-0.tar", "test-0.tar"], ["1", "2"]).path(),
        &["labels begin at 1", "the first is 0", "subtract 1"],
    );
    let labels = Labels::of(&[1, 2, 1, 2]);
    fails(tables(&["train.parquet", "test.parquet"], How::default(), &labels).path(), &["labels begin at 1"]);
    let again = TempDir::new().unwrap();
    for split in ["train", "test"] {
        let of = |i: usize| [("1.png".to_owned(), png(0, i)), ("1.cls".to_owned(), b"0".to_vec())];
        let other = [("2.png".to_owned(), png(0, 3)), ("2.cls".to_owned(), b"0".to_vec())];
        let files = [of(1), other, of(2)].concat();
        put(again.path().join(format!("{split}-0.tar")), &tar(".", &files));
    }
    says(again.path(), &["1 sample has the key of an earlier one"]);
}
