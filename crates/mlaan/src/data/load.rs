//! Where the images of a set live: decoded in memory, or on disk, read when they are needed.
//!
//! Which of the two changes what random crops see, so it must not depend on the machine: `auto` goes by the number of
//! images and the size of a fixed few of them alone, and a run keeps what was chosen.

use std::sync::Arc;

use super::collect::decode_all;
use super::decode::{extent, work_bytes};
use super::formats::Pair;
use super::limit::choose;
use super::spool::Spool;
use super::spread::spread;
use super::stored::{Content, Images, ReadAt, Stored};
use super::streamed::Streamed;
use super::{Dataset, Load, OpenOptions};
use crate::Result;
use crate::memory::limit::Limits;

/// Both splits, and how many images were skipped.
pub(super) struct Loaded {
    pub train: Arc<dyn Dataset>,
    pub test: Arc<dyn Dataset>,
    pub skipped: usize,
}

/// Both splits as the options say.
///
/// # Errors
/// A broken image, unless they are skipped; a split without images; out of memory, or of room for a [`Spool`].
pub(super) fn load(pair: Pair, options: &OpenOptions) -> Result<Loaded> {
    // Beside what stays, the largest images of the threads that decode them.
    let bytes = || -> Result<(u64, usize)> {
        let (train, test) = (estimate(&pair.train, options, 0)?, estimate(&pair.test, options, 1)?);
        Ok((train.0.saturating_add(test.0), options.threads.max(1).saturating_mul(train.1.max(test.1))))
    };
    let limits = Limits::of_this_process();
    let (stream, expected) = match options.load {
        Load::Stream => (true, (0, 0)),
        // Images that do not fit are to be refused before they are decoded, and where address space is limited by an
        // error at all: there an allocation that fails ends the process.
        Load::Memory => (false, if limits.address_space() { bytes()? } else { (0, 0) }),
        Load::Auto => bytes().map(|n| (n.0 > Load::MOST, n))?,
    };
    if !stream && expected.0 > 0 {
        let images = usize::try_from(expected.0).unwrap_or(usize::MAX).saturating_add(expected.1);
        limits.check_start(options.threads, images)?;
    }
    let split = |stored: Stored, number| -> Result<(Arc<dyn Dataset>, usize)> {
        if !stream {
            let (set, skipped) = decode_all(&stored, options, number)?;
            return Ok((Arc::new(set), skipped));
        }
        let chosen = choose(&stored.labels, options.limit, options.seed, number);
        let (images, chosen, skipped): (Arc<dyn ReadAt>, _, _) = match stored.images {
            Images::Random(images) => (images, chosen, 0),
            Images::Ordered(images) => {
                let (spool, kept) = Spool::fill(images, &chosen, options.skip_broken)?;
                let skipped = chosen.len() - kept.len();
                (Arc::new(spool), kept, skipped)
            }
        };
        let labels = chosen.iter().map(|&i| stored.labels[i]).collect();
        let set = Streamed::new(
            (images, chosen),
            (stored.classes, labels),
            (options.skip_broken, options.orientation),
            &stored.place,
        )?;
        Ok((Arc::new(set), skipped))
    };
    let ((train, skipped), (test, more)) = (split(pair.train, 0)?, split(pair.test, 1)?);
    Ok(Loaded { train, test, skipped: skipped + more })
}

/// Bytes that the chosen images of a split would need, decoded: their number times the mean of a fixed few. Images that
/// cannot be read do not count; what is wrong with them is said when they are loaded. And bytes that decoding the largest
/// of these few takes.
fn estimate(stored: &Stored, options: &OpenOptions, split: u64) -> Result<(u64, usize)> {
    let chosen = choose(&stored.labels, options.limit, options.seed, split);
    let (mut sizes, mut work) = (Vec::new(), 0);
    let mut look = |content: std::result::Result<Content, String>, bytes: &[u8]| {
        let sides = match content {
            Ok(Content::Encoded) => extent(bytes, options.orientation).ok().map(|extent| extent.sides),
            Ok(Content::Rgb { height, width }) => Some((height, width)),
            Err(_) => None,
        };
        work = work.max(work_bytes(bytes).unwrap_or(0));
        if let Some((height, width)) = sides {
            sizes.push(scaled_bytes(height, width, options.short_side));
        }
    };
    match &stored.images {
        Images::Random(images) => {
            let mut bytes = Vec::new();
            for &index in spread(&chosen, Load::SAMPLE) {
                look(images.read(index, &mut bytes), &bytes);
            }
        }
        // Looking further into compressed files costs as much as reading them.
        Images::Ordered(images) => {
            let first = &chosen[..chosen.len().min(Load::SAMPLE)];
            images.scan(first, &mut |raws| {
                raws.into_iter().for_each(|raw| look(raw.content, &raw.bytes));
                Ok(())
            })?;
        }
    }
    let sum: u64 = sizes.iter().sum();
    Ok((sum / sizes.len().max(1) as u64 * chosen.len() as u64, work))
}

/// Bytes of a decoded image whose shorter side is scaled down to `short_side` (0: never).
fn scaled_bytes(height: usize, width: usize, short_side: usize) -> u64 {
    let area = height as f64 * width as f64;
    let shorter = height.min(width);
    let scale = if short_side > 0 && shorter > short_side { short_side as f64 / shorter as f64 } else { 1.0 };
    (3.0 * area * scale * scale) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread_and_sizes_scaled() {
        let all: Vec<usize> = (0..10).collect();
        assert_eq!(spread(&all, 5).copied().collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!(spread(&all, 20).count(), 10);
        assert_eq!(spread(&all[..0], 5).count(), 0);
        assert_eq!(scaled_bytes(10, 20, 0), 600);
        assert_eq!(scaled_bytes(10, 20, 5), 150);
        assert_eq!(scaled_bytes(10, 20, 50), 600);
    }
}
