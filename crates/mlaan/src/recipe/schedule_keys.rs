//! Which keys of `[train]` belong to which course of learning rates.

use super::{Schedule, Train};
use crate::{Error, Result};

use Schedule::{Cosine as C, Linear as L, MultiStep as M, Step as S, Wsd as W};

/// Keys of `[train]` that not every course has, and those that have them.
const KEYS: &[(&str, &[Schedule])] = &[
    ("step_size", &[S]),
    ("gamma", &[S, M]),
    ("milestones", &[M]),
    ("min_lr", &[C, L, W]),
    ("decay_fraction", &[W]),
];

impl Train {
    /// What a cut leaves of the rate.
    pub fn gamma_used(&self) -> f64 {
        self.gamma.unwrap_or(0.1)
    }

    /// Fraction of the run that the rate decays over.
    pub fn decay_fraction_used(&self) -> f64 {
        self.decay_fraction.unwrap_or(0.2)
    }

    /// Whether the rate moves at every step.
    pub fn moves_per_step(&self) -> bool {
        self.per_step == Some(true)
    }

    fn drop_key(&mut self, key: &str) {
        match key {
            "step_size" => self.step_size = None,
            "gamma" => self.gamma = None,
            "milestones" => self.milestones = None,
            "min_lr" => self.min_lr = None,
            _ => self.decay_fraction = None,
        }
    }

    fn has_key(&self, key: &str) -> bool {
        match key {
            "step_size" => self.step_size.is_some(),
            "gamma" => self.gamma.is_some(),
            "milestones" => self.milestones.is_some(),
            "min_lr" => self.min_lr.is_some(),
            _ => self.decay_fraction.is_some(),
        }
    }
}

/// Drops what was meant for another course than the one that a layer chooses; `says` as in [`super::coupled::settle`].
pub(super) fn settle(before: &Train, train: &mut Train, says: &dyn Fn(&str) -> bool) {
    // No is what its absence means.
    train.per_step = train.per_step.filter(|&moves| moves);
    if says("per_step") && train.per_step.is_none() && !says("warmup_steps") {
        train.warmup_steps = None;
    }
    if before.schedule == train.schedule {
        return;
    }
    for (key, _) in KEYS.iter().filter(|(key, _)| !says(key)) {
        train.drop_key(key);
    }
}

/// Refuses keys that somebody wrote for a course that does not have them: they would do nothing.
///
/// # Errors
/// [`Error::Recipe`] for the first of them.
pub(super) fn check(train: &Train, says: &dyn Fn(&str) -> bool) -> Result<()> {
    let foreign = |of: &[Schedule]| !of.contains(&train.schedule);
    let Some((key, of)) = KEYS.iter().find(|(key, of)| says(key) && train.has_key(key) && foreign(of)) else {
        return Ok(());
    };
    let of: Vec<_> = of.iter().map(|s| format!("\"{}\"", s.word())).collect();
    let message = format!(
        "is a key of train.schedule = {}, and the schedule here is \"{}\"; leave the key out, or set train.schedule",
        of.join(" or "),
        train.schedule.word()
    );
    Err(Error::recipe(format!("train.{key}"), message))
}

/// Refuses a course without what it cannot do without.
///
/// # Errors
/// [`Error::Recipe`] with the key that is missing or needs another.
pub(super) fn validate(train: &Train) -> Result<()> {
    let needs = |key: &str, message: &str| Err(Error::recipe(key, message));
    match train.schedule {
        Schedule::Step if train.step_size.is_none() => needs(
            "train.step_size",
            "train.schedule = \"step\" needs it: epochs between two cuts of the rate",
        ),
        Schedule::MultiStep if train.milestones.is_none() => needs(
            "train.milestones",
            "train.schedule = \"multistep\" needs them: epochs after which the rate is cut, as [30, 60]",
        ),
        _ if train.warmup_steps.is_some() && !train.moves_per_step() => needs(
            "train.warmup_steps",
            "steps of warm-up are for train.per_step = true; set it, or train.warmup in epochs",
        ),
        _ => Ok(()),
    }
}
