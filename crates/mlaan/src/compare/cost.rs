//! What a cell costs, known before it runs: memory and operations from its plan, time from measured speed.

use super::cell::Cell;
use crate::backbone::Backbone;
use crate::bench::pace;
use crate::local::{Method, Recompute};
use crate::memory::bytes;
use crate::memory::limit::Limits;
use crate::plan::search::{Learning, Request, candidates, search};
use crate::plan::{Plan, plan};
use crate::train::setup;
use crate::{Device, Result};
use mlaan_engine::DeviceKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Operations of the steps that speed is measured with, at the most: some seconds on two cores. Batches are cut for it as
/// little as may be, since small ones take longer per image.
const PROBED: f64 = 500e9;

/// What a cell costs with one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Local modules.
    pub modules: usize,
    /// Values of the network.
    pub parameters: usize,
    /// Values of the auxiliary networks.
    pub auxiliary_parameters: usize,
    /// Bytes of tensors in training, without the images of the data set and what a process needs beside.
    pub memory_bytes: usize,
    /// The same under plain backpropagation.
    pub plain_memory_bytes: usize,
    /// Bytes that the process needs beside.
    #[serde(default)]
    pub process_bytes: usize,
    /// Bytes of pinned host memory that auxiliary networks are kept in (`local.offload`), beside the above.
    #[serde(default, skip_serializing_if = "bytes::is_zero")]
    pub host_bytes: usize,
    /// Bytes of them that a step copies to the device, and as many back.
    #[serde(default, skip_serializing_if = "bytes::is_zero")]
    pub moved_bytes: usize,
    /// Floating-point operations of training, per image.
    pub flops: f64,
    /// The same under plain backpropagation.
    pub plain_flops: f64,
    /// Floating-point operations of testing, per image.
    pub test_flops: f64,
    /// Images of a step.
    pub batch: usize,
    /// Passes over the training images.
    pub epochs: usize,
    /// Training and test images; none where they are not known before the set is opened.
    pub images: Option<[usize; 2]>,
}

impl Cost {
    /// Plans a cell on a device of this kind; `images` where they are known better than the cell knows them.
    ///
    /// # Errors
    /// A method that does not fit the network.
    pub fn of(cell: &Cell, kind: DeviceKind, images: Option<[usize; 2]>) -> Result<Self> {
        let images = images.or(cell.images());
        let backbone = setup::network(&cell.recipe)?;
        let own = planned(cell, &backbone, &cell.recipe.local, (kind, images))?;
        let plain = match cell.is_plain() && cell.recipe.local.recompute == Recompute::None {
            true => own.clone(),
            false => planned(cell, &backbone, &Method::default(), (kind, images))?,
        };
        let per_image = |flops: u64, p: &Plan| flops as f64 / p.batch.max(1) as f64;
        Ok(Cost {
            modules: own.modules.len(),
            parameters: own.parameters(),
            auxiliary_parameters: own.auxiliary_parameters(),
            memory_bytes: own.allocated(),
            plain_memory_bytes: plain.allocated(),
            process_bytes: own.process,
            host_bytes: own.host(),
            moved_bytes: own.moved(),
            flops: per_image(own.flops, &own),
            plain_flops: per_image(plain.flops, &plain),
            test_flops: per_image(plain.modules.iter().map(|m| m.meter.forward).sum(), &plain),
            batch: own.batch,
            epochs: cell.recipe.train.epochs,
            images,
        })
    }

    /// Floating-point operations of a whole run, testing after every epoch included.
    pub fn operations(&self) -> Option<f64> {
        let [train, test] = self.images?.map(|n| n as f64);
        Some(self.epochs as f64 * (train * self.flops + test * self.test_flops))
    }
}

/// The plan of a cell's step, whole; see [`Cost::of`].
///
/// # Errors
/// A method that does not fit the network.
pub(super) fn step_plan(cell: &Cell, kind: DeviceKind) -> Result<Plan> {
    planned(cell, &setup::network(&cell.recipe)?, &cell.recipe.local, (kind, None))
}

fn planned(
    cell: &Cell,
    backbone: &dyn Backbone,
    method: &Method,
    (kind, images): (DeviceKind, Option<[usize; 2]>),
) -> Result<Plan> {
    plan(backbone, method, cell.task(), cell.sizes(images, kind))
}

/// Makes a cell fit into `memory` bytes, images of the data set not counted: with recomputation, else with activations
/// in bf16, else with a smaller batch as well. Gives the keys that it changed.
///
/// # Errors
/// When nothing fits: says the least memory that would do.
pub fn fit(cell: &mut Cell, kind: DeviceKind, memory: usize) -> Result<Vec<String>> {
    let backbone = setup::network(&cell.recipe)?;
    let sizes = |batch: usize| crate::plan::Sizes { batch, ..cell.sizes(cell.images(), kind) };
    let (method, batch) = (&cell.recipe.local, cell.recipe.train.batch);
    let (task, host) = (cell.task(), Limits::host_beside(kind));
    let request = Request { backbone: &backbone, method, task, batch, sizes: &sizes, memory, host };
    let own: Vec<_> = candidates(&request).into_iter().filter(|c| c.learning == Learning::Recipe).collect();
    let Some(fit) = search(&request, &own)?.fits.into_iter().next() else { return Ok(Vec::new()) };
    let mut keys = fit.candidate.settings.clone();
    if fit.batch != batch {
        keys.push(format!("train.batch={}", fit.batch));
    }
    cell.recipe.set_all(&keys)?;
    Ok(keys)
}

/// Seconds per operation, as far as they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speeds {
    /// Seconds and operations, per cell.
    cells: BTreeMap<String, (f64, f64)>,
}

impl Speeds {
    /// Counts `operations` of a cell that took so many seconds.
    pub fn add(&mut self, cell: &str, operations: f64, seconds: f64) {
        if operations > 0.0 && seconds > 0.0 && seconds.is_finite() {
            let sums = self.cells.entry(cell.to_owned()).or_default();
            *sums = (sums.0 + seconds, sums.1 + operations);
        }
    }

    /// Measures a cell with a few steps and tests on made-up images; nothing where its images are not counted.
    ///
    /// # Errors
    /// Out of memory, a device that fails.
    pub fn measure(&mut self, cell: &Cell, cost: &Cost, device: &Device) -> Result<()> {
        let (Some([train, test]), Some(operations)) = (cost.images, cost.operations()) else { return Ok(()) };
        let mut recipe = cell.recipe.clone();
        let most = (PROBED / cost.flops.max(1.0)) as usize;
        recipe.train.batch = recipe.train.batch.min(most).min(train).max(1);
        let found = pace(&recipe, device)?;
        let epoch = train as f64 * found.training + test as f64 * found.testing;
        // As much as was run: a finished run counts for more than its guess.
        let part = recipe.train.batch as f64 * cost.flops / operations.max(1.0);
        self.add(&cell.name, part * operations, part * epoch * cost.epochs as f64);
        Ok(())
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Seconds that `operations` of a cell will take: as it was measured, else as all others were together.
    pub fn seconds(&self, cell: &str, operations: f64) -> Option<f64> {
        let all = || self.cells.values().fold((0.0, 0.0), |(s, o), (a, b)| (s + a, o + b));
        let (seconds, counted) = self.cells.get(cell).copied().unwrap_or_else(all);
        (counted > 0.0).then(|| operations * seconds / counted)
    }
}
