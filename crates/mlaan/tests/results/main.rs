//! What is made of runs: plans, measurements, audits, analyses, comparisons.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod analyze;
mod analyze_python;
mod audit;
mod bench;
mod bench_python;
mod compare;
mod evaluation_python;
mod plan;
mod tensorboard;
