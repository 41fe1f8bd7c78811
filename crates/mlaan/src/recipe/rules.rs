//! Rules between keys. What needs the backbone's block count is checked where the network is cut.

use super::check::check_table;
use super::{Recipe, Train, schedule_keys};
use crate::local::{Branch, Leap, LeapShare, Method, Recompute, TaskLoss, Tie, no_mixtures, shared_stays};
use crate::{Error, Result};

impl Recipe {
    /// Checks every value's range, and the values against each other.
    ///
    /// # Errors
    /// [`Error::Recipe`] for the first key that is out of its range or contradicts another one.
    pub fn validate(&self) -> Result<()> {
        if i64::try_from(self.seed).is_err() {
            return Err(Error::recipe(
                "seed",
                format!("found {}, expected a whole number below 2^63", self.seed),
            ));
        }
        check_table("", &self.to_table()?)?;
        self.model.validate()?;
        validate_warmup(&self.train)?;
        schedule_keys::validate(&self.train)?;
        validate_method(&self.local)?;
        if self.data.extras().mixes() && self.local.loss == TaskLoss::Contrastive {
            let key = if self.data.mixup.is_some() { "data.mixup" } else { "data.cutmix" };
            return Err(no_mixtures(key));
        }
        self.data.validate()
    }
}

fn validate_warmup(train: &Train) -> Result<()> {
    let (warmup, epochs) = (train.warmup, train.epochs);
    if train.full_warmup == Some(true) && warmup > epochs {
        let message = format!(
            "a warm-up of {warmup} epochs does not fit into train.epochs = {epochs}; shorten one or lengthen the other"
        );
        return Err(Error::recipe("train.warmup", message));
    }
    Ok(())
}

/// Number of modules the recipe asks for.
fn modules(method: &Method) -> usize {
    method.cuts.as_ref().map_or(method.modules, |c| c.len() + 1)
}

fn validate_method(method: &Method) -> Result<()> {
    if [method.task, method.reconstruct].concat().iter().all(|w| *w == 0.0) {
        return Err(Error::recipe(
            "local.task",
            "this and local.reconstruct are all 0, so no module would learn; raise one of them",
        ));
    }
    validate_memory(method)?;
    let alone = modules(method) == 1;
    let needs_modules = |key: &str| {
        Err(Error::recipe(
            key,
            "needs at least 2 modules, and this recipe has 1; raise local.modules, or remove this table (`none`)",
        ))
    };
    if let Some(cascade) = &method.cascade {
        if alone {
            return needs_modules("local.cascade");
        }
        if cascade.span > modules(method) {
            return Err(Error::recipe(
                "local.cascade.span",
                format!(
                    "found {}, but there are {1} modules; it can be 2 to {1}",
                    cascade.span,
                    modules(method)
                ),
            ));
        }
        if cascade.independent == 0.0 && cascade.cascaded == 0.0 {
            return Err(Error::recipe(
                "local.cascade.cascaded",
                "this and local.cascade.independent are both 0, so no module would learn; raise one of them",
            ));
        }
    }
    if alone && !method.offload.is_none() {
        let message = "found \"auxiliary\", and one module has no auxiliary networks; raise local.modules, or write \"none\"";
        return Err(Error::recipe("local.offload", message));
    }
    match &method.leap {
        Some(_) if alone => needs_modules("local.leap"),
        Some(leap) => validate_leap(leap, method),
        None => Ok(()),
    }
}

/// What decides where memory goes, not what is learnt.
fn validate_memory(method: &Method) -> Result<()> {
    if method.segments.is_some() && method.recompute == Recompute::None {
        return Err(Error::recipe(
            "local.segments",
            "segments are for recomputation, and local.recompute is \"none\"; write \"module\" there, or remove this key",
        ));
    }
    if method.balance && method.cuts.is_some() {
        return Err(Error::recipe(
            "local.balance",
            "local.cuts says already where to cut; remove one of the two",
        ));
    }
    if method.balance && method.leap.as_ref().is_some_and(|l| l.sources.is_some()) {
        return Err(Error::recipe(
            "local.balance",
            "local.leap.sources names blocks for known cuts; remove one of the two",
        ));
    }
    Ok(())
}

/// Chains that are not the papers'.
fn validate_ablations(leap: &Leap, method: &Method) -> Result<()> {
    leap.check_width()?;
    if leap.tie == Tie::Untied && leap.lag > 0 {
        let message = format!(
            "found {}, and untied copies follow nothing that they could lag behind; write 0",
            leap.lag
        );
        return Err(Error::recipe("local.leap.lag", message));
    }
    if leap.share == LeapShare::Stage && !method.offload.is_none() {
        return Err(shared_stays());
    }
    Ok(())
}

fn validate_leap(leap: &Leap, method: &Method) -> Result<()> {
    if leap.on == Branch::Cascaded && method.cascade.is_none() {
        return Err(Error::recipe(
            "local.leap.on",
            "found \"cascaded\", but there is no [local.cascade]; add it, or write \"independent\"",
        ));
    }
    validate_ablations(leap, method)?;
    let needed = modules(method) - 1;
    match &leap.sources {
        Some(lists) if lists.len() != needed => Err(Error::recipe(
            "local.leap.sources",
            format!("found {} lists, expected {needed}: one for every module but the last", lists.len()),
        )),
        _ => Ok(()),
    }
}
