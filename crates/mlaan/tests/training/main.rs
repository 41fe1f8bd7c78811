//! Training: steps, optimisers, losses, checkpoints, validation.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/runs.rs"]
mod runs;

mod batch_source;
mod checkpoint;
mod extras;
mod freeze;
mod model_ema;
mod objective;
mod optimizer;
mod own_layer;
mod recompute;
mod shards;
mod trainer;
mod validation;
