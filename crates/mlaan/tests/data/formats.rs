//! The published forms of CIFAR, STL-10 and MNIST: read whole, and damaged in many ways.

use crate::python;
use crate::sets;

use std::fs;
use std::path::Path;

use crate::sets::{TEST, TRAIN, pixel, put};
use mlaan::data::{Known, OpenOptions, Splits, open};
use tempfile::TempDir;

type Files = Vec<(String, Vec<u8>)>;

fn opened(path: &Path) -> mlaan::Result<Splits> {
    open(path.to_str().unwrap(), &OpenOptions { limit: Some(10_000), ..OpenOptions::default() })
}

fn error(path: &Path) -> String {
    match opened(path) {
        Ok(_) => panic!("{} opened", path.display()),
        Err(e) => e.to_string(),
    }
}

/// Whether every image is what the generator made.
fn whole(splits: &Splits, (train, test): (usize, usize), classes: usize, side: usize, grey: bool) {
    for (split, (data, images)) in [(&splits.train, train), (&splits.test, test)].into_iter().enumerate() {
        assert_eq!((data.len(), data.classes().len()), (images, classes));
        for i in 0..images {
            assert_eq!(data.label(i), i % classes);
            let mut scratch = Vec::new();
            let image = data.image(i, &mut scratch).unwrap();
            assert_eq!((image.height, image.width), (side, side));
            for (at, rgb) in image.rgb.chunks_exact(3).enumerate() {
                let one = |c| pixel(split, i, (at / side, at % side), if grey { 0 } else { c });
                assert_eq!(rgb, [0, 1, 2].map(one), "image {i}, pixel {at}");
            }
        }
    }
}

/// A folder that holds the files, one that holds them in `inner`, and archives of them.
fn forms(files: &Files, inner: &str) -> (TempDir, Vec<std::path::PathBuf>) {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    sets::unpacked(&at("plain"), files);
    sets::unpacked(&at("outer").join(inner), files);
    let tar = sets::tar(inner, files);
    put(at("set.tar"), &tar);
    put(at("set.tar.gz"), &sets::gz(&tar));
    put(at("set.tgz"), &sets::gz(&tar));
    let paths = ["plain", "outer", "set.tar", "set.tar.gz", "set.tgz"].map(at).to_vec();
    (root, paths)
}

#[test]
fn cifar10_is_read_in_every_form() {
    let versions =
        [(sets::cifar10_binary(), "cifar-10-batches-bin"), (sets::cifar10_python(), "cifar-10-batches-py")];
    for (files, inner) in versions {
        let (_root, paths) = forms(&files, inner);
        for path in paths {
            let splits = opened(&path).unwrap();
            whole(&splits, (TRAIN, TEST), 10, 32, false);
            assert_eq!(splits.known, Some(Known::Cifar10), "{}", path.display());
            assert_eq!(splits.train.classes()[3], "c3");
        }
    }
}

#[test]
fn cifar100_has_its_fine_labels() {
    let (_root, paths) = forms(&sets::cifar100_binary(), "cifar-100-binary");
    for path in paths {
        let splits = opened(&path).unwrap();
        whole(&splits, (100, TEST), 100, 32, false);
        assert_eq!(splits.known, Some(Known::Cifar100));
    }
}

#[test]
fn stl10_is_turned_the_right_way() {
    let (_root, paths) = forms(&sets::stl10(), "stl10_binary");
    for path in paths {
        let splits = opened(&path).unwrap();
        whole(&splits, (TRAIN, TEST), 10, 96, false);
        assert_eq!((splits.known, &*splits.train.classes()[7]), (Some(Known::Stl10), "monkey"));
    }
}

#[test]
fn mnist_becomes_rgb() {
    let root = TempDir::new().unwrap();
    sets::unpacked(&root.path().join("plain/MNIST/raw"), &sets::mnist());
    whole(&opened(&root.path().join("plain")).unwrap(), (TRAIN, TEST), 10, 28, true);
    let compressed = sets::mnist().into_iter().map(|(name, bytes)| (name + ".gz", sets::gz(&bytes)));
    sets::unpacked(&root.path().join("gz"), &compressed.collect::<Vec<_>>());
    whole(&opened(&root.path().join("gz")).unwrap(), (TRAIN, TEST), 10, 28, true);
}

