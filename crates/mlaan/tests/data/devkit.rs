//! ImageNet's validation images with the classes of its devkit: `ILSVRC2012_validation_ground_truth.txt` and `meta.mat`.

use crate::python;

use std::path::Path;

use crate::sets::{png, put};
use mlaan::data::{Known, OpenOptions, open};
use tempfile::TempDir;

const SYNSETS: [&str; 3] = ["n01440764", "n02102040", "n03000684"];

/// As scipy writes it: numbers 2, 300 and 1 for the classes above.
const META: &[u8] = include_bytes!("../../src/data/formats/meta_mat/three.mat");

/// Three classes, two training images of each, and four validation images.
fn imagenet() -> TempDir {
    let root = TempDir::new().unwrap();
    for (c, synset) in SYNSETS.iter().enumerate() {
        for i in 0..2 {
            put(root.path().join(format!("train/{synset}/{synset}_{i}.JPEG")), &png(0, c * 2 + i));
        }
    }
    for i in 1..=4 {
        put(root.path().join(format!("val/ILSVRC2012_val_{i:08}.JPEG")), &png(1, i));
    }
    root
}

#[track_caller]
fn labels(root: &Path, wanted: [usize; 4]) {
    let splits = open(root.to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.known, Some(Known::Imagenet));
    assert_eq!([0, 1, 2, 3].map(|i| splits.test.label(i)), wanted);
}

fn error(root: &Path) -> String {
    open(root.to_str().unwrap(), &OpenOptions::default()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn the_devkits_numbers_are_those_of_meta_mat() {
    for folder in ["", "ILSVRC2012_devkit_t12/data"] {
        let root = imagenet();
        let at = |name: &str| root.path().join(folder).join(name);
        put(at("ILSVRC2012_validation_ground_truth.txt"), b"1\n2\n300\n1\n");
        assert!(error(root.path()).contains("`meta.mat` or `map_clsloc.txt`"));
        put(at("meta.mat"), META);
        labels(root.path(), [2, 0, 1, 2]);
        put(at("ILSVRC2012_validation_ground_truth.txt"), b"1\n2\n3\n1\n");
        let message = error(root.path());
        assert!(message.contains("line 3") && message.contains("not a number of meta.mat"), "{message}");
        put(at("meta.mat"), b"no MATLAB file");
        let message = error(root.path());
        assert!(message.contains("meta.mat") && message.contains("devkit_t12"), "{message}");
    }
}

#[test]
fn scipy_writes_what_is_read() {
    let Some(python) = python::python(&["numpy", "scipy.io"]) else {
        return;
    };
    let root = imagenet();
    put(root.path().join("ILSVRC2012_validation_ground_truth.txt"), b"7\n999\n2\n7\n");
    // As the devkit's: whole numbers as doubles or bytes, children of any number, one struct a row.
    let script = "
import sys, numpy as np
from scipy.io import savemat
names = ('ILSVRC2012_ID', 'WNID', 'words', 'gloss', 'num_children', 'children', 'wordnet_height', 'num_train_images')
rows = [(np.uint16(999), 'n01440764'), (7.0, 'n03000684'), (np.uint8(2), 'n02102040'), (1000.0, 'n00001740')]
synsets = np.zeros((len(rows), 1), dtype=[(name, object) for name in names])
for i, (number, wnid) in enumerate(rows):
    synsets[i, 0] = (number, wnid, 'w\\u00f6rd', 'x' * i, float(i), np.arange(float(i))[None], 0.0, 1300.0)
savemat(sys.argv[1], {'a': 1.0, 'synsets': synsets, 'z': np.zeros(9)}, do_compression=sys.argv[2] == 'yes')
";
    for compressed in ["yes", "no"] {
        let path = root.path().join("meta.mat");
        python.run(script, &[path.as_os_str(), compressed.as_ref()]);
        labels(root.path(), [2, 0, 1, 2]);
    }
}

#[test]
fn files_of_other_kinds_are_refused_by_what_they_are() {
    let root = imagenet();
    put(root.path().join("ILSVRC2012_validation_ground_truth.txt"), b"7\n999\n2\n7\n");
    let matlab = [&b"MATLAB 7.3 MAT-file, Platform: GLNXA64"[..], &[0; 1000]].concat();
    let hdf5 = [&b"\x89HDF\r\n\x1a\n"[..], &[0; 1000]].concat();
    let utf16: Vec<u8> = "\u{feff}n1 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = |name: &str, bytes: &[u8]| {
        put(root.path().join(name), bytes);
        let options = mlaan::data::OpenOptions::default();
        mlaan::data::open(root.path().to_str().unwrap(), &options).err().unwrap().to_string()
    };
    for bytes in [matlab, hdf5] {
        let message = error("meta.mat", &bytes);
        for part in ["meta.mat", "version 7.3 (HDF5), which is not read", "`save -v7`", "`scipy.io.savemat`"]
        {
            assert!(message.contains(part), "{message}");
        }
    }
    let message = error("map_clsloc.txt", &utf16);
    assert!(message.contains("map_clsloc.txt") && message.contains("no text in UTF-8 (byte 0)"), "{message}");
}
