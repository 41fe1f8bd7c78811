//! Trains deep image classifiers module by module.
pub mod backbone;
pub mod data;
mod error;
pub mod local;
pub mod nn;
pub mod plan;
pub mod recipe;
pub mod rng;
pub mod train;

pub use error::{Error, Result};