/// Cuts every file at many places, and removes each: always an error that names a file, except for names of classes.
fn cut_everywhere(files: &Files, optional: &str) {
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), files);
    for (name, bytes) in files {
        let path = root.path().join(name);
        let places = (0..40).map(|k| k * k * bytes.len() / 1600).chain([bytes.len() - 1, 1, 2, 3, 5, 7]);
        // Fewer whole records of CIFAR are a smaller set.
        let whole = |cut: usize| cut > 0 && cut.is_multiple_of(3073) && name.contains("batch");
        for cut in places.filter(|cut| *cut < bytes.len() && !whole(*cut)) {
            fs::write(&path, &bytes[..cut]).unwrap();
            // A shorter list of names may be a whole one.
            if name == optional {
                let _ = opened(root.path());
                continue;
            }
            let message = error(root.path());
            assert!(message.contains(root.path().to_str().unwrap()), "{name} cut at {cut}: {message}");
        }
        fs::remove_file(&path).unwrap();
        if name != optional {
            let message = error(root.path());
            assert!(message.contains("missing"), "without {name}: {message}");
        }
        fs::write(&path, bytes).unwrap();
    }
    assert!(opened(root.path()).is_ok());
}

#[test]
fn files_that_are_cut_off_are_errors() {
    cut_everywhere(&sets::cifar10_binary(), "batches.meta.txt");
    cut_everywhere(&sets::stl10(), "");
    cut_everywhere(&sets::mnist(), "");
}

#[test]
fn pickles_that_are_cut_off_are_errors() {
    let files = sets::cifar10_python();
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), &files);
    let (name, bytes) = &files[1];
    for cut in (0..300).chain([bytes.len() / 2, bytes.len() - 1]) {
        fs::write(root.path().join(name), &bytes[..cut]).unwrap();
        assert!(error(root.path()).contains("data_batch_1"), "cut at {cut}");
    }
}

#[test]
fn archives_that_are_damaged_never_panic() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("set.tar.gz");
    for files in [sets::cifar10_binary(), sets::cifar10_python(), sets::stl10()] {
        let bytes = sets::gz(&sets::tar("x", &files));
        let step = bytes.len() / 60 + 1;
        for cut in (0..bytes.len() - 8).step_by(step) {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(error(&path).contains("set.tar.gz"), "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            let _ = opened(&path);
        }
    }
}

#[test]
fn an_archive_whose_sum_is_wrong_is_an_error() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("set.tar.gz");
    let mut bytes = sets::gz(&sets::tar("x", &sets::cifar10_binary()));
    put(&path, &bytes);
    assert!(opened(&path).is_ok());
    let sum = bytes.len() - 8;
    bytes[sum] ^= 1;
    put(&path, &bytes);
    let message = error(&path);
    assert!(message.contains("set.tar.gz") && message.contains("fetch it again"), "{message}");
}

#[test]
fn an_archive_that_ends_before_its_members_is_an_error() {
    // A file of 7 GiB, as its header says, and nothing behind it.
    let root = TempDir::new().unwrap();
    let mut tar = sets::tar("x", &[("other.bin".into(), vec![0; 100])]);
    announce(&mut tar, "70000000000");
    let path = root.path().join("other.tar.gz");
    put(&path, &sets::gz(&tar));
    let message = error(&path);
    assert!(message.contains("other.tar.gz") && message.contains("damaged or cut"), "{message}");
}

