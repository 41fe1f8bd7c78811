//! Decodes a split into a [`Memory`], in parallel.

use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decode::{Fault, decode, shrink, work_bytes};
use super::stored::{CHUNK, Content, Images, Raw, Stored};
use super::{Dataset, Image, Memory, OpenOptions};
use crate::{Error, Result};

/// Some images of a split that become a set.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Which ones, ascending.
    pub images: &'a [usize],
    /// Whether it is remembered what they are called.
    pub named: bool,
}

/// The images of `stored` in each of these groups of them (ascending, none in two), decoded in one pass, and how many were
/// skipped.
///
/// # Errors
/// The first image that cannot be decoded, unless broken images are skipped; a group without images; out of memory.
pub(super) fn decode_all(
    stored: &Stored,
    groups: &[Part<'_>],
    options: &OpenOptions,
) -> Result<(Vec<Memory>, usize)> {
    let named: Vec<bool> = groups.iter().map(|part| part.named).collect();
    let groups: &[&[usize]] = &groups.iter().map(|part| part.images).collect::<Vec<_>>();
    let chosen = together(groups);
    let group = |(images, named): (&&[usize], bool)| Group {
        set: Memory::new(stored.classes.clone()),
        left: images.len(),
        named,
    };
    let sets = groups.iter().zip(named).map(group).collect();
    let largest = AtomicUsize::new(0);
    let mut collector = Collector { options, stored, groups, sets, skipped: 0, largest };
    let mut waiting = 0;
    match &stored.images {
        Images::Random(images) => {
            for chunk in chosen.chunks(CHUNK) {
                let one = |&index: &usize| {
                    let mut bytes = Vec::new();
                    let content = images.read(index, &mut bytes);
                    collector.decode(Raw { index, content, bytes })
                };
                let decoded = chunk.par_iter().map(one).collect();
                collector.add(decoded)?;
            }
        }
        Images::Ordered(images) => images.scan(&chosen, &mut |raws| {
            waiting = waiting.max(raws.iter().map(|raw| raw.bytes.len()).sum());
            let decoded = raws.into_par_iter().map(|raw| collector.decode(raw)).collect();
            collector.add(decoded)
        })?,
    }
    if let Images::Ordered(images) = &stored.images {
        waiting += images.work_bytes();
    }
    let loading = waiting + options.threads.max(1) * collector.largest.load(Ordering::Relaxed);
    let (mut sets, skipped) = collector.finish()?;
    sets.iter_mut().for_each(|set| set.loaded_with(loading));
    Ok((sets, skipped))
}

/// The images of all groups, in ascending order.
pub(super) fn together<'a>(groups: &[&'a [usize]]) -> Cow<'a, [usize]> {
    if let [one] = groups {
        return Cow::Borrowed(one);
    }
    let mut all = groups.concat();
    all.sort_unstable();
    Cow::Owned(all)
}

/// An image of a split, or what is wrong with it.
type Decoded = (usize, std::result::Result<Image, Fault>);

/// A split that is being decoded.
struct Collector<'a> {
    options: &'a OpenOptions,
    stored: &'a Stored,
    groups: &'a [&'a [usize]],
    sets: Vec<Group>,
    skipped: usize,
    /// Bytes that the largest image took.
    largest: AtomicUsize,
}

/// What is decoded of a group of images.
struct Group {
    set: Memory,
    /// Images that are to come.
    left: usize,
    /// Whether it is remembered what they are called.
    named: bool,
}

impl Collector<'_> {
    fn decode(&self, raw: Raw) -> Decoded {
        let work = match &raw.content {
            Ok(Content::Encoded) => work_bytes(&raw.bytes).unwrap_or(0),
            _ => raw.bytes.len(),
        };
        self.largest.fetch_max(work, Ordering::Relaxed);
        let image = raw.content.map_err(Fault::from).and_then(|content| match content {
            Content::Encoded => decode(&raw.bytes, self.options.short_side, self.options.orientation),
            Content::Rgb { height, width } => {
                Ok(shrink(Image { height, width, rgb: raw.bytes }, self.options.short_side))
            }
        });
        (raw.index, image)
    }

    /// Appends images in order, each to the set of its group.
    fn add(&mut self, images: Vec<Decoded>) -> Result<()> {
        let before: Vec<bool> = self.sets.iter().map(|group| group.set.is_empty()).collect();
        for (index, image) in images {
            let Some(group) = self.sets.get_mut(group_of(self.groups, index)) else { continue };
            group.left = group.left.saturating_sub(1);
            match image {
                Ok(image) => {
                    group.set.push(image.view(), self.stored.labels[index] as usize)?;
                    if group.named {
                        group.set.name_last(self.stored.images.name(index));
                    }
                }
                Err(_) if self.options.skip_broken => self.skipped += 1,
                Err(fault) => return Err(broken(self.stored.images.name(index), &fault)),
            }
        }
        for (group, was_empty) in self.sets.iter_mut().zip(before) {
            if was_empty && !group.set.is_empty() {
                group.set.expect(group.left)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<(Vec<Memory>, usize)> {
        let skipped = self.skipped;
        let whole = |mut group: Group| {
            if group.set.is_empty() {
                let message = match skipped {
                    0 => "the split has no images".into(),
                    skipped => format!("none of the {skipped} images of the split can be decoded"),
                };
                return Err(Error::data(&self.stored.place, message));
            }
            group.set.shrink();
            Ok(group.set)
        };
        Ok((self.sets.into_iter().map(whole).collect::<Result<_>>()?, skipped))
    }
}

/// The group of an image that is in one of them.
fn group_of(groups: &[&[usize]], index: usize) -> usize {
    let behind = groups.len().saturating_sub(1);
    groups[..behind].iter().position(|group| group.binary_search(&index).is_ok()).unwrap_or(behind)
}

/// The error of an image that cannot be used, and what to do.
pub(super) fn broken(place: String, fault: &Fault) -> Error {
    let hint = "repair or remove it, or leave such images out with `--skip-broken`";
    Error::data(place, format!("{}; {hint}", fault.said()))
}
