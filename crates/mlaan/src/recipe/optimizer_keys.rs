//! Which keys of `[train]` belong to which optimiser.

use super::{OptimizerKind, Train};
use crate::nn::optim::AdamW;
use crate::{Error, Result};
use toml::Table;

use OptimizerKind::{AdamW as A, Lars as L, Sgd as S};

/// Keys of `[train]` that not every optimiser has, and those that have them.
const KEYS: &[(&str, &[OptimizerKind])] = &[
    ("momentum", &[S, L]),
    ("nesterov", &[S, L]),
    ("betas", &[A]),
    ("eps", &[A, L]),
    ("trust_coefficient", &[L]),
];

impl Train {
    /// AdamW's β1 and β2.
    pub fn betas_used(&self) -> [f64; 2] {
        self.betas.unwrap_or(AdamW::default().betas)
    }

    /// What AdamW and LARS add to their denominators.
    pub fn eps_used(&self) -> f64 {
        self.eps.unwrap_or(1e-8)
    }

    /// LARS's trust coefficient.
    pub fn trust_used(&self) -> f64 {
        self.trust_coefficient.unwrap_or(0.001)
    }
}

/// Drops what was meant for another optimiser than the one that a layer chooses; `says` as in [`super::coupled::settle`].
pub(super) fn settle(before: &Train, train: &mut Train, says: &dyn Fn(&str) -> bool) {
    if before.optimizer == train.optimizer {
        return;
    }
    train.betas = train.betas.filter(|_| says("betas"));
    train.eps = train.eps.filter(|_| says("eps"));
    train.trust_coefficient = train.trust_coefficient.filter(|_| says("trust_coefficient"));
}

/// Refuses keys that somebody wrote for an optimiser that does not have them: they would do nothing.
///
/// # Errors
/// [`Error::Recipe`] for the first of them.
pub(super) fn check(train: &Train, says: &dyn Fn(&str) -> bool) -> Result<()> {
    let there = |key: &str| match key {
        "betas" => train.betas.is_some(),
        "eps" => train.eps.is_some(),
        "trust_coefficient" => train.trust_coefficient.is_some(),
        _ => true,
    };
    let Some((key, of)) = foreign(train.optimizer).find(|(key, _)| says(key) && there(key)) else {
        return Ok(());
    };
    let of: Vec<_> = of.iter().map(|o| format!("\"{}\"", o.word())).collect();
    let message = format!(
        "is a key of train.optimizer = {}, and the optimizer here is \"{}\"; leave the key out, or set train.optimizer",
        of.join(" or "),
        train.optimizer.word()
    );
    Err(Error::recipe(format!("train.{key}"), message))
}

/// Refuses inherited learning rates where somebody chooses another optimiser: rates of one are of another size than those of
/// another.
///
/// # Errors
/// [`Error::Recipe`] for the first rate that is inherited.
pub(super) fn check_rates(before: &Train, train: &Train, says: &dyn Fn(&str) -> bool) -> Result<()> {
    let rates = [
        ("lr", Some(train.lr)),
        ("lr_auxiliary", train.lr_auxiliary),
        ("lr_cascaded", train.lr_cascaded),
        ("min_lr", train.min_lr.filter(|rate| *rate > 0.0)),
    ];
    let inherited = rates.into_iter().find(|(key, rate)| rate.is_some() && !says(key));
    let Some((key, Some(rate))) = inherited.filter(|_| before.optimizer != train.optimizer) else {
        return Ok(());
    };
    let remedy = match (key, train.optimizer) {
        ("lr", A) => "set train.lr too (--lr 0.001 is usual)",
        ("lr", L) => "set train.lr too (--lr with 1 to 10 is usual)",
        ("lr", S) => "set train.lr too (--lr 0.1 is usual)",
        _ => "set that too, or `none` to leave it out",
    };
    let message = format!(
        "found \"{}\" beside the inherited train.{key} = {rate}, which is meant for \"{}\"; {remedy}",
        train.optimizer.word(),
        before.optimizer.word()
    );
    Err(Error::recipe("train.optimizer", message))
}

/// Takes the keys out of `[train]` that its optimiser does not have: they are at values that say nothing.
pub(super) fn strip(optimizer: OptimizerKind, train: &mut Table) {
    for (key, _) in foreign(optimizer) {
        train.remove(*key);
    }
}

/// Keys that an optimiser does not have.
fn foreign(
    optimizer: OptimizerKind,
) -> impl Iterator<Item = &'static (&'static str, &'static [OptimizerKind])> {
    KEYS.iter().filter(move |(_, of)| !of.contains(&optimizer))
}
