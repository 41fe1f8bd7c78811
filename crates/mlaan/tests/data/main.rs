//! Sets of images: layouts, formats, splits, names, loading, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/parquet.rs"]
mod parquet_files;
#[path = "../common/sets.rs"]
mod sets;

use common::python;

mod archives;
mod builtin;
mod devkit;
mod download;
mod formats;
mod images;
mod images_python;
mod inspect;
mod layouts;
mod loader;
mod lost;
mod open;
mod parquet;
mod parquet_names;
mod real;
mod splits;
mod stream;
mod tar_links;
mod tar_unpacked;
mod webdataset;
