//! A file over which the parquet crate panics: an error like others, of which a process's own panic hook hears nothing. (Alone in
//! its process, as the hook is the process's.)
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "common/parquet.rs"]
mod parquet_files;
#[path = "common/sets.rs"]
mod sets;

use std::fs;
use std::panic::{catch_unwind, set_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

use mlaan::data::{OpenOptions, open};
use parquet_files::{How, Labels, write};

#[test]
fn panics_of_the_parquet_crate_are_errors_and_quiet() {
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    set_hook(Box::new(|_| {
        HEARD.fetch_add(1, Ordering::Relaxed);
    }));
    let root = tempfile::TempDir::new().unwrap();
    let images: Vec<Vec<u8>> = (0..4).map(|i| sets::png(0, i)).collect();
    for name in ["train.parquet", "test.parquet"] {
        write(&root.path().join(name), &images, &Labels::of(&[0, 1, 0, 1]), How::default());
    }
    // The first page becomes one of a kind that is passed over, so that its values miss their dictionary.
    let train = root.path().join("train.parquet");
    let mut bytes = fs::read(&train).unwrap();
    assert_eq!(bytes[4..6], [0x15, 0x04]);
    bytes[5] = 0x02;
    fs::write(&train, bytes).unwrap();
    let opened = open(root.path().to_str().unwrap(), &OpenOptions { threads: 1, ..OpenOptions::default() });
    let error = opened.err().unwrap().to_string();
    assert!(error.contains("train.parquet: cannot be read as parquet: it is damaged"), "{error}");
    assert_eq!(HEARD.load(Ordering::Relaxed), 0);
    // Others are heard as before.
    assert!(catch_unwind(|| panic!("on purpose")).is_err());
    assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
    assert_eq!(HEARD.load(Ordering::Relaxed), 2);
}
