//! Parquet sets as many tools write and arrange them: read right, or refused by what they are.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::parquet_files::{How, Labels, write};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use mlaan::data::inspect::inspect;
use mlaan::data::{OpenOptions, Splits, open};
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterVersion;
use tempfile::TempDir;

/// Pictures of one colour, ten times their number.
fn pictures(count: usize) -> Vec<Vec<u8>> {
    let picture = |i: usize| {
        let image = RgbImage::from_pixel(6, 5, Rgb([10 * i as u8; 3]));
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
fn refused(root: &Path, parts: &[&str]) -> String {
    let error = opened(root).err().unwrap_or_else(|| panic!("opened")).to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{parts:?}: {error}");
    error
}

/// Labels and greys of a split.
fn seen(split: &dyn mlaan::data::Dataset) -> Vec<(usize, u8)> {
    (0..split.len()).map(|i| (split.label(i), split.image(i, &mut Vec::new()).unwrap().rgb[0])).collect()
}

/// A set of seven training and three test images with these labels.
fn set(train: &Labels, test: &Labels, how: How) -> TempDir {
    let root = TempDir::new().unwrap();
    write(&root.path().join("train.parquet"), &pictures(7), train, how);
    write(&root.path().join("test.parquet"), &pictures(3), test, how);
    root
}

/// A page, as it lies in the file and inflated, beside all pictures of a chunk while these are decoded.
#[test]
fn pages_count_in_what_loading_takes() {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut noise = || {
        let image = RgbImage::from_fn(64, 64, |_, _| Rgb([byte(), byte(), byte()]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    let images: Vec<Vec<u8>> = (0..7).map(|_| noise()).collect();
    let root = TempDir::new().unwrap();
    let how = How { encoding: Some(Encoding::PLAIN), ..How::default() };
    for split in ["train.parquet", "test.parquet"] {
        write(&root.path().join(split), &images, &Labels::of(&SEVEN), how);
    }
    let (all, largest): (usize, usize) =
        (images.iter().map(Vec::len).sum(), images.iter().map(Vec::len).max().unwrap());
    let loading = opened(root.path()).unwrap().train.loading_bytes();
    // A picture is decoded at a time, by one thread: its pixels and bytes.
    let without = all + 64 * 64 * 3 + largest;
    assert!(loading >= without + 4 * largest && loading <= without + 5 * all, "{loading} {without}");
}

const SEVEN: [i64; 7] = [0, 1, 2, 2, 1, 0, 1];

#[test]
fn every_codec_page_and_encoding_gives_the_same_images() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::ZSTD(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    let expected: Vec<(usize, u8)> =
        SEVEN.iter().enumerate().map(|(i, l)| (*l as usize, 10 * i as u8)).collect();
    for codec in codecs {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for encoding in [
                None,
                Some(Encoding::PLAIN),
                Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
                Some(Encoding::DELTA_BYTE_ARRAY),
            ] {
                for plain in [false, true] {
                    let how = How { codec, version, encoding, plain, ..How::default() };
                    let root = set(&Labels::of(&SEVEN), &Labels::of(&[0, 1, 2]), how);
                    let case = format!("{codec:?}, {version:?}, {encoding:?}, {plain}");
                    let splits = opened(root.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
                    assert_eq!(seen(&*splits.train), expected, "{case}");
                    assert_eq!(splits.test.len(), 3, "{case}");
                    // Rows out of the middle skip pages.
                    let some = OpenOptions { limit: Some(2), seed: 3, threads: 1, ..OpenOptions::default() };
                    let some = open(root.path().to_str().unwrap(), &some).unwrap();
                    assert!(seen(&*some.train).iter().all(|row| expected.contains(row)), "{case}");
                }
            }
        }
    }
}

#[test]
fn labels_of_every_kind() {
    let narrow = |kind| Labels::Narrow(SEVEN.iter().map(|l| Some(*l as i32)).collect(), kind);
    let fractions = Labels::Fractions(SEVEN.iter().map(|l| Some(*l as f64)).collect());
    let kinds = ["INT_8", "INT_16", "INT_32", "UINT_8", "UINT_16", "UINT_32"].map(narrow);
    for labels in kinds.into_iter().chain([fractions]) {
        let splits = opened(set(&labels, &Labels::of(&[2, 1, 0]), How::default()).path()).unwrap();
        let found: Vec<i64> = seen(&*splits.train).iter().map(|(label, _)| *label as i64).collect();
        assert_eq!(found, SEVEN);
        assert_eq!(splits.train.classes(), ["0", "1", "2"]);
    }
    let truth = |labels: &[bool]| Labels::Truth(labels.iter().copied().map(Some).collect());
    let splits = opened(
        set(
            &truth(&[true, false, false, true, true, true, false]),
            &truth(&[true, true, false]),
            How::default(),
        )
        .path(),
    )
    .unwrap();
    assert_eq!((splits.train.classes().len(), splits.train.label(0), splits.test.label(2)), (2, 1, 0));
    let half = Labels::Fractions(vec![Some(0.5); 7]);
    refused(set(&half, &half, How::default()).path(), &["train.parquet, row 0", "label 0.5 is no class"]);
}

#[test]
fn text_labels_are_the_classes_names() {
    let text = |labels: &[&'static str]| Labels::Text(labels.iter().copied().map(Some).collect());
    let train = text(&["dog", "cat", "emu", "emu", "cat", "dog", "cat"]);
    let splits = opened(set(&train, &text(&["emu", "dog", "cat"]), How::default()).path()).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog", "emu"]);
    let labels = |split: &dyn mlaan::data::Dataset| seen(split).iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(labels(&*splits.train), [1, 0, 2, 2, 0, 1, 0]);
    assert_eq!(labels(&*splits.test), [2, 1, 0]);
    // In the order that the file gives, where it does.
    let how = How { names: Some(&["emu", "dog", "cat"]), ..How::default() };
    assert_eq!(
        labels(&*opened(set(&train, &text(&["emu", "dog", "cat"]), how).path()).unwrap().test),
        [0, 1, 2]
    );
    refused(
        set(&train, &text(&["cat", "owl", "dog"]), How::default()).path(),
        &["test.parquet, row 1", "`owl` is no class of the training split"],
    );
    refused(
        set(&train, &Labels::of(&[0, 1, 2]), How::default()).path(),
        &["text in one split and numbers in the other"],
    );
    let caption: &'static str = Box::leak("a cat ".repeat(60).into_boxed_str());
    refused(set(&text(&[caption; 7]), &train, How::default()).path(), &["row 0", "360 bytes is no class"]);
}

#[test]
fn splits_lie_where_the_hub_and_others_put_them() {
    for (train, test) in [
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("cifar/train/0000.parquet", "cifar/validation/0000.parquet"),
        ("train/part-3.parquet", "val/part-3.parquet"),
        ("data/train/a.parquet", "data/test/a.parquet"),
        ("train-00000-of-00001.parquet", "val-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-a1b2.parquet", "data/valid-00000-of-00001-a1b2.parquet"),
        ("train_0.parquet", "test_0.parquet"),
        ("training.parquet", "dev.parquet"),
    ] {
        let root = TempDir::new().unwrap();
        write(&root.path().join(train), &pictures(7), &Labels::of(&SEVEN), How::default());
        write(&root.path().join(test), &pictures(3), &Labels::of(&[0, 1, 2]), How::default());
        // Not part of a split.
        fs::write(root.path().join("train_metadata.parquet"), b"").unwrap();
        let splits = opened(root.path()).unwrap_or_else(|e| panic!("{train}: {e}"));
        assert_eq!((splits.train.len(), splits.test.len()), (7, 3), "{train}");
        let skipped: Vec<_> = splits.notes.skipped.iter().map(|s| (s.count, s.example.as_str())).collect();
        assert!(splits.notes.remarks.is_empty() && skipped.len() <= 1, "{train}: {skipped:?}");
        assert!(skipped.iter().all(|(n, name)| *n == 1 && name.ends_with("train_metadata.parquet")));
    }
    let root = TempDir::new().unwrap();
    for configuration in ["fine", "coarse"] {
        for (split, n) in [("train", 7), ("test", 3)] {
            let path = root.path().join(configuration).join(split).join("0000.parquet");
            write(&path, &pictures(n), &Labels::of(&SEVEN[..n]), How::default());
        }
    }
    refused(root.path(), &["several sets are here", "`coarse`, `fine`", "name one"]);
    assert_eq!(opened(&root.path().join("fine")).unwrap().train.len(), 7);
    fs::rename(root.path().join("fine"), root.path().join("default")).unwrap();
    fs::rename(root.path().join("default/train"), root.path().join("default/partial-train")).unwrap();
    let splits = opened(root.path()).unwrap();
    assert!(splits.notes.remarks[0].contains("only a part of the split"), "{:?}", splits.notes);
}

#[test]
fn a_test_split_without_labels_is_passed_over_and_that_is_said() {
    let none =
        [Labels::of(&[-1; 4]), Labels::Wide(vec![None; 4]), Labels::Text(vec![Some(""); 4]), Labels::None];
    for labels in none {
        let root = TempDir::new().unwrap();
        let at = |name: &str| root.path().join("data").join(name);
        write(&at("train.parquet"), &pictures(7), &Labels::of(&SEVEN), How::default());
        write(&at("test.parquet"), &pictures(4), &labels, How::default());
        refused(root.path(), &["test.parquet"]);
        write(&at("validation.parquet"), &pictures(3), &Labels::of(&[2, 1, 0]), How::default());
        let splits = opened(root.path()).unwrap();
        assert_eq!(seen(&*splits.test), [(2, 0), (1, 10), (0, 20)]);
        let why = match labels {
            Labels::None => "no column `label` as in training",
            _ => "all are missing, or −1",
        };
        let note = format!("the test split has no labels ({why}): the validation split is used in its place");
        let note = note.as_str();
        assert_eq!(splits.notes.remarks, [note]);
        assert_eq!(inspect(root.path().to_str().unwrap(), &mut |_, _| ()).unwrap().notes.remarks, [note]);
        // To train, labels are needed.
        fs::rename(at("test.parquet"), at("train.parquet")).unwrap();
        if !matches!(labels, Labels::None) {
            refused(root.path(), &["train.parquet", "no row has a label"]);
        }
    }
}

#[test]
fn a_split_partly_without_labels_is_an_error_that_counts() {
    let whole = Labels::of(&SEVEN);
    for labels in [Labels::of(&[0, 1, -1]), Labels::Wide(vec![Some(0), Some(1), None])] {
        let root = set(&whole, &labels, How::default());
        refused(root.path(), &["test.parquet, row 2", "1 of 3 rows of the test split", "remove these rows"]);
    }
    let train = Labels::Text(vec![Some("cat"), None, Some("dog"), None, Some(""), Some("cat"), Some("cat")]);
    refused(
        set(&train, &whole, How::default()).path(),
        &["train.parquet, row 1", "3 of 7 rows of the train split"],
    );
}

#[test]
fn what_a_file_claims_costs_no_time() {
    let root = set(
        &Labels::of(&SEVEN),
        &Labels::of(&[0, 1, 2]),
        How { encoding: Some(Encoding::PLAIN), ..How::default() },
    );
    let train = root.path().join("train.parquet");
    let whole = fs::read(&train).unwrap();
    let start = Instant::now();
    // In place of the first page's header: two thousand million truth values; as many pairs; lists of lists.
    for claim in
        [&[0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 7][..], &[0x1B, 0xFF, 0xFF, 0xFF, 0xFF, 7, 0x11], &[0x19; 40]]
    {
        let mut damaged = whole.clone();
        damaged[4..4 + claim.len()].copy_from_slice(claim);
        fs::write(&train, &damaged).unwrap();
        refused(root.path(), &["train.parquet", "page"]);
    }
    // In place of the footer.
    for claim in [&[0x19, 0xF1, 0xFF, 0xFF, 0xFF, 0xFF, 7][..], &[0x19; 40]] {
        let mut damaged = whole[..whole.len() / 2].to_vec();
        damaged.extend(claim);
        damaged.extend((claim.len() as u32).to_le_bytes());
        damaged.extend(b"PAR1");
        fs::write(&train, &damaged).unwrap();
        refused(root.path(), &["train.parquet", "its footer is"]);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let mut encrypted = whole.clone();
    let end = encrypted.len();
    encrypted[end - 1] = b'E';
    fs::write(&train, &encrypted).unwrap();
    refused(root.path(), &["train.parquet", "encrypted"]);
}

#[test]
fn labels_are_in_the_column_that_training_has_them_in() {
    let labels = Labels::of(&[2, 0, 1]);
    for (train, test) in [("label", "idx"), ("label", "width"), ("number", "idx"), ("label", "label")] {
        let root = set(&Labels::of(&SEVEN), &labels, How { label: train, ..How::default() });
        let other = How { label: test, ..How::default() };
        write(&root.path().join("test.parquet"), &pictures(3), &labels, other);
        write(
            &root.path().join("validation.parquet"),
            &pictures(2),
            &Labels::of(&[1, 1]),
            How { label: train, ..How::default() },
        );
        let splits = opened(root.path()).unwrap();
        if train == test {
            assert_eq!((splits.test.len(), splits.notes.is_empty()), (3, true));
            continue;
        }
        assert_eq!(seen(&*splits.test), [(1, 0), (1, 10)]);
        let said =
            format!("the test split has no labels (no column `{train}` as in training): the validation");
        assert!(splits.notes.remarks[0].starts_with(&said), "{:?}", splits.notes);
        std::fs::remove_file(root.path().join("validation.parquet")).unwrap();
        let wanted = format!("needs the label column `{train}`");
        refused(root.path(), &["test.parquet", &wanted, test]);
    }
    // Nor is another column of a later file of training a label.
    let root = set(&Labels::of(&SEVEN), &labels, How::default());
    let (first, other) = (root.path().join("train.parquet"), How { label: "idx", ..How::default() });
    std::fs::rename(first, root.path().join("train-0.parquet")).unwrap();
    write(&root.path().join("train-1.parquet"), &pictures(3), &labels, other);
    refused(root.path(), &["train-1.parquet, row 0", "3 of 10 rows"]);
}

#[test]
fn names_in_two_spellings_are_one_class_and_files_are_named_as_people_do() {
    let text = |labels: &[&'static str]| Labels::Text(labels.iter().copied().map(Some).collect());
    let train = text(&["caf\u{e9}", "cafe\u{301}", "cat", "cat", "cafe\u{301}", "cat", "caf\u{e9}"]);
    for names in [["train", "test"], ["Train", "Test"], ["TRAIN-0", "Validation"]] {
        let root = TempDir::new().unwrap();
        let at = |name: &str| root.path().join(format!("{name}.parquet"));
        write(&at(names[0]), &pictures(7), &train, How::default());
        write(&at(names[1]), &pictures(2), &text(&["cat", "cafe\u{301}"]), How::default());
        let splits = opened(root.path()).unwrap();
        assert_eq!(splits.train.classes(), ["caf\u{e9}", "cat"]);
        let labels = |split| seen(split).iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(labels(&*splits.train), [0, 0, 1, 1, 0, 1, 0], "{names:?}");
        assert_eq!(labels(&*splits.test), [1, 0]);
    }
}
