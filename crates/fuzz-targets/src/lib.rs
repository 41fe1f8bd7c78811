//! Everything that reads files which others wrote, as functions of bytes: for cargo-fuzz (`fuzz/`) and for [`run`], which needs
//! neither a nightly compiler nor an instrumented build.
//!
//! A target must return for every input, in time and memory that the input's size bounds. What it returns does not count.

mod corpus;
mod mutate;
mod parquet;
pub mod run;
pub mod targets;

pub use mutate::{Mutator, Rng};

/// One of them.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Reads an input.
    pub read: fn(&[u8]),
    /// Valid inputs, made here.
    pub corpus: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "parquet", read: targets::parquet, corpus: corpus::parquet },
    Target { name: "image", read: targets::image, corpus: corpus::images },
    Target { name: "pickle", read: targets::pickle, corpus: corpus::pickles },
    Target { name: "torch", read: targets::torch, corpus: corpus::archives },
    Target { name: "tensors", read: targets::tensors, corpus: corpus::tensors },
    Target { name: "manifest", read: targets::manifest, corpus: corpus::manifests },
    Target { name: "mat", read: targets::mat, corpus: corpus::mats },
    Target { name: "tar", read: targets::tar, corpus: corpus::tars },
    Target { name: "report", read: targets::report, corpus: corpus::metrics },
    Target { name: "evaluation", read: targets::evaluation, corpus: corpus::evaluations },
    Target { name: "recipe", read: targets::recipe, corpus: corpus::recipes },
    Target { name: "suite", read: targets::suite, corpus: corpus::suites },
    Target { name: "ranges", read: targets::ranges, corpus: corpus::answers },
];
