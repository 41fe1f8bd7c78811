//! Weights that come in and go out, and what is predicted with them.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod export_python;
mod import;
mod import_python;
mod import_torch;
mod pickle_python;
mod predict;
