//! Whether gradients stay where a method says: a locality audit.
//!
//! A local method promises that no gradient crosses a cut unless a cascade says so. [`audit`] looks: it takes a training
//! step, takes the same step again with other labels for **one** loss, and compares every parameter. What differs was
//! reached by that loss. Done for every loss, this gives a matrix of losses by modules, beside what the method allows
//! (METHOD §4 to §6).
//!
//! Steps are plain SGD in 32 bits on random images: an adaptive optimiser divides a gradient by its own size, which can
//! hide a small one. What the audit finds holds for the network and the method, not for a data set.
//!
//! ```no_run
//! use mlaan::{Device, audit::audit_recipe, recipe::Recipe};
//!
//! # fn main() -> mlaan::Result<()> {
//! let found = audit_recipe(&Recipe::load("quickstart")?, &Device::cpu(None)?, 4, &mut |_, _| {})?;
//! assert!(found.leaks().next().is_none());
//! # Ok(())
//! # }
//! ```

mod allowed;
mod found;
mod probe;

pub use found::{AUDIT, Audit, Reach, Reached};
pub use probe::Altered;

use crate::backbone::Backbone;
use crate::local::{Branch, Learner, LossOf, Method, Offload, Partition, Task};
use crate::nn::optim::{Rule, Sgd};
use crate::nn::{ImageShape, Optimizer};
use crate::plan::{Sizes, balanced};
use crate::recipe::Recipe;
use crate::train::setup;
use crate::{Device, Result};
use allowed::Allowed;
use mlaan_engine::Precision;
use mlaan_engine::ops::PixelScale;
use probe::{CLASSES, Probe, differences};

/// The SGD of an audit: no momentum and no decay, which would not tell more.
fn optimizer() -> Optimizer {
    let rule = Rule::Sgd(Sgd { momentum: 0.0, nesterov: false });
    Optimizer { rule, weight_decay: 0.0, ..Optimizer::default() }
}

/// Audits the network and the method of a recipe, on batches of `batch` images, at least 4. `watch` is told how many of how many
/// losses were looked at.
///
/// # Errors
/// What is wrong with the recipe; out of memory.
pub fn audit_recipe(
    recipe: &Recipe,
    device: &Device,
    batch: usize,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Audit> {
    recipe.validate()?;
    let device = device.with_precision(Precision::F32);
    let backbone = setup::network(recipe)?;
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(recipe.data.size, 3), classes: CLASSES, pixels };
    let sizes = Sizes::of_steps(batch, optimizer(), device.kind());
    // Where things are kept changes no gradient.
    let method = Method { offload: Offload::None, ..balanced(&backbone, &recipe.local, task, sizes)? };
    let mut build = || Learner::new(&device, &backbone, &method, task, recipe.seed, optimizer());
    audit(&mut build, (&method, &backbone), (batch, recipe.seed), watch)
}

/// Audits what `build` makes, the same network every time (one stage, in 32 bits), against what `method` on `backbone`
/// allows. `seed` is that of the images.
///
/// # Errors
/// From `build`; out of memory; a method that does not fit the backbone.
pub fn audit(
    build: &mut dyn FnMut() -> Result<Learner>,
    (method, backbone): (&Method, &dyn Backbone),
    (batch, seed): (usize, u64),
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Audit> {
    let partition = Partition::new(method, backbone)?;
    let allowed = Allowed::new(method, &partition, backbone)?;
    // Of fewer images no two are of one class and another is not, which a contrastive loss needs.
    let batch = batch.max(4);
    let mut probe = Probe::new(batch, seed);
    let plain = probe.step(build()?, None)?;
    let losses = losses(method, partition.len());
    let mut rows = Vec::with_capacity(losses.len());
    for (done, &loss) in losses.iter().enumerate() {
        watch(done, losses.len());
        let altered = probe.step(build()?, Some(loss))?;
        rows.push(allowed.judge(loss, differences(&plain, &altered)));
    }
    watch(losses.len(), losses.len());
    Ok(Audit { modules: partition.len(), batch, rows })
}

/// The losses of a method, from the first module to the last: the last has the classifier's alone.
fn losses(method: &Method, modules: usize) -> Vec<LossOf> {
    let branches = |module: usize| {
        let both = [Branch::Independent, Branch::Cascaded].into_iter();
        both.filter(move |&b| method.weight(b) != 0.0 && (b == Branch::Independent || module + 1 < modules))
            .map(move |branch| LossOf { module, branch })
    };
    let last = LossOf { module: modules - 1, branch: Branch::Independent };
    let mut all: Vec<LossOf> = (0..modules - 1).flat_map(branches).collect();
    all.push(last);
    all
}
