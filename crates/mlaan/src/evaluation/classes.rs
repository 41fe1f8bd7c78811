//! Precision, recall and F1 of every class, and their averages.

use super::confusion::Confusion;
use serde::{Deserialize, Serialize};

/// What was found of one class. Shares are percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Its name.
    pub name: String,
    /// Its images (scikit-learn's support).
    pub images: usize,
    /// Images, of any class, that were taken for it.
    pub predicted: usize,
    /// Its images that were taken for another class; none without images.
    pub error: Option<f64>,
    /// Its images among those that were taken for it. None, as all three, for a class that is not there at all.
    pub precision: Option<f64>,
    /// Those of its images that were taken for it.
    pub recall: Option<f64>,
    /// The harmonic mean of both.
    pub f1: Option<f64>,
}

/// Means over classes, percent; none where no class is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// See [`ClassScores::precision`].
    pub precision: Option<f64>,
    /// See [`ClassScores::recall`].
    pub recall: Option<f64>,
    /// See [`ClassScores::f1`].
    pub f1: Option<f64>,
}

/// `part` of `whole` in percent; 0 of nothing.
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// The scores of classes with these names and images.
pub fn scores(names: Vec<String>, images: &[usize], confusion: &Confusion) -> Vec<ClassScores> {
    let mut predicted = vec![0; names.len()];
    let mut right = vec![0; names.len()];
    for pair in confusion.pairs() {
        let (of, n) = (pair.predicted as usize, usize::try_from(pair.images).unwrap_or(usize::MAX));
        if let Some(predicted) = predicted.get_mut(of) {
            *predicted += n;
        }
        if let (true, Some(right)) = (pair.class == pair.predicted, right.get_mut(of)) {
            *right += n;
        }
    }
    let counts = images.iter().zip(predicted).zip(right);
    let one = |(name, ((&images, predicted), right)): (String, ((&usize, usize), usize))| {
        let is_there = images + predicted > 0;
        ClassScores {
            name,
            images,
            predicted,
            error: (images > 0).then(|| percent(images - right.min(images), images)),
            precision: is_there.then(|| percent(right, predicted)),
            recall: is_there.then(|| percent(right, images)),
            f1: is_there.then(|| percent(2 * right, images + predicted)),
        }
    };
    names.into_iter().zip(counts).map(one).collect()
}

/// The mean over the classes that are there, each of the weight that `weight` gives it.
pub fn average(classes: &[ClassScores], weight: impl Fn(&ClassScores) -> f64) -> Average {
    let mean = |of: fn(&ClassScores) -> Option<f64>| {
        let sums = classes.iter().filter_map(|c| of(c).map(|v| (weight(c) * v, weight(c))));
        let (sum, weights) = sums.fold((0.0, 0.0), |(a, b), (v, w)| (a + v, b + w));
        (weights > 0.0).then(|| sum / weights)
    };
    Average { precision: mean(|c| c.precision), recall: mean(|c| c.recall), f1: mean(|c| c.f1) }
}
