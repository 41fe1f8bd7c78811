//! Mixtures of two images, with two labels: Mixup, CutMix, or one of both for each batch.
//!
//! Every image is mixed with the next one of its batch, the last with the first; shuffling makes that a random one.

use super::{Extras, cutmix, mixup};
use crate::data::Batch;
use crate::rng::{RandomStream, Rng};

/// How often a batch is CutMix where both are wanted: timm's `mixup_switch_prob`.
const SWITCH: f64 = 0.5;

/// Mixes the images of a batch, of `size x size` pixels, where mixtures are wanted. What is drawn comes from the numbers of
/// the `samples`.
pub(in crate::data) fn mix(
    batch: &mut Batch,
    samples: &[usize],
    size: usize,
    extras: &Extras,
    run: (u64, usize),
) {
    let n = batch.labels.len();
    batch.other.clear();
    batch.shares.clear();
    if !extras.mixes() || n == 0 {
        return;
    }
    batch.other.extend((0..n).map(|i| batch.labels[(i + 1) % n]));
    match (extras.mixup, extras.cutmix) {
        (Some(_), Some(alpha)) if is_cutmix(samples, run) => cutmix::mix(batch, samples, size, alpha, run),
        (Some(alpha), _) => mixup::mix(batch, samples, size * size * 3, alpha, run),
        (None, Some(alpha)) => cutmix::mix(batch, samples, size, alpha, run),
        (None, None) => {}
    }
}

/// Of a batch that could be both; batches are told apart by their first sample, so that it does not matter where an epoch
/// began.
fn is_cutmix(samples: &[usize], (seed, epoch): (u64, usize)) -> bool {
    let first = samples.first().copied().unwrap_or_default();
    Rng::new(seed, RandomStream::MixSwitch, epoch as u64, first as u64).uniform() < SWITCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_batch_takes_one_of_both() {
        let both = Extras { mixup: Some(1.0), cutmix: Some(1.0), ..Extras::default() };
        let (n, size) = (2000, 4);
        let mut cut = 0;
        for epoch in 0..n {
            let mut batch =
                Batch { bytes: [[0; 48], [240; 48]].concat(), labels: vec![0, 1], ..Batch::default() };
            mix(&mut batch, &[5, 6], size, &both, (3, epoch));
            assert_eq!((batch.other.len(), batch.shares.len()), (2, 2));
            let again = |extras: Extras| {
                let bytes = [[0; 48], [240; 48]].concat();
                let labels = vec![0, 1];
                let mut batch = Batch { bytes, labels, ..Batch::default() };
                mix(&mut batch, &[5, 6], size, &extras, (3, epoch));
                (batch.bytes, batch.labels, batch.other, batch.shares)
            };
            let is_cut = is_cutmix(&[5, 6], (3, epoch));
            let alone = if is_cut { Extras { mixup: None, ..both } } else { Extras { cutmix: None, ..both } };
            assert_eq!(again(alone), (batch.bytes, batch.labels, batch.other, batch.shares));
            cut += usize::from(is_cut);
        }
        assert!((cut as f64 / n as f64 - 0.5).abs() < 0.04, "{cut}");
    }

    #[test]
    fn without_mixtures_batches_stay_as_they_are() {
        let mut batch = Batch { bytes: vec![9; 24], labels: vec![1, 2], ..Batch::default() };
        mix(&mut batch, &[0, 1], 2, &Extras::default(), (1, 2));
        assert_eq!((batch.bytes, batch.labels), (vec![9; 24], vec![1, 2]));
        assert!(batch.other.is_empty() && batch.shares.is_empty());
    }
}
