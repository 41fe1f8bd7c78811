//! An evaluation as a file of a run, so that a report needs no images.

use super::found::Evaluation;
use crate::files::{self, atomic};
use crate::numbers::read_json;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// Name of the file in a run's folder.
pub const EVALUATION: &str = "evaluation.json";

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// The epoch after which the network was tested, from 1.
    pub epoch: usize,
    /// What the set of images is called.
    pub data: String,
    /// What was found.
    #[serde(flatten)]
    pub found: Evaluation,
}

impl Evaluated {
    /// Writes it into a run's folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let path = run.join(EVALUATION);
        atomic::write(&path, |out| {
            serde_json::to_writer(&mut *out, self).map_err(|e| Error::io(&path)(e.into()))?;
            out.write_all(b"\n").map_err(Error::io(&path))
        })
    }

    /// Reads that of a run's folder; none where there is none: the run has not ended, or is of a version without.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Data`] where what it holds is no evaluation.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(EVALUATION);
        let json = match files::read(&path, files::EVALUATION) {
            Ok(json) => json,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let wrong = |message: String| Error::data(path.display().to_string(), message);
        let read: Evaluated =
            read_json(&json).map_err(|e| wrong(format!("is no evaluation of a run: {e}")))?;
        if !read.found.confusion.is_of(read.found.classes.len()) {
            return Err(wrong("its key `confusion` is not of its classes: the file is damaged".into()));
        }
        Ok(Some(read))
    }
}
