//! The memory of a training step, measured: for tables that train nothing.

use super::cell::Cell;
use super::cost::step_plan;
use super::machine::Machine;
use super::store::StepRecord;
use crate::bench::probe;
use crate::memory::limit::Limits;
use crate::{Device, Result};

/// One training step of a cell on made-up images, on a fresh device.
///
/// # Errors
/// [`Error::Memory`](crate::Error::Memory) where it does not fit into what the system allows: nothing was run then.
pub fn measure_step(cell: &Cell, device: &Device) -> Result<StepRecord> {
    Limits::of(device).check(&step_plan(cell, device.kind())?.needs())?;
    let found = probe(&cell.recipe, device)?;
    let mut recipe = cell.recipe.clone();
    recipe.set_source(cell.set.map_or(cell.recipe.data.source.as_str(), |s| s.name));
    Ok(StepRecord {
        cell: cell.name.clone(),
        machine: Machine::of(device),
        bytes: found.used.footprint as u64,
        device_bytes: found.device_bytes,
        seconds: found.seconds,
        version: env!("CARGO_PKG_VERSION").into(),
        recipe: recipe.to_toml()?,
    })
}
