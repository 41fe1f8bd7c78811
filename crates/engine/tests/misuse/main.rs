//! What misused operations answer.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod convolution;
mod normalisation;
mod pooling;
mod values;
