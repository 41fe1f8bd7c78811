//! What a run's folder holds.

use crate::errors::{Error, of_library};
use mlaan::train::{Trained, metrics as events, setup};
use pyo3::prelude::*;
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

/// The events of a run's metrics file, as a JSON list.
#[pyfunction]
pub fn metrics(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let found = py.detach(|| events::read(&path)).map_err(|e| of_library(py, &e))?;
    serde_json::to_string(&found).map_err(|e| Error::new_err(e.to_string()))
}

/// What a checkpoint says, as JSON: its epoch, step, classes, size of images, mean and standard deviation, recipe and source of
/// its images; and the file of its network.
#[pyfunction]
#[pyo3(signature = (path, best=false))]
pub fn checkpoint(py: Python<'_>, path: PathBuf, best: bool) -> PyResult<(String, OsString)> {
    let trained = py.detach(|| Trained::open(&path, best)).map_err(|e| of_library(py, &e))?;
    let m = &trained.manifest;
    let told = json!({
        "epoch": m.epoch,
        "step": m.step,
        "classes": m.classes,
        "size": m.size,
        "short_side": setup::frame(&trained.recipe.data).short_side,
        "mean": m.normalise.mean,
        "std": m.normalise.std,
        "recipe": m.recipe,
        "source": trained.recipe.data.source,
        "epochs": trained.recipe.train.epochs,
    });
    Ok((told.to_string(), trained.model_file().path().into()))
}
