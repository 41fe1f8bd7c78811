//! The command: what it says, what it writes, what it refuses.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod analyze;
mod audit;
mod bench;
mod commands;
mod compare;
mod data;
mod devices;
mod eval;
mod images;
mod lost;
mod memory;
mod outputs;
mod recipes;
mod report;
mod special_files;
mod stages;
mod text;
mod train;
mod using;
mod validation;
