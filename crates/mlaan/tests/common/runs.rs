//! Runs that are stopped on the way, and what they leave.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

use mlaan::train::{Outcome, Progress, Trainer, checkpoint};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Trains on in `folder`, and stops after so many steps.
pub fn run(trainer: &mut Trainer, folder: &Path, stop_after: Option<usize>) -> Outcome {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut watch = |p: Progress<'_>| {
        if let Progress::Step { loss, error, .. } = p {
            assert!(loss.is_finite() && (0.0..=100.0).contains(&error));
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    };
    trainer.run(folder, true, &stop, &mut watch).unwrap()
}

/// Every tensor of the last checkpoint of a folder, or of the one whose manifest is named, as bits.
pub fn tensors(checkpoint: &Path) -> BTreeMap<String, Vec<u32>> {
    let (_, files) = checkpoint::load(checkpoint).unwrap();
    let mut all = BTreeMap::new();
    for file in [&files.model, &files.state] {
        for name in file.names() {
            let shape = file.shape(name).unwrap().to_vec();
            let bits = file.read(name, &shape).unwrap().iter().map(|v| v.to_bits()).collect();
            all.insert(name.to_owned(), bits);
        }
    }
    all
}