/// Makes the first header of an archive announce so many bytes (octal, eleven digits).
fn announce(tar: &mut [u8], size: &str) {
    tar[124..135].copy_from_slice(size.as_bytes());
    tar[135] = 0;
    let sum: u32 = tar[..512]
        .iter()
        .enumerate()
        .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
        .sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn labels_out_of_range_name_the_record() {
    let root = TempDir::new().unwrap();
    let mut files = sets::cifar10_binary();
    files[2].1[2 * 3073] = 10;
    sets::unpacked(root.path(), &files);
    let message = error(root.path());
    assert!(message.contains("data_batch_2.bin, record 2") && message.contains("label 10"), "{message}");

    let root = TempDir::new().unwrap();
    let mut files = sets::stl10();
    files[3].1[4] = 0;
    sets::unpacked(root.path(), &files);
    let message = error(root.path());
    assert!(message.contains("train_X.bin, record 4") && message.contains("label -1"), "{message}");

    let root = TempDir::new().unwrap();
    let mut files = sets::mnist();
    files[3].1[8 + 3] = 200;
    sets::unpacked(root.path(), &files);
    let message = error(root.path());
    assert!(
        message.contains("t10k-images-idx3-ubyte, record 3") && message.contains("label 200"),
        "{message}"
    );
}

#[test]
fn wrong_beginnings_and_extents_are_errors() {
    for (at, value, said) in
        [(2, 9, "begins with"), (3, 1, "begins with"), (4, 0x7f, "do not fit"), (11, 29, "do not fit")]
    {
        let root = TempDir::new().unwrap();
        let mut files = sets::mnist();
        files[0].1[at] = value;
        sets::unpacked(root.path(), &files);
        let message = error(root.path());
        assert!(message.contains(said) && message.contains("train-images-idx3-ubyte"), "{message}");
    }
}

#[test]
fn bombs_are_bounded() {
    let root = TempDir::new().unwrap();
    // A batch of CIFAR that inflates to 700 MiB, of which a header says so.
    let zeros = vec![0u8; 3073 * 230_000];
    let path = root.path().join("bomb.tar.gz");
    put(&path, &sets::gz(&sets::tar("x", &[("data_batch_1.bin".into(), zeros)])));
    let message = error(&path);
    assert!(message.contains("data_batch_1.bin") && message.contains("at most"), "{message}");

    // A header that announces what is not there.
    let mut tar = sets::tar("x", &[("test_X.bin".into(), vec![0; 100])]);
    announce(&mut tar, "77777777777");
    let path = root.path().join("liar.tar");
    put(&path, &tar);
    let message = error(&path);
    assert!(message.contains("liar.tar") && message.contains("the archive is cut"), "{message}");
}

/// What the generator makes, as torchvision reads it; the sums that it knows are those of the real files.
const TORCHVISION: &str = r#"
import sys
import numpy as np
from torchvision.datasets import CIFAR10, MNIST, STL10

def value(split, image, side, c):
    y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return ((split * 101 + image * 37 + y * 7 + x * 13 + c * 71) % 256).astype(np.uint8)

def rgb(split, image, side):
    return np.stack([value(split, image, side, c) for c in range(3)], -1)

CIFAR10._check_integrity = STL10._check_integrity = lambda self: True
CIFAR10._load_meta = lambda self: None
root = sys.argv[1]
for split, count in enumerate(map(int, sys.argv[2:4])):
    cifar = CIFAR10(root, train=split == 0)
    stl = STL10(root, split=["train", "test"][split])
    mnist = MNIST(root, train=split == 0)
    assert len(cifar) == len(stl) == len(mnist) == count
    for i in range(count):
        assert cifar.targets[i] == int(stl.labels[i]) == int(mnist.targets[i]) == i % 10
        assert (cifar.data[i] == rgb(split, i, 32)).all()
        assert (np.array(stl[i][0]) == rgb(split, i, 96)).all()
        assert (mnist.data[i].numpy() == value(split, i, 28, 0)).all()
print("same")
"#;

#[test]
fn torchvision_reads_the_same_from_the_same_files() {
    let Some(python) = python::python(&["numpy", "torchvision"]) else {
        return;
    };
    let root = TempDir::new().unwrap();
    for (folder, files) in [
        ("cifar-10-batches-py", sets::cifar10_python()),
        ("stl10_binary", sets::stl10()),
        ("MNIST/raw", sets::mnist()),
    ] {
        sets::unpacked(&root.path().join(folder), &files);
    }
    let path = root.path().to_str().unwrap();
    let said = python.run(TORCHVISION, &[path, &TRAIN.to_string(), &TEST.to_string()]);
    assert_eq!(said.trim(), "same");
}

#[test]
fn lists_of_classes_are_read_as_editors_write_them() {
    let mut files = sets::cifar10_binary();
    for (_, bytes) in files.iter_mut().filter(|(name, _)| name == "batches.meta.txt") {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        *bytes = format!("\u{feff}{}\r\n", text.replace('\n', "\r\n")).into_bytes();
    }
    let root = tempfile::TempDir::new().unwrap();
    sets::unpacked(root.path(), &files);
    let splits =
        mlaan::data::open(root.path().to_str().unwrap(), &mlaan::data::OpenOptions::default()).unwrap();
    assert_eq!((splits.train.classes()[0].as_str(), splits.train.classes()[9].as_str()), ("c0", "c9"));
}
