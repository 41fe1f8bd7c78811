//! Decodes many images in parallel into a [`Memory`].

use rayon::prelude::*;

use super::decode::decode;
use super::{Dataset, Memory, OpenOptions};
use crate::{Error, Result};

/// Images decoded before they are put in place; bounds what lies in memory twice.
pub(super) const CHUNK: usize = 128;

/// An encoded image and where it comes from.
pub(super) struct Encoded<B> {
    /// What the file or row holds, or why it cannot be read.
    pub bytes: std::result::Result<B, String>,
    /// The label, below the number of classes.
    pub label: usize,
}

/// A split that is being decoded.
pub(super) struct Collector<'a> {
    options: &'a OpenOptions,
    set: Memory,
    total: usize,
    done: usize,
    skipped: usize,
}

impl<'a> Collector<'a> {
    /// For `total` images.
    pub fn new(classes: Vec<String>, total: usize, options: &'a OpenOptions) -> Self {
        Collector { options, set: Memory::new(classes), total, done: 0, skipped: 0 }
    }

    /// Decodes and appends `items`; `read` fetches one and `place` names it (file, or shard and row).
    ///
    /// # Errors
    /// The first image that cannot be decoded, unless broken images are skipped.
    pub fn add<T: Sync, B: AsRef<[u8]>>(
        &mut self,
        items: &[T],
        read: impl Fn(&T) -> Encoded<B> + Sync,
        place: impl Fn(&T) -> String,
    ) -> Result<()> {
        for chunk in items.chunks(CHUNK) {
            let decode_one = |item: &T| {
                let encoded = read(item);
                let bytes = encoded.bytes?;
                let image = decode(bytes.as_ref(), self.options.short_side)?;
                Ok::<_, String>((image, encoded.label))
            };
            let images: Vec<_> = chunk.par_iter().map(decode_one).collect();
            for (item, image) in chunk.iter().zip(images) {
                match image {
                    Ok((image, label)) => self.set.push(image.view(), label)?,
                    Err(_) if self.options.skip_broken => self.skipped += 1,
                    Err(message) => return Err(broken(place(item), &message)),
                }
            }
            let first = self.done == 0;
            self.done += chunk.len();
            if first && !self.set.is_empty() {
                self.set.expect(self.total.saturating_sub(self.done))?;
            }
        }
        Ok(())
    }

    /// The split, and how many images were skipped.
    ///
    /// # Errors
    /// When no image is left; `place` names the split.
    pub fn finish(mut self, place: &str) -> Result<(Memory, usize)> {
        if self.set.is_empty() {
            let skipped = self.skipped;
            let message = match skipped {
                0 => "the split has no images".into(),
                _ => format!("none of the {skipped} images of the split can be decoded"),
            };
            return Err(Error::data(place, message));
        }
        self.set.shrink();
        Ok((self.set, self.skipped))
    }
}

fn broken(place: String, message: &str) -> Error {
    let hint = "repair or remove it, or leave such images out with `--skip-broken`";
    Error::data(place, format!("broken image: {message}; {hint}"))
}
