//! What an evaluation found.

use super::calibration::Bin;
use super::classes::{Average, ClassScores};
use super::confusion::Confusion;
use super::mistakes::Mistake;
use serde::{Deserialize, Serialize};

/// What an evaluation found; [the module](super) says how each number is defined. Shares are percent. As JSON, numbers that
/// are not finite are `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Images.
    pub images: usize,
    /// Right first guesses.
    #[serde(deserialize_with = "crate::numbers::number")]
    pub accuracy: f64,
    /// Wrong first guesses.
    #[serde(deserialize_with = "crate::numbers::number")]
    pub error: f64,
    /// Images whose class is among the five best guesses; only with more than five classes.
    pub top5_accuracy: Option<f64>,
    /// The others.
    pub top5_error: Option<f64>,
    /// Mean cross-entropy.
    #[serde(deserialize_with = "crate::numbers::number")]
    pub loss: f64,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Images for which a logit is no number: counted as wrong.
    pub undefined: usize,
    /// Plain means over the classes.
    pub macro_average: Average,
    /// Means over the classes by their images.
    pub weighted_average: Average,
    /// Every class, in the order of the classifier's outputs.
    pub classes: Vec<ClassScores>,
    /// Which classes are taken for which.
    pub confusion: Confusion,
    /// What the calibration error is made of.
    pub calibration: Vec<Bin>,
    /// Mistakes with the highest loss, as many as were asked for.
    pub mistakes: Vec<Mistake>,
}

impl Evaluation {
    /// Names of the classes, and their images.
    pub fn names(&self) -> (Vec<String>, Vec<usize>) {
        self.classes.iter().map(|c| (c.name.clone(), c.images)).unzip()
    }
}
