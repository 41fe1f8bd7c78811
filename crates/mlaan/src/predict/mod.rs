//! Classes of new images, by a trained network.
//!
//! ```no_run
//! use mlaan::{Device, predict::{Predictor, top}};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> mlaan::Result<()> {
//! let mut predictor = Predictor::load("runs/mine".as_ref(), &Device::cpu(None)?)?;
//! predictor.files(vec!["cat.jpg".into()], 32, &mut |image| {
//!     if let Ok(probabilities) = image.probabilities {
//!         for (class, p) in top(probabilities, 3) {
//!             println!("{}: class {class}, {p:.3}", image.path.display());
//!         }
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! # Ok(())
//! # }
//! ```

mod files;

pub use files::find;

use crate::data::BatchSource;
use crate::data::{Batch, Frame, ImageView, Loader, LoaderOptions, LoaderPool, Orientation};
use crate::local::Learner;
use crate::plan::Needs;
use crate::train::{Trained, setup};
use crate::{Error, Result};
use files::Files;
use mlaan_engine::Device;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A trained network that is ready to classify: BatchNorm taken into the convolutions, images prepared as in evaluation.
pub struct Predictor {
    network: Learner,
    classes: Vec<String>,
    frame: Frame,
    orientation: Orientation,
    pool: LoaderPool,
}

/// What was found of one file.
#[derive(Clone, Debug)]
pub struct Classified<'a> {
    /// The file.
    pub path: &'a Path,
    /// The probability of every class, or why the file is no image.
    pub probabilities: std::result::Result<&'a [f32], String>,
    /// Whether the image has an EXIF orientation that was ignored, as it was in training: it may lie on its side.
    pub orientation_ignored: bool,
}

impl Predictor {
    /// The last checkpoint of a run's folder, or the one whose manifest `path` is.
    ///
    /// # Errors
    /// A checkpoint that cannot be used; out of memory.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::new(&Trained::open(path, false)?, device)
    }

    /// An opened checkpoint, with activations in the device's precision.
    ///
    /// # Errors
    /// As [`Predictor::load`].
    pub fn new(trained: &Trained, device: &Device) -> Result<Self> {
        let mut network = trained.network(device)?;
        network.fuse()?;
        Ok(Predictor {
            network,
            classes: trained.manifest.classes.clone(),
            frame: setup::frame(&trained.recipe.data),
            orientation: trained.recipe.data.orientation.into(),
            // Files are decoded when their turn comes: that takes all cores.
            pool: LoaderPool::new(device.threads(), LoaderPool::AHEAD)?,
        })
    }

    /// What it needs to classify `paths`, `batch` at a time, on a device of this kind with so many threads; the sizes of a
    /// few of the files are looked at.
    ///
    /// # Errors
    /// As [`Trained::plan`].
    pub fn plan(trained: &Trained, device: &Device, paths: &[PathBuf], batch: usize) -> Result<Needs> {
        let (size, images) = (trained.manifest.size, paths.len().max(1));
        let batch = batch.clamp(1, images);
        let work = device.threads().min(images) * files::work_bytes(paths);
        let data = LoaderPool::bytes(LoaderPool::AHEAD, batch, size, false) + work;
        trained.plan(device.kind(), (batch, images), data, true)
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Side of the images that the network sees, pixels.
    pub fn size(&self) -> usize {
        self.frame.size
    }

    /// The probability of every class, image by image, all in one batch.
    ///
    /// # Errors
    /// Out of memory; an image whose bytes are not `height * width * 3`, above 0.
    pub fn probabilities(&mut self, images: &[ImageView<'_>]) -> Result<Vec<Vec<f32>>> {
        let mut rows = self.logits(images)?;
        rows.iter_mut().for_each(|row| softmax(row));
        Ok(rows)
    }

    /// The logit of every class, likewise.
    ///
    /// # Errors
    /// As [`Predictor::probabilities`].
    pub fn logits(&mut self, images: &[ImageView<'_>]) -> Result<Vec<Vec<f32>>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch { labels: vec![0; images.len()], ..Batch::default() };
        for (index, image) in images.iter().enumerate() {
            let bytes = image.height.checked_mul(image.width).and_then(|n| n.checked_mul(3));
            if image.rgb.is_empty() || bytes != Some(image.rgb.len()) {
                let (w, h, n) = (image.width, image.height, image.rgb.len());
                let message = format!("{w}x{h} RGB with {n} bytes: they must be height * width * 3, above 0");
                return Err(Error::data(format!("image {index}"), message));
            }
            batch.bytes.extend(self.frame.of(*image));
        }
        let classes = self.classes.len();
        Ok(self.forward(&batch)?.chunks_exact(classes).map(<[f32]>::to_vec).collect())
    }

    /// Classifies files in their order, in batches of `batch`, and tells `each` as soon as a batch is done. Files are read
    /// and decoded beside the computation. A file that is no image is told as well and stops nothing; `each` may stop it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn files(
        &mut self,
        paths: Vec<PathBuf>,
        batch: usize,
        each: &mut dyn FnMut(Classified<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let files =
            Arc::new(Files::new(paths, self.classes.clone(), self.frame.short_side, self.orientation));
        let options = LoaderOptions::evaluation(batch.max(1), self.frame);
        let mut loader = Loader::new(files.clone(), &self.pool, options)?;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            let found = self.classify(&batch)?;
            for (row, &index) in found.chunks_exact(self.classes.len()).zip(&batch.indices) {
                let probabilities = files.failure(index).map_or(Ok(row), Err);
                let (path, orientation_ignored) = (files.path(index), files.ignored(index));
                if each(Classified { path, probabilities, orientation_ignored }).is_break() {
                    return Ok(());
                }
            }
            loader.recycle(batch);
        }
        Ok(())
    }

    /// Probabilities `[n, classes]` of a batch.
    fn classify(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        let mut values = self.forward(batch)?;
        values.chunks_exact_mut(self.classes.len()).for_each(softmax);
        Ok(values)
    }

    /// Logits `[n, classes]` of a batch.
    fn forward(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        let (device, task) = (self.network.device().clone(), self.network.task());
        let input =
            BatchSource::Host.to_device(&device, Some(batch), batch.len(), self.frame.size, task.pixels)?;
        // Where the device's threads are: a small batch would wait for them at every layer.
        let network = &mut self.network;
        let values = device.scope(|| network.infer(input.images)).unwrap_or_else(|| Ok(Vec::new()))?;
        if values.iter().any(|v| !v.is_finite()) {
            let message =
                "what it computes are no finite numbers: it diverged in training; use another checkpoint";
            return Err(Error::data("the network", message));
        }
        Ok(values)
    }
}

/// Logits into probabilities.
fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = row.iter().map(|x| f64::from(x - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    for (x, weight) in row.iter_mut().zip(weights) {
        *x = (weight / sum) as f32;
    }
}

/// The `count` most probable classes with their probabilities, the most probable first; of equals the first.
pub fn top(probabilities: &[f32], count: usize) -> Vec<(usize, f32)> {
    let mut ranked: Vec<(usize, f32)> = probabilities.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(count);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_to_one_however_large_logits_are() {
        let mut row = [1000.0, 1001.0, -1000.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((row[1] / row[0] - std::f32::consts::E).abs() < 1e-4 && row[2] == 0.0);
    }

    #[test]
    fn the_most_probable_come_first() {
        assert_eq!(top(&[0.2, 0.5, 0.2, 0.1], 3), [(1, 0.5), (0, 0.2), (2, 0.2)]);
        assert_eq!(top(&[1.0], 5), [(0, 1.0)]);
    }
}
