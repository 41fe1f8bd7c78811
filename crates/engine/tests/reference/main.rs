//! The reference itself, and whole chains of operations.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod chain;
mod dry;
mod gradients;
mod values;
