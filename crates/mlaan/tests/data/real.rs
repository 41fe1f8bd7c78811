//! Real sets, where `MLAAN_DATA` names a folder that holds them.

use std::io::Write;
use std::path::PathBuf;

use mlaan::data::{Normalise, OpenOptions, Splits, open};

fn real(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("MLAAN_DATA") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: set MLAAN_DATA to the folder that holds {name}");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    if path.exists() {
        return Some(path.display().to_string());
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: no {} (unpack it there)", path.display());
    None
}

fn counts(splits: &Splits) -> Vec<usize> {
    let mut counts = vec![0; splits.train.classes().len()];
    (0..splits.train.len()).for_each(|i| counts[splits.train.label(i)] += 1);
    counts
}

#[test]
fn cifar10_parquet_is_read_whole() {
    let Some(path) = real("cifar10-jpeg") else {
        return;
    };
    let splits = open(&path, &OpenOptions::default()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.skipped), (50_000, 10_000, 0));
    assert_eq!(splits.train.classes()[0], "airplane");
    assert_eq!(splits.train.classes()[9], "truck");
    assert_eq!(counts(&splits), [5_000; 10]);
    // The set's published statistics, to what JPEG leaves of them.
    let measured = Normalise::measure(&*splits.train).unwrap();
    let published = Normalise::preset("cifar").unwrap();
    for k in 0..3 {
        assert!((measured.mean[k] - published.mean[k]).abs() < 0.004, "{measured:?}");
        assert!((measured.std[k] - published.std[k]).abs() < 0.01, "{measured:?}");
    }
}

#[test]
fn a_limit_is_quick_balanced_and_part_of_the_whole() {
    let Some(path) = real("cifar10-jpeg") else {
        return;
    };
    let limited = |limit, seed| {
        let limit = Some(limit);
        open(&path, &OpenOptions { limit, seed, ..OpenOptions::default() }).unwrap()
    };
    let splits = limited(200, 3);
    assert_eq!((splits.train.len(), splits.test.len()), (200, 200));
    assert_eq!(counts(&splits), [20; 10]);
    let (again, other) = (limited(200, 3), limited(200, 4));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let same = |x: &Splits, y: &Splits, a: &mut Vec<u8>, b: &mut Vec<u8>| {
        (0..200).all(|i| x.train.image(i, a).unwrap() == y.train.image(i, b).unwrap())
    };
    assert!(same(&splits, &again, &mut a, &mut b));
    assert!(!same(&splits, &other, &mut a, &mut b));
}

#[test]
fn imagenette_folders_are_read() {
    let Some(path) = real("imagenette2-224") else {
        return;
    };
    let options = OpenOptions { limit: Some(100), short_side: 64, ..OpenOptions::default() };
    let splits = open(&path, &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (100, 100));
    assert_eq!(splits.train.classes()[0], "n01440764");
    let mut scratch = Vec::new();
    for i in 0..100 {
        let image = splits.train.image(i, &mut scratch).unwrap();
        assert_eq!(image.height.min(image.width), 64);
    }
}

#[test]
fn imagenette_is_read_out_of_its_archive() {
    let Some(path) = real("imagenette2-224.tar") else {
        return;
    };
    let options = OpenOptions { limit: Some(100), short_side: 64, ..OpenOptions::default() };
    let splits = open(&path, &options).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (100, 100));
    assert_eq!((&*splits.train.classes()[0], splits.train.classes().len()), ("n01440764", 10));
    // Unpacked it is the same set.
    let Some(unpacked) = real("imagenette2-224") else {
        return;
    };
    let folder = open(&unpacked, &options).unwrap();
    for i in 0..100 {
        assert_eq!(splits.train.label(i), folder.train.label(i));
        assert_eq!(
            splits.train.image(i, &mut Vec::new()).unwrap(),
            folder.train.image(i, &mut Vec::new()).unwrap()
        );
    }
}
