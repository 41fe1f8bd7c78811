//! What tests of runs share.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

pub mod python;
pub mod run_results;
pub mod torch_file;
pub mod trained;
pub mod weights;

use mlaan::recipe::Recipe;
use mlaan::train::Trainer;
use mlaan_engine::Device;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A CUDA device, or nothing where tests have none, which is said.
pub fn cuda() -> Option<Device> {
    mlaan_host_cuda::tests_on().map(|_| Device::cuda(0).unwrap())
}

/// The processor, and a CUDA device where tests have one.
pub fn devices() -> Vec<Device> {
    [Device::cpu(None).unwrap()].into_iter().chain(cuda()).collect()
}

/// The folder of a finished run: a small network, two epochs over 80 of the built-in images; `keys` change its recipe.
pub fn trained(folder: &Path, keys: &[&str]) -> PathBuf {
    let mut recipe = Recipe::load("quickstart").unwrap();
    let small =
        ["model.backbone=resnet8", "model.width=4", "train.batch=16", "data.limit=80", "train.epochs=2"];
    recipe.set_all(small.iter().chain(keys).copied()).unwrap();
    let mut trainer = Trainer::from_recipe(&recipe, &Device::cpu(Some(2)).unwrap()).unwrap();
    trainer.run(folder, false, &AtomicBool::new(false), &mut |_| {}).unwrap();
    folder.into()
}
