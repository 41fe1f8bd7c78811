//! What a run left, without what is measured.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

use mlaan::train::metrics::{self, Event};
use std::path::Path;

/// Every event without what is measured, and every file of the checkpoints but the manifests, which hold times.
pub fn results(folder: &Path) -> (Vec<String>, Vec<(String, Vec<u8>)>) {
    let told = metrics::read(folder).unwrap().into_iter().filter_map(|e| match e {
        Event::Epoch(e) => {
            Some(format!("{} {:?} {:?} {:?}", e.epoch, e.train_loss, e.module_losses, e.test_error))
        }
        _ => None,
    });
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder.join("checkpoints"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "safetensors"))
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&p).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 2);
    (told.collect(), files)
}
