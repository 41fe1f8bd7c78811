//! A recipe itself: what it says, as values and as TOML.

use super::{Data, Model, OptimizerKind, Train, optimizer_keys};
use crate::local::Method;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use toml::Table;

/// One experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What this experiment is, for lists and tables.
    pub description: String,
    /// Seed of everything random, below 2^63.
    pub seed: u64,
    /// The backbone.
    pub model: Model,
    /// The local learning method.
    pub local: Method,
    /// The optimiser and its schedule.
    pub train: Train,
    /// The images.
    pub data: Data,
}

impl Recipe {
    /// The recipe as TOML: every key with its value, also those left at their default. Reading it again
    /// gives the same recipe. Optional keys that are absent (as `train.lr_auxiliary`, which then follows
    /// `train.lr`) stay absent, apart from `model.width`, which is written out, and from `train.full_warmup` where a
    /// warm-up is shortened: without it, one that a file says is taken whole. `train.optimizer` is there unless it is SGD; keys
    /// that it does not have (as `train.momentum` of AdamW) are not.
    ///
    /// # Errors
    /// [`Error::Recipe`] if a value cannot be written, as a seed of 2^63 or more.
    pub fn to_toml(&self) -> Result<String> {
        self.validate()?;
        let mut full = self.clone();
        full.model.width = Some(self.model.width());
        if self.train.warmup > self.train.epochs / Train::WARMUP_PART {
            full.train.full_warmup.get_or_insert(false);
        }
        let written = |e: toml::ser::Error| Error::recipe("recipe", e.to_string());
        if full.train.optimizer == OptimizerKind::Sgd {
            return toml::to_string(&full).map_err(written);
        }
        let mut table = full.to_table()?;
        if let Some(toml::Value::Table(train)) = table.get_mut("train") {
            optimizer_keys::strip(full.train.optimizer, train);
        }
        toml::to_string(&table).map_err(written)
    }

    pub(super) fn from_table(table: Table) -> Result<Self> {
        // The checks come first, so this only fails if they have a gap.
        table.try_into().map_err(|e: toml::de::Error| Error::recipe("recipe", e.message()))
    }

    pub(super) fn to_table(&self) -> Result<Table> {
        Table::try_from(self).map_err(|e| Error::recipe("recipe", e.to_string()))
    }
}
