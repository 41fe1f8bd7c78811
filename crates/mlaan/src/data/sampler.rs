//! Which images an epoch shows, and in which order.
//!
//! A sample's number is that of its image, plus the number of images for each time that the epoch has shown it before: what is
//! drawn for it comes from that, so that no two samples of an epoch are changed alike.

use super::Dataset;
use crate::rng::{RandomStream, Rng};
use std::collections::BTreeMap;

/// How an epoch goes through its images.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// In a random order, else in their own.
    pub shuffle: bool,
    /// Drawn with replacement, each class as often as any other.
    pub balanced: bool,
    /// Of the run.
    pub seed: u64,
    /// From 1.
    pub epoch: usize,
}

/// The samples of an epoch, in the order they are used.
pub(super) fn samples(data: &dyn Dataset, order: Order) -> Vec<usize> {
    let Order { shuffle, balanced: is_balanced, seed, epoch } = order;
    let epoch = epoch as u64;
    if shuffle && is_balanced {
        return balanced(data, &mut Rng::new(seed, RandomStream::Sample, epoch, 0));
    }
    let mut order: Vec<usize> = (0..data.len()).collect();
    if shuffle {
        Rng::new(seed, RandomStream::Shuffle, epoch, 0).shuffle(&mut order);
    }
    order
}

/// As many draws as there are images, with replacement, each class as likely as any other that has images, and each image of
/// a class as any other: torch's `WeightedRandomSampler` with weights of one over the class's images.
fn balanced(data: &dyn Dataset, rng: &mut Rng) -> Vec<usize> {
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    (0..data.len()).for_each(|index| classes.entry(data.label(index)).or_default().push(index));
    let classes: Vec<Vec<usize>> = classes.into_values().collect();
    let mut shown = vec![0; data.len()];
    let draw = |_| {
        let images = &classes[rng.below(classes.len())];
        let index = images[rng.below(images.len())];
        let sample = index + shown[index] * data.len();
        shown[index] += 1;
        sample
    };
    (0..data.len()).map(draw).collect()
}

/// The image of a sample.
pub(super) fn image(sample: usize, data: &dyn Dataset) -> usize {
    sample % data.len().max(1)
}
