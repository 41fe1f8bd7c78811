//! What a classifier's answers to labelled images are worth, from its logits alone.
//!
//! A [`Meter`] takes the logits of one image after the other and becomes an [`Evaluation`]. Everything is counted, or summed in
//! 64 bits in the order of the images, so no number depends on threads or on the size of batches. All shares are percent.
//!
//! - **Accuracy**: images whose class has the largest logit; of equal ones the first is the guess, as in `argmax`. The error is
//!   the rest. **Top-5 accuracy**: images whose class is among the five largest; only with more than five classes.
//! - **Loss**: cross-entropy, the mean of `-ln softmax(logits)[class]`.
//! - **Precision** of a class: those of its images among the images that were taken for it. **Recall**: those of its images that
//!   were taken for it. **F1**: their harmonic mean. Where there is nothing to divide by they are 0, as `zero_division=0` of
//!   scikit-learn has it; a class that has no image and that no image was taken for has none of them.
//! - **Averages** are over the classes that have an image or that an image was taken for: the plain (macro) mean, and the mean
//!   weighted by the classes' images, as in scikit-learn's `classification_report`.
//! - **Calibration error** (Guo et al., ICML 2017): images in 15 bins of equal width by confidence, the largest softmax; the mean
//!   over the images of how far their bin's mean confidence is from its accuracy.
//! - **Logits that are no numbers**: an image with a NaN among its logits is wrong, taken for no class, and counted as undefined.
//!   Where an image has no softmax (a NaN, an infinite largest logit), loss and calibration error have no value either.

mod calibration;
mod classes;
mod confusion;
mod file;
mod found;
mod guess;
mod meter;
mod mistakes;

pub use calibration::{BINS, Bin};
pub use classes::{Average, ClassScores};
pub use confusion::{Confusion, Pair};
pub use file::{EVALUATION, Evaluated};
pub use found::Evaluation;
pub use guess::{Guess, rank};
pub use meter::Meter;
pub use mistakes::Mistake;

/// Mistakes that a run keeps.
pub const KEPT_MISTAKES: usize = 20;

#[cfg(test)]
mod tests;
