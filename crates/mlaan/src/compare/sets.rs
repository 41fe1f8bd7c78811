//! The data sets of the paper (METHOD §8): what a suite may ask for, known without the images.

use crate::{Error, Result};

/// A data set that suites name.
#[derive(Debug, PartialEq, Eq)]
pub struct KnownSet {
    /// As suites and `--data NAME=PATH` write it.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Classes.
    pub classes: usize,
    /// What a recipe sets for its images, as `--set` takes it.
    pub keys: &'static [&'static str],
}

/// Every set that is known.
pub const SETS: &[KnownSet] = &[
    KnownSet {
        name: "cifar10",
        title: "CIFAR-10",
        train: 50_000,
        test: 10_000,
        classes: 10,
        keys: &["data.size=32"],
    },
    KnownSet {
        name: "svhn",
        title: "SVHN",
        train: 73_257,
        test: 26_032,
        classes: 10,
        keys: &["data.size=32", "data.augment=svhn", "data.normalise=svhn"],
    },
    KnownSet {
        name: "stl10",
        title: "STL-10",
        train: 5_000,
        test: 8_000,
        classes: 10,
        keys: &["data.size=96", "data.augment=stl10", "data.normalise=stl10"],
    },
    KnownSet {
        name: "imagenet",
        title: "ImageNet",
        train: 1_281_167,
        test: 50_000,
        classes: 1000,
        keys: &["data.size=224", "data.augment=imagenet", "data.normalise=imagenet"],
    },
];

impl KnownSet {
    /// The set of this name.
    ///
    /// # Errors
    /// [`Error::Data`] with the names that there are.
    pub fn find(name: &str) -> Result<&'static KnownSet> {
        let names: Vec<&str> = SETS.iter().map(|s| s.name).collect();
        let unknown =
            || Error::data(name, format!("no data set of this name; known are {}", names.join(", ")));
        SETS.iter().find(|s| s.name == name).ok_or_else(unknown)
    }

    /// Training and test images that a limited run uses.
    pub fn images(&self, limit: Option<usize>) -> [usize; 2] {
        [self.train, self.test].map(|n| limit.map_or(n, |most| n.min(most)))
    }
}
