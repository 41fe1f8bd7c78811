//! Where the images of a set live: decoded in memory, or on disk, read when they are needed.
//!
//! Which of the two changes what random crops see, so it must not depend on the machine: `auto` goes by the number of
//! images and the size of a fixed few of them alone, and a run keeps what was chosen.

use std::sync::Arc;

use super::collect::{Part, decode_all, together};
use super::decode::{extent, work_bytes};
use super::roles::{Chosen, Roles};
use super::spool::Spool;
use super::spread::spread;
use super::stored::{Content, Images, ReadAt, Stored};
use super::streamed::Streamed;
use super::{Dataset, Load, Names, OpenOptions};
use crate::memory::limit::Limits;
use crate::{Error, Result};

/// The splits, and how many images were skipped.
pub(super) struct Loaded {
    pub train: Arc<dyn Dataset>,
    pub validation: Option<Arc<dyn Dataset>>,
    pub test: Arc<dyn Dataset>,
    pub skipped: usize,
}

/// The splits as the options say.
///
/// # Errors
/// A broken image, unless they are skipped; a split without images; out of memory, or of room for a [`Spool`].
pub(super) fn load(roles: Roles, options: &OpenOptions) -> Result<Loaded> {
    let limits = Limits::of_this_process();
    let (stream, expected) = match options.load {
        Load::Stream => (true, (0, 0)),
        // Images that do not fit are to be refused before they are decoded, and where address space is limited by an
        // error at all: there an allocation that fails ends the process.
        Load::Memory => {
            (false, if limits.address_space() { bytes_that_decide(&roles, options)? } else { (0, 0) })
        }
        Load::Auto => bytes_that_decide(&roles, options).map(|n| (n.0 > Load::MOST, n))?,
    };
    if !stream && expected.0 > 0 {
        // Beside what stays, the largest images of the threads that decode them.
        let (more, largest) = of_own(roles.validation.as_ref(), options)?;
        let images = usize::try_from(expected.0.saturating_add(more)).unwrap_or(usize::MAX);
        let work = options.threads.max(1).saturating_mul(expected.1.max(largest));
        limits.check_start(options.threads, images.saturating_add(work))?;
    }
    let split = |stored, groups: &[Part<'_>]| {
        if stream { streamed(stored, groups, options) } else { decoded(stored, groups, options) }
    };
    let drawn = &roles.drawn;
    let (all, test) = (options.names == Names::All, options.names != Names::None);
    let of_train = [(Some(&drawn.train), all), (drawn.validation.as_ref(), all), (drawn.test.as_ref(), test)];
    let parts = of_train.into_iter();
    let groups: Vec<Part<'_>> =
        parts.filter_map(|(images, named)| images.map(|images| Part { images, named })).collect();
    let (held_validation, held_test) = (drawn.validation.is_some(), drawn.test.is_some());
    let (sets, mut skipped) = split(roles.train, &groups)?;
    let mut sets = sets.into_iter();
    let mut other = |held: bool, own: Option<Chosen>, named| -> Result<Option<Arc<dyn Dataset>>> {
        let Some((stored, chosen)) = own else { return Ok(if held { sets.next() } else { None }) };
        let (mut own, more) = split(stored, &[Part { images: &chosen, named }])?;
        skipped += more;
        Ok(own.pop())
    };
    // In the order of the groups.
    let train = other(true, None, all)?;
    let validation = other(held_validation, roles.validation, all)?;
    let test = other(held_test, roles.test, test)?;
    match (train, test) {
        (Some(train), Some(test)) => Ok(Loaded { train, validation, test, skipped }),
        _ => Err(Error::data("images", "the set has no test split")),
    }
}

/// Bytes of the images that decide whether all stay in memory, and of the largest of them while it is decoded. Those of a
/// validation split of the set's own do not decide: where its training images live was chosen without them.
fn bytes_that_decide(roles: &Roles, options: &OpenOptions) -> Result<(u64, usize)> {
    let mut used = roles.drawn.train.clone();
    used.extend(roles.drawn.validation.iter().chain(&roles.drawn.test).flatten());
    used.sort_unstable();
    let train = estimate(&roles.train, &used, options)?;
    let test = of_own(roles.test.as_ref(), options)?;
    Ok((train.0.saturating_add(test.0), train.1.max(test.1)))
}

