//! Classes of images in arrays.

use crate::buffer::Pixels;
use crate::errors::{DataError, of_library, raised};
use crate::running::Running;
use mlaan::data::ImageView;
use mlaan::predict::Predictor as Network;
use mlaan::train::Trained;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A trained network that classifies. Its threads are given back with it.
#[pyclass(frozen, module = "mlaan._core")]
pub struct Predictor {
    network: Mutex<Network>,
    classes: Vec<String>,
    /// It computes, so to say, as long as it is there: its threads do not survive a fork.
    _running: Running,
}

#[pymethods]
impl Predictor {
    #[new]
    #[pyo3(signature = (path, *, best=false, device="cpu", threads=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        best: bool,
        device: &str,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let running = Running::begin()?;
        let device = py.detach(|| mlaan_cli::device(device, threads)).map_err(|e| raised(py, &e))?;
        let made = py.detach(|| {
            let trained = Trained::open(&path, best)?;
            Network::new(&trained, &device.with_precision(trained.recipe.train.precision.into()))
        });
        let network = made.map_err(|e| of_library(py, &e))?;
        let classes = network.classes().to_vec();
        Ok(Predictor { network: Mutex::new(network), classes, _running: running })
    }

    /// Names of the classes.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    /// Writes the probabilities of images, uint8 `[n, height, width, 3]`, or their logits, into `out`, float32 `[n, classes]`,
    /// `batch` at a time.
    #[pyo3(signature = (images, out, *, batch, logits=false))]
    fn classify(
        &self,
        py: Python<'_>,
        images: &Bound<'_, PyAny>,
        out: &Bound<'_, PyAny>,
        batch: usize,
        logits: bool,
    ) -> PyResult<()> {
        let (pixels, out) = (Pixels::of(images)?, PyBuffer::<f32>::get(out)?);
        let [n, height, width] = pixels.shape;
        let mut found: Vec<f32> = Vec::with_capacity(n * self.classes.len());
        let all: Vec<usize> = (0..n).collect();
        for part in all.chunks(batch.max(1)) {
            let images: Option<Vec<ImageView<'_>>> =
                part.iter().map(|&i| Some(ImageView { height, width, rgb: pixels.image(i)? })).collect();
            let images =
                images.ok_or_else(|| DataError::new_err("the array has fewer images than its shape says"))?;
            let classify = || {
                let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
                if logits { network.logits(&images) } else { network.probabilities(&images) }
            };
            let rows = py.detach(classify).map_err(|e| of_library(py, &e))?;
            found.extend(rows.into_iter().flatten());
            py.check_signals()?;
        }
        out.copy_from_slice(py, &found)
    }
}
