//! A recipe's plan beside those of backpropagation and of backpropagation with recomputation.

use super::run::Run;
use anyhow::Result;
use mlaan::backbone::Backbone;
use mlaan::local::{Method, Recompute};
use mlaan::plan::{Plan, balanced, plan as make, plan_in_stages};
use mlaan::train::setup;

/// A recipe's plan, and the same network's under backpropagation, as it is and with recomputation.
pub struct Pair {
    pub local: Plan,
    pub plain: Plan,
    pub rival: Plan,
    pub classes: usize,
    pub network: String,
    /// Blocks below each cut, where they are not even.
    pub cuts: Option<Vec<usize>>,
}

impl Pair {
    /// Plans all three.
    ///
    /// # Errors
    /// What is wrong with the recipe.
    pub fn new(run: &Run) -> Result<Self> {
        let (recipe, task, kinds) = (&run.recipe, run.task, run.kinds());
        let backbone = setup::network(recipe)?;
        let sizes = run.sizes(recipe.train.batch);
        let method = balanced(&backbone, &recipe.local, task, sizes)?;
        let in_stages = run.sizes_in_stages(recipe.train.batch);
        let local = plan_in_stages(&backbone, &method, task, in_stages, &kinds)?;
        let plain = make(&backbone, &Method::default(), task, sizes)?;
        let again = Method { recompute: Recompute::Module, ..Method::default() };
        let rival = make(&backbone, &again, task, sizes)?;
        Ok(Pair { local, plain, rival, classes: task.classes, network: backbone.name(), cuts: method.cuts })
    }
}