/// The same of a split of the set's own.
fn of_own(split: Option<&Chosen>, options: &OpenOptions) -> Result<(u64, usize)> {
    split.map_or(Ok((0, 0)), |(stored, chosen)| estimate(stored, chosen, options))
}

/// Sets, one of each group of images of a split, and how many images were skipped.
type Sets = (Vec<Arc<dyn Dataset>>, usize);

fn decoded(stored: Stored, groups: &[Part<'_>], options: &OpenOptions) -> Result<Sets> {
    let (sets, skipped) = decode_all(&stored, groups, options)?;
    Ok((sets.into_iter().map(|set| Arc::new(set) as Arc<dyn Dataset>).collect(), skipped))
}

fn streamed(stored: Stored, groups: &[Part<'_>], options: &OpenOptions) -> Result<Sets> {
    let groups: Vec<&[usize]> = groups.iter().map(|part| part.images).collect();
    let (images, kept): (Arc<dyn ReadAt>, _) = match stored.images {
        Images::Random(images) => (images, None),
        Images::Ordered(images) => {
            let (spool, kept) = Spool::fill(images, &together(&groups), options.skip_broken)?;
            (Arc::new(spool), Some(kept))
        }
    };
    let all: usize = groups.iter().map(|group| group.len()).sum();
    let skipped = kept.as_ref().map_or(0, |kept| all - kept.len());
    let set = |group: &&[usize]| {
        let is_kept = |index: &usize| kept.as_ref().is_none_or(|kept| kept.binary_search(index).is_ok());
        let chosen: Vec<usize> = group.iter().copied().filter(is_kept).collect();
        let labels = chosen.iter().map(|&i| stored.labels[i]).collect();
        let set = Streamed::new(
            (Arc::clone(&images), chosen),
            (stored.classes.clone(), labels),
            (options.skip_broken, options.orientation),
            &stored.place,
        )?;
        Ok(Arc::new(set) as Arc<dyn Dataset>)
    };
    Ok((groups.iter().map(set).collect::<Result<_>>()?, skipped))
}

/// Bytes that the chosen images of a split would need, decoded: their number times the mean of a fixed few. Images that
/// cannot be read do not count; what is wrong with them is said when they are loaded. And bytes that decoding the largest
/// of these few takes.
fn estimate(stored: &Stored, chosen: &[usize], options: &OpenOptions) -> Result<(u64, usize)> {
    let (mut sizes, mut work) = (Vec::new(), 0);
    sample(stored, chosen, &mut |content, bytes| {
        let sides = match content {
            Ok(Content::Encoded) => extent(bytes, options.orientation).ok().map(|extent| extent.sides),
            Ok(Content::Rgb { height, width }) => Some((height, width)),
            Err(_) => None,
        };
        work = work.max(work_bytes(bytes).unwrap_or(0));
        if let Some((height, width)) = sides {
            sizes.push(scaled_bytes(height, width, options.short_side));
        }
    })?;
    let sum: u64 = sizes.iter().sum();
    Ok((sum / sizes.len().max(1) as u64 * chosen.len() as u64, work))
}

/// What sees an image as it is stored.
type Visit<'a> = &'a mut dyn FnMut(std::result::Result<Content, String>, &[u8]);

/// Reads a fixed few of the chosen images of a split, whatever the machine.
pub(super) fn sample(stored: &Stored, chosen: &[usize], visit: Visit<'_>) -> Result<()> {
    match &stored.images {
        Images::Random(images) => {
            let mut bytes = Vec::new();
            for &index in spread(chosen, Load::SAMPLE) {
                visit(images.read(index, &mut bytes), &bytes);
            }
            Ok(())
        }
        // Looking further into compressed files costs as much as reading them.
        Images::Ordered(images) => {
            let first = &chosen[..chosen.len().min(Load::SAMPLE)];
            images.scan(first, &mut |raws| {
                raws.into_iter().for_each(|raw| visit(raw.content, &raw.bytes));
                Ok(())
            })
        }
    }
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
