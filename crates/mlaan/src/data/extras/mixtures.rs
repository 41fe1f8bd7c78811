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
    partners(batch);
    match (extras.mixup, extras.cutmix) {
        (Some(_), Some(alpha)) if is_cutmix(samples, run) => cutmix::mix(batch, samples, size, alpha, run),
        (Some(alpha), _) => mixup::mix(batch, samples, size * size * 3, alpha, run),
        (None, Some(alpha)) => cutmix::mix(batch, samples, size, alpha, run),
        (None, None) => {}
    }
}

/// The label of every image's partner, which is the next one.
fn partners(batch: &mut Batch) {
    let n = batch.labels.len();
    batch.other.extend((0..n).map(|i| batch.labels[(i + 1) % n]));
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
    use crate::data::resize::Region;

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

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mixtures/mixtures.safetensors");

    /// A tensor of the golden file, its values of `N` bytes each.
    fn golden<T, const N: usize>(name: &str, value: impl Fn([u8; N]) -> T) -> Vec<T> {
        let bytes = std::fs::read(GOLDEN).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(N).map(|v| value(v.try_into().unwrap())).collect()
    }

    /// Images and targets as torchvision's transforms make them of the same images, partners, shares and boxes
    /// (`tests/mixtures/oracle.py`). What PyTorch's loss is of these targets is in `tests/training/extras.rs`.
    #[test]
    fn mixtures_are_torchvisions() {
        let (n, size, classes) = (12, 8, 5);
        let begin = || {
            let bytes = golden("images", |[v]: [u8; 1]| v);
            let labels = golden("labels", |v| i64::from_le_bytes(v) as u32);
            let mut batch = Batch { bytes, labels, ..Batch::default() };
            partners(&mut batch);
            batch
        };
        let mut mixed = begin();
        mixed.shares = golden("mixup/shares", |v| i32::from_le_bytes(v) as f32 / 65536.0);
        mixup::blend(&mut mixed, size * size * 3);
        let mut cut = begin();
        let boxes = golden("cutmix/boxes", |v| i32::from_le_bytes(v) as usize);
        let holes = boxes.chunks_exact(4).map(|b| Region {
            left: b[0],
            top: b[1],
            width: b[2] - b[0],
            height: b[3] - b[1],
        });
        cutmix::cut(&mut cut, size, holes);
        for (name, batch) in [("mixup", mixed), ("cutmix", cut)] {
            assert_eq!(batch.bytes, golden(&format!("{name}/images"), |[v]: [u8; 1]| v), "{name}");
            let mut targets = vec![0f32; n * classes];
            for i in 0..n {
                targets[i * classes + batch.labels[i] as usize] += batch.shares[i];
                targets[i * classes + batch.other[i] as usize] += 1.0 - batch.shares[i];
            }
            let expected = golden(&format!("{name}/targets"), f32::from_le_bytes);
            let off = targets.iter().zip(&expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(off < 1e-6 && targets.len() == expected.len(), "{name}: {off}");
        }
    }
}
