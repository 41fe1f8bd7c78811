//! SVHN's MATLAB files.

use super::*;

#[test]
fn svhn_is_turned_the_right_way() {
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), &sets::svhn());
    let splits = opened(root.path()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len(), splits.known), (TRAIN, TEST, Some(Known::Svhn)));
    for i in 0..TRAIN {
        is(&*splits.train, i, (0, i), 32);
        assert_eq!(splits.train.label(i), i % 10, "10 is the digit 0");
    }
    is(&*splits.test, TEST - 1, (1, TEST - 1), 32);
    fs::remove_file(root.path().join("test_32x32.mat")).unwrap();
    fails(root.path(), &["test_32x32.mat", "missing"]);
}

/// A set whose training file is this.
fn with_train(elements: &[Vec<u8>]) -> TempDir {
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), &sets::svhn());
    put(root.path().join("train_32x32.mat"), &sets::mat(elements));
    root
}

#[test]
fn matlab_files_are_read_as_matlab_and_python_write_them() {
    let pixels = vec![7; 3072 * 2];
    let x = matrix("X", &[32, 32, 3, 2], 2, &pixels);
    let doubles: Vec<u8> = [10.0f64, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    // Plain and compressed, labels as doubles and 16 bits, and variables that are passed over.
    let labels = [matrix("y", &[2, 1], 9, &doubles), matrix("y", &[1, 2], 4, &[10, 0, 3, 0])];
    for y in labels {
        for elements in [
            vec![y.clone(), x.clone()],
            vec![matrix("note", &[1, 8], 2, b"whatever"), x.clone(), zlib_element(&y)],
        ] {
            let splits = opened(with_train(&elements).path()).unwrap();
            assert_eq!((splits.train.len(), splits.train.label(0), splits.train.label(1)), (2, 0, 3));
        }
    }
    // One image has no fourth dimension, and its label lies in the tag.
    let small = [&[2, 0, 1, 0, 5, 0, 0, 0][..]].concat();
    let mut y = matrix("y", &[1, 1], 2, &[5]);
    let tail = y.len() - 16;
    y.splice(tail.., small);
    let length = (y.len() - 8) as u32;
    y[4..8].copy_from_slice(&length.to_le_bytes());
    let root = with_train(&[matrix("X", &[32, 32, 3], 2, &pixels[..3072]), y]);
    fs::copy(root.path().join("train_32x32.mat"), root.path().join("test_32x32.mat")).unwrap();
    let splits = opened(root.path()).unwrap();
    assert_eq!((splits.train.len(), splits.train.label(0)), (1, 5));
}

#[test]
fn scipy_writes_what_is_read() {
    let Some(python) = python::python(&["numpy", "scipy.io"]) else {
        return;
    };
    let root = TempDir::new().unwrap();
    let script = "
import sys, numpy as np
from scipy.io import savemat
r = np.random.default_rng(1)
for split, n in (('train', 30), ('test', 20)):
    X = r.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
    y = (np.arange(n) % 10 + 1).astype(np.float64 if split == 'train' else np.uint8)[:, None]
    savemat(f'{sys.argv[1]}/{split}_32x32.mat', {'X': X, 'y': y}, do_compression=split == 'train')
    for i in range(n):
        print(split, i, int(y[i, 0]) % 10, X[5, 9, 2, i], X[31, 0, 0, i])
";
    let printed = python.run(script, &[root.path().as_os_str()]);
    let splits = opened(root.path()).unwrap();
    assert_eq!(printed.lines().count(), 50);
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [i, label, blue, red] = [1, 2, 3, 4].map(|w| words[w].parse::<usize>().unwrap());
        let data = if words[0] == "train" { &splits.train } else { &splits.test };
        let mut scratch = Vec::new();
        let image = data.image(i, &mut scratch).unwrap();
        let at = |row: usize, column: usize, channel: usize| {
            usize::from(image.rgb[(row * 32 + column) * 3 + channel])
        };
        assert_eq!((data.label(i), at(5, 9, 2), at(31, 0, 0)), (label, blue, red), "{line}");
    }
}

#[test]
fn matlab_files_that_do_not_fit_are_explained() {
    let pixels = vec![7; 3072 * 2];
    let x = matrix("X", &[32, 32, 3, 2], 2, &pixels);
    let y = matrix("y", &[2, 1], 2, &[1, 2]);
    let cases: Vec<(Vec<Vec<u8>>, Vec<&str>)> = vec![
        (vec![x.clone()], vec!["no variable `y`", "found X"]),
        (vec![], vec!["no variable `X`"]),
        (vec![matrix("X", &[32, 32, 2, 3], 2, &pixels), y.clone()], vec!["dimensions [32, 32, 2, 3]"]),
        (vec![matrix("X", &[32, 32, 3, 1], 4, &pixels), y.clone()], vec!["not stored as bytes"]),
        (vec![matrix("X", &[32, 32, 3, 9], 2, &pixels), y.clone()], vec!["which cannot be"]),
        (vec![x.clone(), matrix("y", &[3, 1], 2, &[1, 2, 3])], vec!["3 labels", "2 images"]),
        (vec![x.clone(), matrix("y", &[2, 1], 2, &[1, 11])], vec!["image 1", "label 11 is out of range"]),
        (
            vec![x.clone(), matrix("y", &[2, 1], 7, &[0, 0, 0, 63, 0, 0, 0, 63])],
            vec!["value 0", "not a whole number"],
        ),
    ];
    for (elements, says) in cases {
        fails(with_train(&elements).path(), &[&["train_32x32.mat"], &says[..]].concat());
    }
    // A claim of more images than could be in the bytes.
    let claim = matrix("X", &[32, 32, 3, 1 << 20], 2, &[0; 64]);
    fails(with_train(&[zlib_element(&claim), y]).path(), &["train_32x32.mat", "which cannot be"]);
    let root = with_train(&[]);
    let train = root.path().join("train_32x32.mat");
    let mut hdf = b"MATLAB 7.3 MAT-file, HDF5 schema 1.00".to_vec();
    hdf.resize(600, 0);
    for (bytes, says) in [
        (&hdf[..], "version 7.3"),
        (&[b"\x89HDF\r\n\x1a\n".to_vec(), vec![0; 200]].concat(), "savemat"),
        (&[0; 200], "version 4"),
        (b"text".as_ref(), "too short"),
        (&[b'x'; 200], "not a MATLAB file"),
    ] {
        put(&train, bytes);
        fails(root.path(), &["train_32x32.mat", says]);
    }
}

#[test]
fn damaged_matlab_files_never_panic() {
    let root = TempDir::new().unwrap();
    sets::unpacked(root.path(), &sets::svhn());
    let path = root.path().join("train_32x32.mat");
    let whole = fs::read(&path).unwrap();
    for cut in (0..whole.len()).step_by(whole.len() / 150 + 1) {
        fs::write(&path, &whole[..cut]).unwrap();
        fails(root.path(), &["train_32x32.mat"]);
    }
    for at in (0..600).chain((600..whole.len()).step_by(whole.len() / 150 + 1)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x5A;
        fs::write(&path, &damaged).unwrap();
        let _ = opened(root.path());
    }
}
