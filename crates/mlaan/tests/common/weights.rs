//! Networks' weights in files.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

use super::trained::{checkpoint, recipe};
use mlaan::export::{Format, export};
use mlaan::import::{Options, StateDict};
use mlaan::train::import;
use mlaan::train::{NamedTensor, Trained, write_tensors};
use std::path::Path;

/// A tensor: name, sizes, values.
pub type Tensor = (String, Vec<usize>, Vec<f32>);
pub type Tensors = Vec<Tensor>;

/// A network's tensors as `(name, sizes, values)`.
pub fn tensors(file: &Path) -> Tensors {
    let mut dict = StateDict::open(file).unwrap();
    let found: Vec<(String, Vec<usize>)> = dict.tensors().map(|(n, s)| (n.to_owned(), s.to_vec())).collect();
    found.into_iter().map(|(n, s)| (n.clone(), s, dict.read(&n).unwrap())).collect()
}

/// Puts tensors into a file of safetensors.
pub fn write(file: &Path, tensors: &[Tensor]) {
    let named: Vec<NamedTensor> =
        tensors.iter().map(|(n, s, v)| NamedTensor::new(n.clone(), s.clone(), v.clone())).collect();
    write_tensors(file, &named).unwrap();
}

/// A checkpoint's tensors in a file, and a folder for more.
pub fn exported(backbone: &str, width: usize, size: usize) -> (tempfile::TempDir, std::path::PathBuf) {
    let at = tempfile::tempdir().unwrap();
    checkpoint(&at.path().join("run"), &recipe(backbone, width, size), 4, 5);
    let file = at.path().join("net.safetensors");
    export(&Trained::open(&at.path().join("run"), false).unwrap(), Format::Safetensors, &file).unwrap();
    (at, file)
}

/// The message of an import that fails.
pub fn fails(file: &Path, options: &Options) -> String {
    let out = tempfile::tempdir().unwrap();
    import(file, options, &out.path().join("x")).unwrap_err().to_string()
}

/// Without counters, and with a prefix.
pub fn named(net: &[Tensor], prefix: &str, factor: f32) -> Tensors {
    let kept = net.iter().filter(|(n, ..)| !n.ends_with("num_batches_tracked"));
    kept.map(|(n, s, v)| (format!("{prefix}{n}"), s.clone(), v.iter().map(|x| x * factor).collect()))
        .collect()
}
