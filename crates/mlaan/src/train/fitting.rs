//! Runs within a given memory.

use super::sizes::{sizes, task};
use super::{Trainer, setup};
use crate::backbone::{Backbone, Frozen};
use crate::data::Splits;
use crate::memory::limit::Limits;
use crate::plan::search::{Fit, Learning, Request, candidates, search};
use crate::recipe::Recipe;
use crate::{Error, Result};
use mlaan_engine::Device;

impl Trainer {
    /// As [`Trainer::from_recipe`], in at most `memory` bytes, images included: the recipe as it is where it fits, else
    /// with recomputation, else with activations in bf16, else with a smaller batch as well. Says what was chosen. The
    /// method stays the recipe's.
    ///
    /// # Errors
    /// When nothing fits: says the least memory that would do. As [`Trainer::from_recipe`].
    pub fn from_recipe_fit_memory(recipe: &Recipe, device: &Device, memory: usize) -> Result<(Self, Fit)> {
        recipe.validate()?;
        let backbone = setup::backbone(&recipe.model)?;
        let splits = setup::open(recipe, device.threads())?;
        Self::fit_memory(recipe, &backbone, splits, device, memory)
    }

    /// As [`Trainer::new`], within `memory` bytes (see [`Trainer::from_recipe_fit_memory`]).
    ///
    /// # Errors
    /// As [`Trainer::from_recipe_fit_memory`].
    pub fn fit_memory(
        recipe: &Recipe,
        backbone: &dyn Backbone,
        splits: Splits,
        device: &Device,
        memory: usize,
    ) -> Result<(Self, Fit)> {
        let splits = setup::held_out(recipe, splits)?;
        let normalise = setup::normalisation_on(device, &recipe.data, &splits)?;
        let frozen = Frozen::new(backbone, &recipe.train.freeze);
        let request = Request {
            backbone: &frozen,
            method: &recipe.local,
            task: task(recipe, &splits, &normalise),
            batch: recipe.train.batch,
            sizes: &|batch| sizes(recipe, &splits, std::slice::from_ref(device), batch),
            memory,
            host: Limits::of(device).host_room(),
        };
        let own: Vec<_> =
            candidates(&request).into_iter().filter(|c| c.learning == Learning::Recipe).collect();
        let found = search(&request, &own)?.fits.into_iter().next();
        let fit = found.ok_or_else(|| Error::recipe("local", "no settings to choose from"))?;
        let mut chosen = recipe.clone();
        (chosen.local, chosen.train.batch) = (fit.candidate.method.clone(), fit.batch);
        chosen.train.precision = fit.candidate.precision.into();
        Ok((Self::new(&chosen, backbone, splits, device)?, fit))
    }
}
