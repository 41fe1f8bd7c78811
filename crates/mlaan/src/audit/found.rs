//! What an audit found.

use crate::files::{self, atomic};
use crate::local::{LossOf, Owner};
use crate::numbers::read_json;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// Name of the file in a run's folder.
pub const AUDIT: &str = "audit.json";

/// See [`super`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Local modules.
    pub modules: usize,
    /// Images of a step.
    pub batch: usize,
    /// One per loss, from the first module to the last.
    pub rows: Vec<Reached>,
}

/// What one loss reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Whose labels were changed.
    pub loss: LossOf,
    /// Modules, then the classifier, then auxiliary networks.
    pub parts: Vec<Reach>,
}

/// What one loss reached of one part of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// The part.
    pub owner: Owner,
    /// Its parameters (tensors) that learn.
    pub parameters: usize,
    /// Names of its parameters and buffers that differ.
    pub changed: Vec<String>,
    /// Whether the method lets the loss's gradient come here.
    pub gradient: bool,
    /// Whether it holds mirrors of blocks that the gradient may reach, which follow them by EMA after the step.
    pub mirrors: bool,
    /// Whether it may hold a leap chain that the loss trains, too (`local.leap.share`).
    #[serde(default)]
    pub shared: bool,
}

impl Reach {
    /// Whether something changed that the method does not allow to. A mirror that follows its source may change; the head
    /// behind it may not.
    pub fn leaks(&self) -> bool {
        !self.leaked().is_empty()
    }

    /// The parameters that should not have changed.
    pub fn leaked(&self) -> Vec<&str> {
        let follows = |name: &str| name.starts_with("aux.leap_") || name.starts_with("aux.shadow_");
        let allowed = |name: &&String| self.gradient || (self.mirrors || self.shared) && follows(name);
        self.changed.iter().filter(|name| !allowed(name)).map(String::as_str).collect()
    }

    /// Whether the gradient should have come here, and changed nothing.
    pub fn missing(&self) -> bool {
        self.gradient && self.parameters > 0 && self.changed.is_empty()
    }
}

impl Audit {
    /// Every place where a loss reached what it may not.
    pub fn leaks(&self) -> impl Iterator<Item = (LossOf, &Reach)> {
        self.parts().filter(|(_, reach)| reach.leaks())
    }

    /// Every place that a loss should train and does not.
    pub fn missing(&self) -> impl Iterator<Item = (LossOf, &Reach)> {
        self.parts().filter(|(_, reach)| reach.missing())
    }

    fn parts(&self) -> impl Iterator<Item = (LossOf, &Reach)> {
        self.rows.iter().flat_map(|row| row.parts.iter().map(|reach| (row.loss, reach)))
    }

    /// Writes it as [`AUDIT`] into a folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(AUDIT);
        atomic::write(&path, |out| {
            serde_json::to_writer(&mut *out, self).map_err(|e| Error::io(&path)(e.into()))?;
            out.write_all(b"\n").map_err(Error::io(&path))
        })
    }

    /// Reads that of a folder; none where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Data`] where what it holds is no audit.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(AUDIT);
        let json = match files::read(&path, files::EVALUATION) {
            Ok(json) => json,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let wrong = |e| Error::data(path.display().to_string(), format!("is no audit: {e}"));
        read_json(&json).map(Some).map_err(wrong)
    }
}
