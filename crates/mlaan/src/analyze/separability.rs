//! Linear separability: how well a linear classifier reads the classes from a network's frozen features at each place.
//!
//! Protocol: features of all training and test images with running statistics and without augmentation, averaged over
//! the image (or over each cell of a grid, as PyTorch's adaptive pooling), standardised with the training images' mean and
//! deviation; multinomial logistic regression with an L2 penalty, solved until its gradient vanishes
//! ([`super::logistic`]). A place's error is that of this classifier on the test images.

use super::logistic::{self, Rows};
use super::subject::workers;
use super::{Place, Seen, Subject};
use crate::data::Splits;
use crate::{Error, Result};
use mlaan_engine::ops::Operand;
use mlaan_engine::{Device, DeviceKind, MemoryCategory};
use serde::{Deserialize, Serialize};

/// Bytes of features held at a time; places that do not fit wait for another pass over the images.
const AT_ONCE: usize = 1 << 30;

/// How features are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Side of the grid of averages: 1 is the global average.
    pub grid: usize,
    /// Inverse strength of the penalty, as scikit-learn defines C.
    pub c: f64,
    /// Only where modules end, instead of everywhere.
    pub ends_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { grid: 1, c: 1.0, ends_only: false }
    }
}

/// A network's separability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Separability {
    /// Side of the grid of averages.
    pub grid: usize,
    /// Inverse strength of the penalty.
    pub c: f64,
    /// Training images.
    pub train_images: usize,
    /// Test images.
    pub test_images: usize,
    /// Per place, in order.
    pub places: Vec<Separation>,
}

/// The classifier at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Separation {
    /// Where.
    #[serde(flatten)]
    pub at: Place,
    /// Features that it reads.
    pub features: usize,
    /// Mean cross-entropy of the training images plus the penalty, which is least.
    pub loss: f64,
    /// Training images classified wrongly, percent.
    pub train_error: f64,
    /// Test images classified wrongly, percent.
    pub test_error: f64,
    /// Iterations of the solver.
    pub iterations: usize,
    /// Whether the gradient vanished.
    pub converged: bool,
}

/// Pooled features of one split.
struct Table {
    labels: Vec<u32>,
    /// Per place, row by row.
    places: Vec<Vec<f32>>,
}

impl Table {
    /// Features of place number `i`, of `width` each.
    fn rows(&self, i: usize, width: usize) -> Rows<'_> {
        Rows { width, values: &self.places[i], labels: &self.labels }
    }
}

/// Tells the accountant of memory held beside the device's own, for as long as it lives.
struct Held<'a>(&'a Device, isize);

impl<'a> Held<'a> {
    fn new(device: &'a Device, bytes: usize) -> Self {
        // Beside a GPU, this lies in the process.
        let bytes =
            if device.kind() == DeviceKind::Cuda { 0 } else { isize::try_from(bytes).unwrap_or(isize::MAX) };
        device.pool().count(MemoryCategory::Data, bytes);
        Held(device, bytes)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.pool().count(MemoryCategory::Data, -self.1);
    }
}

