//! Every operation on every device against the reference.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod accumulation;
mod activations;
mod adamw;
mod class_loss;
mod clipping;
mod convolution;
mod images;
mod lars;
mod losses;
mod normalisation;
mod pooling;
mod rounding;
mod specialised;
mod updates;
