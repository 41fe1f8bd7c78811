//! One page about runs, comparisons and analyses: HTML that needs nothing else, no network, no other file.
//!
//! [`Material::gather`] finds what folders hold, [`Material::page`] writes it. Every plot has its numbers as a table
//! beside it, so that it can be read aloud, searched and copied.

mod analyses;
mod cells;
mod comparisons;
mod configuration;
mod confusion;
mod curves;
mod evaluations;
mod gather;
mod headline;
mod html;
mod locality;
mod memory;
mod page;
mod pareto;
mod runs;

pub use gather::{Analysed, Compared, Material, Measured};
pub use runs::{Group, Run};

#[cfg(test)]
mod tests;
