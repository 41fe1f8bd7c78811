//! Runs on a CUDA device: the processor's images and losses, as large as planned.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::cuda;
use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Progress, Trainer};
use mlaan_engine::{Device, DeviceKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

/// MLAAN on a network and images small enough for the host's CUDA driver; a last batch that is not full, in training and in evaluation.
fn recipe() -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let keys =
        ["model.backbone=resnet8", "model.width=8", "local.modules=4", "train.batch=8", "data.size=16"];
    r.set_all(keys.into_iter().chain(["data.limit=12", "train.epochs=2"])).unwrap();
    r
}

fn run(recipe: &Recipe, device: &Device, folder: &Path, stop_after: Option<usize>) -> (u64, Outcome) {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut trainer = Trainer::from_recipe(recipe, device).unwrap();
    let planned = trainer.plan().allocated() as u64;
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    (planned, outcome.unwrap())
}

/// Every epoch's losses of training.
fn losses(folder: &Path) -> Vec<f64> {
    let lines = metrics::read(folder).unwrap();
    let epochs = lines.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(e) } else { None });
    epochs.flat_map(|e| e.module_losses.into_iter().chain([e.train_loss])).collect()
}

#[test]
fn a_run_sees_the_processors_images_and_needs_what_was_planned() {
    let Some(device) = cuda() else { return };
    assert!(device.kind() == DeviceKind::Cuda && device.kind().keeps_data());
    let [here, there, both] = [0; 3].map(|_| tempdir().unwrap());
    run(&recipe(), &Device::cpu(Some(2)).unwrap(), here.path(), None);
    let (planned, outcome) = run(&recipe(), &device, there.path(), None);
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!(summary.peak_allocated_bytes, planned);
    // Within the second epoch from one to the other.
    run(&recipe(), &Device::cpu(Some(2)).unwrap(), both.path(), Some(3));
    run(&recipe(), &device, both.path(), None);
    let expected = losses(here.path());
    for folder in [&there, &both] {
        let found = losses(folder.path());
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-3 * b.abs();
        assert!(
            found.len() == expected.len() && found.iter().zip(&expected).all(near),
            "{found:?}, {expected:?}"
        );
    }
}
