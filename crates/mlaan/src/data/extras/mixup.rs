//! Mixtures of two images (mixup, Zhang et al. 2018).
//!
//! The share is drawn per image, and the larger part is the image's own, as in MixMatch: so there is one label that a
//! mixture is mostly of, which errors are counted against.

use super::beta::beta;
use crate::data::Batch;
use crate::rng::{RandomStream, Rng};

/// Shares are multiples of one over this: what pixels are mixed with is what the loss is told.
const ONE: u32 = 1 << 16;

/// Bytes that are mixed at a time, through all images.
const BLOCK: usize = 4096;

/// Mixes the images of a batch, each of `image` bytes.
pub(super) fn mix(
    batch: &mut Batch,
    samples: &[usize],
    image: usize,
    alpha: f64,
    (seed, epoch): (u64, usize),
) {
    batch.shares.extend(samples.iter().map(|&sample| {
        let mut rng = Rng::new(seed, RandomStream::Mixup, epoch as u64, sample as u64);
        share(alpha, &mut rng) as f32 / ONE as f32
    }));
    blend(batch, image);
}

/// Mixes the images of a batch by its shares.
pub(super) fn blend(batch: &mut Batch, image: usize) {
    let (n, mut first) = (batch.labels.len(), [0; BLOCK]);
    for start in (0..image).step_by(BLOCK) {
        let length = BLOCK.min(image - start);
        first[..length].copy_from_slice(&batch.bytes[start..start + length]);
        for (i, &share) in batch.shares.iter().enumerate() {
            let share = (share * ONE as f32) as u32;
            let (own, rest) = batch.bytes[i * image + start..].split_at_mut(length);
            let next = if i + 1 < n { &rest[image - length..image] } else { &first[..length] };
            for (a, &b) in own.iter_mut().zip(next) {
                *a = ((u32::from(*a) * share + u32::from(b) * (ONE - share) + ONE / 2) / ONE) as u8;
            }
        }
    }
}

/// The larger share of a draw from Beta(alpha, alpha), of [`ONE`].
fn share(alpha: f64, rng: &mut Rng) -> u32 {
    let own = beta(alpha, rng);
    (own.max(1.0 - own) * f64::from(ONE)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_beta_distribution() {
        for alpha in [0.05, 0.2, 1.0, 8.0] {
            let n = 40_000;
            let (mut second, mut most) = (0.0, 0);
            for i in 0..n {
                let own = share(alpha, &mut Rng::new(5, RandomStream::Mixup, 0, i));
                assert!((ONE / 2..=ONE).contains(&own));
                let off = f64::from(own) / f64::from(ONE) - 0.5;
                second += off * off / n as f64;
                most = most.max(own);
            }
            // The variance of Beta(a, a) around its mean of 1/2.
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((second / expected - 1.0).abs() < 0.03, "{alpha}: {second} for {expected}");
            assert!(alpha > 1.0 || most == ONE, "{alpha}");
        }
        assert!(share(1e-300, &mut Rng::new(5, RandomStream::Mixup, 0, 0)) == ONE);
    }

    #[test]
    fn images_and_labels_mix_by_the_same_share() {
        // Two blocks an image, of one value each.
        let (image, n) = (BLOCK + 10, 3);
        let bytes = (0..n).flat_map(|i| vec![100 * i as u8; image]).collect();
        let mut batch = Batch { bytes, labels: vec![4, 5, 6], ..Batch::default() };
        mix(&mut batch, &[7, 8, 9], image, 1.0, (1, 2));
        for (i, mixed) in batch.bytes.chunks_exact(image).enumerate() {
            let (own, other) = (100.0 * i as f32, 100.0 * ((i + 1) % n) as f32);
            let expected = (batch.shares[i] * own + (1.0 - batch.shares[i]) * other).round() as u8;
            assert!(mixed.iter().all(|v| *v == expected), "{i}: {} for {expected}", mixed[0]);
        }
        let before = std::mem::take(&mut batch.shares);
        mix(&mut batch, &[7, 8, 9], image, 1.0, (1, 3));
        assert_ne!(before, batch.shares);
    }

    #[test]
    fn one_image_is_mixed_with_itself() {
        let mut batch = Batch { bytes: vec![9, 8, 7], labels: vec![1], ..Batch::default() };
        mix(&mut batch, &[0], 3, 0.2, (1, 2));
        assert_eq!((batch.bytes, batch.labels), (vec![9, 8, 7], vec![1]));
    }
}
