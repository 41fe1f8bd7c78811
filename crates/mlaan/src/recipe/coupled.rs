//! Keys of `[train]` that mean something only beside others: what a layer (a file, a part, the keys of a `--set`) writes
//! of them without the others is not to be changed by what it inherits.

use super::{Train, optimizer_keys, schedule_keys};
use crate::{Error, Result};

/// Settles what a layer leaves open: `train` is `before` with the layer's keys, `says` which of `[train]` it writes.
///
/// # Errors
/// [`Error::Recipe`] for a learning rate beside inherited ones that are meant for a batch.
pub(super) fn settle(before: &Train, train: &mut Train, says: &dyn Fn(&str) -> bool) -> Result<()> {
    optimizer_keys::settle(before, train, says);
    schedule_keys::settle(before, train, says);
    // None is what its absence means.
    train.label_smoothing = train.label_smoothing.filter(|&part| part > 0.0);
    let epochs = says("epochs") && train.epochs < before.epochs;
    if says("full_warmup") {
        // No is what its absence means.
        train.full_warmup = train.full_warmup.filter(|&full| full);
    } else if says("warmup") {
        train.full_warmup = (train.warmup > train.epochs / Train::WARMUP_PART).then_some(true);
    } else if epochs {
        // It was meant for a longer run.
        train.full_warmup = None;
    }
    settle_batch(before, train, says)
}

/// `lr_batch` belongs to the layer that sets the rates.
fn settle_batch(before: &Train, train: &mut Train, says: &dyn Fn(&str) -> bool) -> Result<()> {
    let Some(batch) = before.lr_batch.filter(|_| train.lr_batch.is_some() && !says("lr_batch")) else {
        return Ok(());
    };
    let rates =
        [("lr", Some(train.lr)), ("lr_auxiliary", train.lr_auxiliary), ("lr_cascaded", train.lr_cascaded)];
    let there = || rates.iter().filter_map(|(key, rate)| Some((*key, (*rate)?)));
    let own = there().find(|(key, _)| says(key));
    let inherited = there().find(|(key, _)| !says(key));
    match (own, inherited) {
        (None, _) => Ok(()),
        (Some(_), None) => {
            train.lr_batch = None;
            Ok(())
        }
        (Some((key, _)), Some((other, rate))) => Err(Error::recipe(
            format!("train.{key}"),
            format!(
                "stands beside the inherited train.{other} = {rate}, which is meant for batch {batch}; write train.lr_batch = \
                 {batch} too if this rate is meant for that batch as well, else train.{other} too"
            ),
        )),
    }
}
