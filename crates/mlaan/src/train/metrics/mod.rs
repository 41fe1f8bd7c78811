//! What a run measures: `metrics.jsonl`, one JSON object per line, and `summary.json` at the end.
//!
//! Accuracies and errors are in percent, times in seconds, memory in bytes. Numbers that are not finite are written as
//! `null`, since JSON has no word for them. Every epoch stands once, also after kills and resumptions.

mod epoch;
mod summary;
mod tested;

pub use epoch::Epoch;
pub use summary::{SUMMARY, Summary};
pub use tested::Tested;

use crate::files::{atomic, place};
use crate::import::Taken;
use crate::local::Recompute;
use crate::memory::bytes;
use crate::recipe::Precision;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Name of the metrics file in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// One line of the metrics file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A run begins.
    Start(Start),
    /// A run goes on after this epoch.
    Resume {
        /// Finished epochs.
        epoch: usize,
    },
    /// An epoch is finished.
    Epoch(Epoch),
    /// The run is finished.
    End(Summary),
    /// The run was stopped by its user, or as its time was over; it can be resumed.
    Interrupted {
        /// Finished epochs.
        epoch: usize,
    },
}

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The recipe's description.
    pub description: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The data set.
    pub data: String,
    /// Training images.
    pub train_images: usize,
    /// Validation images, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_images: Option<usize>,
    /// Test images.
    pub test_images: usize,
    /// What computes, as `cpu` or `cuda:0`.
    pub device: String,
    /// What activations are stored in.
    #[serde(default)]
    pub precision: Precision,
    /// What is computed again instead of stored.
    #[serde(default)]
    pub recompute: Recompute,
    /// Bytes of pinned host memory that auxiliary networks are kept in (`local.offload`).
    #[serde(default, skip_serializing_if = "bytes::is_zero")]
    pub host_bytes: usize,
    /// Bytes of them that a step copies to devices, and as many back.
    #[serde(default, skip_serializing_if = "bytes::is_zero")]
    pub moved_bytes: usize,
    /// Bytes that the run was planned to need at the most, images included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_bytes: Option<u64>,
    /// Bytes that backpropagation would need in its place, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backpropagation_bytes: Option<u64>,
    /// Number of local modules.
    pub modules: usize,
    /// Values of the network, without auxiliary networks.
    pub parameters: usize,
    /// Weights that it starts from, if these are not random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<Taken>,
    /// Version of this library.
    pub version: String,
}

/// The open metrics file of a run.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Begins the metrics of a new run in its folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is already there or cannot be written.
    pub fn create(run: &Path) -> Result<Self> {
        let path = run.join(METRICS);
        let opened = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = opened.map_err(Error::io(&path))?;
        Ok(Metrics { path, file })
    }

    /// Goes on with the metrics of a run whose checkpoint ends with `epoch`: lines of later epochs, which
    /// will be trained again, and a line that a kill cut off are removed; a `resume` line is added.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or written. A missing file is begun anew.
    pub fn resume(run: &Path, epoch: usize) -> Result<Self> {
        let path = run.join(METRICS);
        let text = match files::read(&path, files::METRICS) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        atomic::write(&path, |out| {
            text.lines()
                .filter(|line| stays(line, epoch))
                .try_for_each(|line| writeln!(out, "{line}"))
                .map_err(Error::io(&path))
        })?;
        let opened = files::open_own(&path, OpenOptions::new().append(true));
        let file = opened.map_err(Error::io(&path))?;
        let mut metrics = Metrics { path, file };
        metrics.write(&Event::Resume { epoch })?;
        Ok(metrics)
    }

    /// Adds a line and makes it durable. Write an epoch's line before its checkpoint, so that a checkpoint
    /// never knows an epoch that the metrics do not.
    ///
    /// # Errors
    /// [`Error::Io`] if the line cannot be written; [`Error::Data`] if the file is not in its place any more, where nobody
    /// would find the line.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        if !place::is_at(&self.file, &self.path) {
            let message = "this file was removed or replaced while the run wrote it: stopped; put it back if it was moved. \
                           --resume goes on after the last checkpoint";
            return Err(Error::data(self.path.display().to_string(), message));
        }
        let failed = |e| Error::io(&self.path)(e);
        let mut line = serde_json::to_vec(event).map_err(|e| failed(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// Whether a line still holds when the run goes on after `epoch`.
fn stays(line: &str, epoch: usize) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else {
        return false;
    };
    // `end` counts its epochs, every other event names one.
    let at = value.get("epoch").or_else(|| value.get("epochs"));
    match at.and_then(serde_json::Value::as_u64) {
        Some(at) => at <= epoch as u64,
        None => value.is_object(),
    }
}

/// Reads the metrics of a run's folder. A line that a kill cut off, and events of later versions, are left out.
///
/// # Errors
/// [`Error::Io`] if the file is missing or cannot be read.
pub fn read(run: &Path) -> Result<Vec<Event>> {
    let path = run.join(METRICS);
    let bytes = files::read(&path, files::METRICS)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// How the first line of a run's metrics begins; the second where it began again after it was killed at its start.
const BEGINS: [&str; 2] = ["{\"event\":\"start\"", "{\"event\":\"resume\",\"epoch\":0"];

/// Whether the metrics file of a folder is surely of a run: every line is an event, but for a last one that a kill cut off,
/// and the first says how a run began. An empty file may be one.
pub(super) fn is_of_a_run(run: &Path) -> bool {
    let Ok(text) = files::text(&run.join(METRICS), files::METRICS) else { return false };
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    let mut lines = whole.lines().map(serde_json::from_str::<Event>);
    let begins = match lines.next() {
        Some(first) => matches!(first, Ok(Event::Start(_) | Event::Resume { epoch: 0 })),
        None => BEGINS.iter().any(|b| text.starts_with(b) || b.starts_with(&text)),
    };
    begins && lines.all(|line| line.is_ok())
}

#[cfg(test)]
mod tests;
