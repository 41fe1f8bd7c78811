//! Images with a rectangle of another one (CutMix, Yun et al. 2019), as torchvision's `CutMix` cuts it.
//!
//! A box is drawn per image. The label counted first is that of the image that most of the pixels are of, as in Mixup:
//! errors are counted against it, and the loss weighs both labels either way.

use super::beta::beta;
use crate::data::Batch;
use crate::data::resize::Region;
use crate::rng::{RandomStream, Rng};

/// Mixes the images of a batch, of `size x size` pixels; `other` holds the labels of their partners.
pub(super) fn mix(
    batch: &mut Batch,
    samples: &[usize],
    size: usize,
    alpha: f64,
    (seed, epoch): (u64, usize),
) {
    let hole = |sample: usize| {
        let mut rng = Rng::new(seed, RandomStream::Cutmix, epoch as u64, sample as u64);
        region(size, beta(alpha, &mut rng), &mut rng)
    };
    cut(batch, size, samples.iter().map(|&sample| hole(sample)));
}

/// Gives every image the part of the next one that lies in its hole.
pub(super) fn cut(batch: &mut Batch, size: usize, holes: impl Iterator<Item = Region>) {
    let (n, image) = (batch.labels.len(), size * size * 3);
    // The last image takes a part of the first, which is changed by then.
    let first = batch.bytes[..image].to_vec();
    for (i, hole) in holes.enumerate() {
        let (own, rest) = batch.bytes[i * image..].split_at_mut(image);
        paste(own, if i + 1 < n { &rest[..image] } else { &first }, size, hole);
        let pasted = (hole.height * hole.width) as f64 / (size * size) as f64;
        if pasted > 0.5 {
            std::mem::swap(&mut batch.labels[i], &mut batch.other[i]);
        }
        batch.shares.push(pasted.max(1.0 - pasted) as f32);
    }
}

/// torchvision's box for an image that keeps `share` of its area: around a random pixel, cut off at the edges.
fn region(size: usize, share: f64, rng: &mut Rng) -> Region {
    let half = (0.5 * (1.0 - share).max(0.0).sqrt() * size as f64) as usize;
    let mut span = || {
        let centre = rng.below(size);
        (centre.saturating_sub(half), (centre + half).min(size))
    };
    let ((left, right), (top, bottom)) = (span(), span());
    Region { top, left, height: bottom - top, width: right - left }
}

/// Copies a rectangle of one image of `size x size` pixels into another.
fn paste(into: &mut [u8], from: &[u8], size: usize, hole: Region) {
    let (start, end) = (hole.left * 3, (hole.left + hole.width) * 3);
    let rows = into.chunks_exact_mut(size * 3).zip(from.chunks_exact(size * 3));
    for (into, from) in rows.skip(hole.top).take(hole.height) {
        into[start..end].copy_from_slice(&from[start..end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one value each, and its label.
    fn batch(n: usize, size: usize) -> Batch {
        let bytes = (0..n).flat_map(|i| vec![i as u8; size * size * 3]).collect();
        let labels: Vec<u32> = (0..n as u32).collect();
        let other = (0..n as u32).map(|i| (i + 1) % n as u32).collect();
        Batch { bytes, labels, other, ..Batch::default() }
    }

    #[test]
    fn shares_are_those_of_the_pixels() {
        let (n, size) = (200, 9);
        let mut batch = batch(n, size);
        mix(&mut batch, &(0..n).collect::<Vec<_>>(), size, 1.0, (1, 2));
        let mut swapped = 0;
        for (i, image) in batch.bytes.chunks_exact(size * size * 3).enumerate() {
            let count = |label: u32| image.iter().filter(|v| u32::from(**v) == label).count();
            let (own, other) = (batch.labels[i], batch.other[i]);
            assert_eq!(count(own) + count(other), image.len(), "{i}");
            assert_eq!(count(own) as f32 / image.len() as f32, batch.shares[i], "{i}");
            assert!((0.5..=1.0).contains(&batch.shares[i]));
            let pair = [i as u32, (i as u32 + 1) % n as u32];
            assert!([own, other] == pair || [other, own] == pair);
            swapped += usize::from(own != i as u32);
        }
        // A box of more than half: (1 - share) above about 0.5 and not cut off.
        assert!((10..80).contains(&swapped), "{swapped}");
    }

    #[test]
    fn boxes_are_as_large_as_torchvisions() {
        // 400,000 draws by the rule of torchvision's CutMix.make_params for 32x32: mean and variance of the adjusted share.
        for (alpha, expected) in TORCHVISION {
            let n = 40_000;
            let shares: Vec<f64> = (0..n)
                .map(|i| {
                    let mut rng = Rng::new(5, RandomStream::Cutmix, 0, i);
                    let hole = region(32, beta(alpha, &mut rng), &mut rng);
                    assert!(hole.top + hole.height <= 32 && hole.left + hole.width <= 32);
                    1.0 - (hole.height * hole.width) as f64 / 1024.0
                })
                .collect();
            let mean = shares.iter().sum::<f64>() / n as f64;
            let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n as f64;
            assert!((mean - expected[0]).abs() < 0.006, "{alpha}: {mean}");
            assert!((variance - expected[1]).abs() < 0.003, "{alpha}: {variance}");
        }
    }

    const TORCHVISION: [(f64, [f64; 2]); 2] = [(1.0, [0.7011, 0.0334]), (0.2, [0.7239, 0.0597])];

    #[test]
    fn boxes_are_cut_off_at_the_edges() {
        for i in 0..1000 {
            let mut rng = Rng::new(1, RandomStream::Cutmix, 0, i);
            // int(0.5 * sqrt(1 - 0.75) * 8) = 2 pixels to each side.
            let hole = region(8, 0.75, &mut rng);
            assert!((2..=4).contains(&hole.height) && (2..=4).contains(&hole.width), "{hole:?}");
            assert_eq!(region(8, 1.0, &mut rng).height, 0);
        }
    }

    #[test]
    fn one_image_is_mixed_with_itself() {
        let mut batch = batch(1, 4);
        mix(&mut batch, &[0], 4, 1.0, (1, 2));
        assert_eq!((batch.bytes, batch.labels, batch.other), (vec![0; 48], vec![0], vec![0]));
    }
}
