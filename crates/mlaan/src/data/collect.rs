//! Decodes a split into a [`Memory`], in parallel.

use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decode::{Fault, decode, shrink, work_bytes};
use super::limit::choose;
use super::stored::{CHUNK, Content, Images, Raw, Stored};
use super::{Dataset, Image, Memory, OpenOptions};
use crate::{Error, Result};

/// The images of `stored` that the options choose, decoded, and how many were skipped; `split` numbers the split, for
/// the choice.
///
/// # Errors
/// The first image that cannot be decoded, unless broken images are skipped; no image left; out of memory.
pub(super) fn decode_all(stored: &Stored, options: &OpenOptions, split: u64) -> Result<(Memory, usize)> {
    let chosen = choose(&stored.labels, options.limit, options.seed, split);
    let set = Memory::new(stored.classes.clone());
    let (total, largest) = (chosen.len(), AtomicUsize::new(0));
    let mut collector = Collector { options, stored, set, total, done: 0, skipped: 0, largest };
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
    let loading = waiting + options.threads.max(1) * collector.largest.load(Ordering::Relaxed);
    let (mut set, skipped) = collector.finish()?;
    set.loaded_with(loading);
    Ok((set, skipped))
}

/// An image of a split, or what is wrong with it.
type Decoded = (usize, std::result::Result<Image, Fault>);

/// A split that is being decoded.
struct Collector<'a> {
    options: &'a OpenOptions,
    stored: &'a Stored,
    set: Memory,
    total: usize,
    done: usize,
    skipped: usize,
    /// Bytes that the largest image took.
    largest: AtomicUsize,
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

    /// Appends images in order.
    fn add(&mut self, images: Vec<Decoded>) -> Result<()> {
        let first = self.done == 0;
        self.done += images.len();
        for (index, image) in images {
            match image {
                Ok(image) => {
                    self.set.push(image.view(), self.stored.labels[index] as usize)?;
                    if self.options.names {
                        self.set.name_last(self.stored.images.name(index));
                    }
                }
                Err(_) if self.options.skip_broken => self.skipped += 1,
                Err(fault) => return Err(broken(self.stored.images.name(index), &fault)),
            }
        }
        if first && !self.set.is_empty() {
            self.set.expect(self.total.saturating_sub(self.done))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Memory, usize)> {
        if self.set.is_empty() {
            let message = match self.skipped {
                0 => "the split has no images".into(),
                skipped => format!("none of the {skipped} images of the split can be decoded"),
            };
            return Err(Error::data(&self.stored.place, message));
        }
        self.set.shrink();
        Ok((self.set, self.skipped))
    }
}

/// The error of an image that cannot be used, and what to do.
pub(super) fn broken(place: String, fault: &Fault) -> Error {
    let hint = "repair or remove it, or leave such images out with `--skip-broken`";
    Error::data(place, format!("{}; {hint}", fault.said()))
}
