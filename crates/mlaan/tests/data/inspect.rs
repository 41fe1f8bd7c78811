//! What `inspect` says of sets made here, whole and with faults.

use crate::sets;

use mlaan::data::inspect::{Inspection, inspect};
use mlaan::data::{Known, Normalise, OpenOptions, open};
use tempfile::TempDir;

fn inspected(path: &std::path::Path) -> Inspection {
    let (mut told, mut all) = (Vec::new(), 0);
    let mut watch = |seen, of| {
        told.push(seen);
        all = of;
    };
    let found = inspect(path.to_str().unwrap(), &mut watch).unwrap();
    // From the beginning to the end, and never back.
    assert_eq!((told[0], told.last()), (0, Some(&(found.train.images + found.test.images))));
    assert!(told.is_sorted() && told.last() == Some(&all));
    found
}

#[test]
fn a_whole_set_has_its_counts_and_statistics() {
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), &sets::cifar10_binary());
    let found = inspected(root.path());
    assert_eq!((found.known, found.classes.len()), (Some(Known::Cifar10), 10));
    assert_eq!((found.train.images, found.test.images), (sets::TRAIN, sets::TEST));
    assert_eq!(found.train.per_class, [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]);
    let sizes = found.train.sizes.unwrap();
    assert_eq!((sizes.least, sizes.most), ([32, 32], [32, 32]));
    assert_eq!(found.decoded_bytes(), ((sets::TRAIN + sets::TEST) * 32 * 32 * 3) as u64);
    let options = OpenOptions { limit: Some(1000), ..OpenOptions::default() };
    let splits = open(root.path().to_str().unwrap(), &options).unwrap();
    assert_eq!(found.train.pixels, Some(Normalise::measure(&*splits.train).unwrap()));
    // What is small on purpose here would be cut elsewhere.
    assert_eq!((found.shared, found.train.repeated, found.problem_count), (0, 0, 2), "{:?}", found.problems);
    assert!(found.problems[0].starts_with("25 training images; CIFAR-10 as published has 50,000"));
    assert!(found.problems[1].starts_with("12 test images; CIFAR-10 as published has 10,000"));
}

#[test]
fn every_published_set_has_its_numbers() {
    for (files, [train, test]) in [
        (sets::cifar100_binary(), ["CIFAR-100 as published has 50,000", "10,000"]),
        (sets::cifar10_python(), ["CIFAR-10 as published has 50,000", "10,000"]),
        (sets::stl10(), ["STL-10 as published has 5,000", "8,000"]),
        (sets::svhn(), ["SVHN as published has 73,257", "26,032"]),
        (sets::mnist(), ["MNIST as published has 60,000", "10,000"]),
    ] {
        let root = TempDir::new().unwrap();
        sets::unpacked(root.path(), &files);
        let problems = inspected(root.path()).problems;
        assert!(problems[0].contains(train) && problems[1].contains(test), "{problems:?}");
    }
}

#[test]
fn faults_are_listed_with_their_places() {
    let root = TempDir::new().unwrap();
    let picture = |value: u8| {
        let image = image::RgbImage::from_pixel(6, 5, image::Rgb([value; 3]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::DynamicImage::from(image).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    };
    for (place, bytes) in [
        ("train/cat/0.png", picture(1)),
        ("train/cat/1.png", picture(1)),
        ("train/dog/0.png", picture(2)),
        ("train/dog/1.png", b"no picture".to_vec()),
        ("test/cat/0.png", picture(2)),
        ("test/dog/0.png", picture(9)),
    ] {
        sets::put(root.path().join(place), &bytes);
    }
    let found = inspected(root.path());
    assert_eq!((found.train.broken, found.train.repeated, found.shared), (1, 1, 1));
    assert_eq!(found.problem_count, 2);
    assert!(found.problems[0].contains("dog/1.png") && found.problems[0].contains("not an image"));
    assert!(found.problems[1].contains("test/cat/0.png"), "{:?}", found.problems);
}

#[test]
fn nothing_known_is_an_error_and_the_built_in_set_is_looked_at() {
    let root = TempDir::new().unwrap();
    assert!(
        inspect(root.path().to_str().unwrap(), &mut |_, _| {}).unwrap_err().to_string().contains("known are")
    );
    let found = inspect("builtin", &mut |_, _| {}).unwrap();
    assert!(found.problems.is_empty() && found.train.images > 0 && found.train.sizes.is_some());
}