/// Fits a linear classifier at every place. `tell` is told each result as it comes.
///
/// # Errors
/// From the data, the device or the memory.
pub fn separability(
    subject: &mut Subject,
    splits: &Splits,
    seen: &Seen<'_>,
    options: Options,
    tell: &mut dyn FnMut(&Separation),
) -> Result<Separability> {
    let Options { grid, c, ends_only } = options;
    if grid == 0 || !(c > 0.0 && c.is_finite()) {
        let message = format!("a grid of {grid} and C = {c}: both must be above 0");
        return Err(Error::data("separability", message));
    }
    // The set's own classes are told apart, all of which the network was trained for.
    for data in [&splits.train, &splits.test] {
        subject.matched(data)?;
    }
    let classes = splits.train.classes().len();
    let device = subject.learner.device().clone();
    let threads = workers(&device)?;
    let images = splits.train.len() + splits.test.len();
    let bytes = |p: &Place| feature_bytes(p, grid, images);
    let wanted = if ends_only { subject.ends() } else { subject.places.clone() };
    let mut found = Vec::with_capacity(wanted.len());
    for group in groups(&wanted, bytes) {
        let _held = Held::new(&device, group.iter().map(bytes).sum());
        let train = table(subject, &seen.of(&splits.train), group, grid)?;
        let test = table(subject, &seen.of(&splits.test), group, grid)?;
        for (i, at) in group.iter().enumerate() {
            let width = at.channels * grid * grid;
            let [train, test] = [train.rows(i, width), test.rows(i, width)];
            let one = threads.install(|| separation(at, train, test, classes, c));
            tell(&one);
            found.push(one);
        }
    }
    let (train_images, test_images) = (splits.train.len(), splits.test.len());
    Ok(Separability { grid, c, train_images, test_images, places: found })
}

fn separation(at: &Place, train: Rows<'_>, test: Rows<'_>, classes: usize, c: f64) -> Separation {
    let fit = logistic::fit(train, classes, c);
    let error = |rows: Rows<'_>| 100.0 * fit.wrong(rows) as f64 / rows.labels.len().max(1) as f64;
    Separation {
        at: at.clone(),
        features: train.width,
        loss: fit.loss,
        train_error: error(train),
        test_error: error(test),
        iterations: fit.iterations,
        converged: fit.converged,
    }
}

/// Bytes of the features of so many images at a place.
pub(super) fn feature_bytes(place: &Place, grid: usize, images: usize) -> usize {
    place.channels * grid * grid * images * size_of::<f32>()
}

/// Runs of places whose features fit into memory together; at least one in each.
pub(super) fn groups(places: &[Place], bytes: impl Fn(&Place) -> usize) -> Vec<&[Place]> {
    let (mut groups, mut start, mut held) = (Vec::new(), 0, 0);
    for (i, place) in places.iter().enumerate() {
        if i > start && held + bytes(place) > AT_ONCE {
            groups.push(&places[start..i]);
            (start, held) = (i, 0);
        }
        held += bytes(place);
    }
    if start < places.len() {
        groups.push(&places[start..]);
    }
    groups
}

/// Features of all images of a split at some places.
fn table(subject: &mut Subject, seen: &Seen<'_>, at: &[Place], grid: usize) -> Result<Table> {
    let images = seen.data.len();
    let mut table = Table { labels: Vec::with_capacity(images), places: Vec::new() };
    for place in at {
        let (mut values, n) = (Vec::new(), place.channels * grid * grid * images);
        values.try_reserve_exact(n).map_err(|_| {
            let message =
                format!("{} MiB of features do not fit in memory: use fewer images (`--limit`)", n >> 18);
            Error::data("separability", message)
        })?;
        table.places.push(values);
    }
    let device = subject.learner.device().clone();
    seen.each(subject.frame(), false, &mut |batch| {
        table.labels.extend_from_slice(&batch.labels);
        let images = subject.to_device(batch)?;
        subject.learner.infer_seen(images, &mut |place, x| {
            if let Some(i) = at.iter().position(|p| p.place == place) {
                let pooled = device.average_pool(&Operand::plain(x), grid, grid)?;
                table.places[i].extend(device.download(&pooled)?);
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_wait_until_there_is_room() {
        let place = |place| Place { place, name: String::new(), channels: 1, module: 0, module_end: false };
        let all: Vec<Place> = (0..5).map(place).collect();
        let sizes = |bytes: usize| groups(&all, |_| bytes).iter().map(|g| g.len()).collect::<Vec<_>>();
        assert_eq!(sizes(1), [5]);
        assert_eq!(sizes(AT_ONCE / 2), [2, 2, 1]);
        assert_eq!(sizes(2 * AT_ONCE), [1; 5]);
        assert!(groups(&[], |_| 1).is_empty());
    }
}
