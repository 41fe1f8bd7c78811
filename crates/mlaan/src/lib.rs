//! Trains deep image classifiers module by module.
//!
//! A network ([`backbone`]) is cut into gradient-isolated modules, each trained by a small auxiliary network; how is a
//! value, [`local::Method`]. A [`recipe`] names a network, a method, images ([`data`]) and an optimiser; a
//! [`train::Trainer`] runs it, a [`plan`] says beforehand what it will need, and
//! [`compare`] runs tables of recipes.
//!
//! ```no_run
//! use mlaan::{Device, recipe::Recipe, train::{Progress, Trainer}};
//! use std::{path::Path, sync::atomic::AtomicBool};
//!
//! # fn main() -> mlaan::Result<()> {
//! let recipe = Recipe::load("quickstart")?;
//! let mut trainer = Trainer::from_recipe(&recipe, &Device::cpu(None)?)?;
//! println!("{} bytes planned", trainer.plan().memory());
//! trainer.run(Path::new("runs/mine"), false, &AtomicBool::new(false), &mut |p| {
//!     if let Progress::Epoch(e) = p {
//!         println!("epoch {}: test accuracy {:.2} %", e.epoch, e.test_accuracy);
//!     }
//! })?;
//! # Ok(())
//! # }
//! ```
pub mod analyze;
pub mod audit;
pub mod auto_recipe;
pub mod backbone;
pub mod bench;
mod caught;
pub mod compare;
pub mod data;
mod error;
pub mod evaluation;
pub mod export;
pub mod files;
pub mod import;
pub mod local;
pub mod memory;
pub mod nn;
mod numbers;
pub mod pickle;
pub mod plan;
pub mod plot;
pub mod predict;
pub mod process;
pub mod ranks;
pub mod recipe;
pub mod report;
pub mod rng;
pub mod text;
pub mod train;

pub use error::{Error, Result};
pub use mlaan_engine::{self as engine, Device};
