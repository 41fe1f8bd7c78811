//! One text of those that make a recipe.

use super::builtin::Part;
use super::merge::merge;
use super::{Train, coupled, optimizer_keys, schedule_keys};
use crate::{Error, Result};
use toml::{Table, Value};

/// One text, checked, without `extends`.
pub(super) struct Layer {
    pub(super) part: Part,
    pub(super) origin: String,
    pub(super) text: String,
    pub(super) table: Table,
    /// Whether it is somebody's own: not built in.
    pub(super) own: bool,
}

impl Layer {
    /// The table or value at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let value = self.table.get(first);
        rest.split('.').filter(|name| !name.is_empty()).fold(value, |v, name| v?.as_table()?.get(name))
    }

    /// Lays it over what it inherits; `kept` where it is as it was used, with nothing left to settle.
    pub(super) fn lay_over(&self, all: &mut Table, kept: bool) -> Result<()> {
        let before = train(all)?;
        merge("", all, &self.table);
        if let (Some(_), None, Some(Value::Table(model))) =
            (self.get("model.init"), self.get("model.init_key"), all.get_mut("model"))
        {
            // The key was one of another file.
            model.remove("init_key");
        }
        let Some(Value::Table(own)) = self.get("train") else { return Ok(()) };
        let mut after = train(all)?;
        let says = |key: &str| own.contains_key(key) || (kept && key == "full_warmup");
        coupled::settle(&before, &mut after, &says)?;
        if self.own {
            optimizer_keys::check(&after, &says)?;
            if !kept {
                optimizer_keys::check_rates(&before, &after, &says)?;
            }
            schedule_keys::check(&after, &says)?;
        }
        if let Some(Value::Table(table)) = all.get_mut("train") {
            write(table, "lr_batch", after.lr_batch.and_then(|n| i64::try_from(n).ok()).map(Value::Integer));
            let betas = after.betas.map(|betas| Value::Array(betas.map(Value::Float).into()));
            write(table, "betas", betas);
            write(table, "eps", after.eps.map(Value::Float));
            write(table, "trust_coefficient", after.trust_coefficient.map(Value::Float));
            let whole = |n: usize| i64::try_from(n).ok().map(Value::Integer);
            let epochs = |list: Vec<usize>| Value::Array(list.into_iter().filter_map(whole).collect());
            write(table, "step_size", after.step_size.and_then(whole));
            write(table, "gamma", after.gamma.map(Value::Float));
            write(table, "milestones", after.milestones.map(epochs));
            write(table, "min_lr", after.min_lr.map(Value::Float));
            write(table, "decay_fraction", after.decay_fraction.map(Value::Float));
            write(table, "per_step", after.per_step.map(Value::Boolean));
            write(table, "warmup_steps", after.warmup_steps.and_then(whole));
            write(table, "full_warmup", after.full_warmup.map(Value::Boolean));
        }
        Ok(())
    }

    /// What it calls itself.
    pub(super) fn description(&self) -> Option<&str> {
        self.table.get("description")?.as_str()
    }
}

/// `[train]` of a table that was checked.
fn train(all: &Table) -> Result<Train> {
    let table = all.get("train").and_then(Value::as_table).cloned().unwrap_or_default();
    table.try_into().map_err(|e: toml::de::Error| Error::recipe("train", e.message()))
}

/// Sets a key, or removes it.
fn write(table: &mut Table, key: &str, value: Option<Value>) {
    match value {
        Some(value) => table.insert(key.to_owned(), value),
        None => table.remove(key),
    };
}
