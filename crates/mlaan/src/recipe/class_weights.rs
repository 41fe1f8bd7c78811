//! `train.class_weights`: by what each class counts in cross-entropies.

use serde::{Deserialize, Serialize};

/// By what the classes count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// By a rule.
    Rule(ClassRule),
    /// One number per class, in the order of the data set's classes.
    Each(Vec<f64>),
}

/// A rule that gives the classes their weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassRule {
    /// n / (k · n_c) of n training images, n_c of them of class c, and k classes (scikit-learn's `balanced`): every class
    /// counts alike, however many images it has.
    Balanced,
}
