//! A split whose images stay on disk and are decoded when they are needed.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::collect::broken;
use super::decode::{Fault, Orientation, decode_into, extent, work_bytes as work_bytes_of};
use super::spread::spread;
use super::stored::{Content, ReadAt};
use super::{Dataset, ImageView};
use crate::{Error, Result};

/// See the module. Images have their own sizes: random crops see all of their pixels.
pub(super) struct Streamed {
    images: Arc<dyn ReadAt>,
    /// Which of them belong to the split.
    chosen: Vec<usize>,
    classes: Vec<String>,
    labels: Vec<u32>,
    skip_broken: bool,
    orientation: Orientation,
    replaced: AtomicUsize,
    work: usize,
}

/// Images whose sizes are looked at, for the memory that reading one takes.
const SAMPLE: usize = 64;

/// Images tried in place of a broken one.
const TRIES: usize = 16;

thread_local! {
    /// An image as it is stored.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Streamed {
    /// The images `chosen`, with the classes and the label of each.
    ///
    /// # Errors
    /// No image; `place` names the split.
    pub fn new(
        (images, chosen): (Arc<dyn ReadAt>, Vec<usize>),
        (classes, labels): (Vec<String>, Vec<u32>),
        (skip_broken, orientation): (bool, Orientation),
        place: &str,
    ) -> Result<Self> {
        if chosen.is_empty() {
            return Err(Error::data(place, "the split has no images"));
        }
        let work = work_bytes(&*images, &chosen, orientation);
        let replaced = AtomicUsize::new(0);
        Ok(Streamed { images, chosen, classes, labels, skip_broken, orientation, replaced, work })
    }

    /// Reads and decodes an image into `rgb`; its height and width.
    fn read(&self, index: usize, rgb: &mut Vec<u8>) -> std::result::Result<(usize, usize), Fault> {
        let stored = *self.chosen.get(index).ok_or("no such image")?;
        // Taken out rather than borrowed: decoders are outside code.
        let mut encoded = ENCODED.take();
        let content = self.images.read(stored, &mut encoded).map_err(Fault::from);
        let sides = content.and_then(|content| match content {
            Content::Encoded => decode_into(&encoded, self.orientation, rgb),
            Content::Rgb { height, width } => {
                std::mem::swap(rgb, &mut encoded);
                Ok((height, width))
            }
        });
        ENCODED.set(encoded);
        sides
    }

    /// The images of the same class behind image `index`, around the end.
    fn alike(&self, index: usize) -> impl Iterator<Item = usize> {
        let n = self.chosen.len();
        let others = (1..n).map(move |k| (index + k) % n);
        others.filter(move |&i| self.labels[i] == self.labels[index])
    }
}

impl Dataset for Streamed {
    fn len(&self) -> usize {
        self.chosen.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index] as usize
    }

    fn image_name(&self, index: usize) -> Option<String> {
        self.chosen.get(index).map(|&stored| self.images.name(stored))
    }

    /// A broken image is an error that names it. Where broken images are skipped, the next one of its class that can be
    /// decoded stands in for it, always the same.
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        let mut read = self.read(index, scratch);
        if read.is_err() && self.skip_broken {
            let found = self.alike(index).take(TRIES).find_map(|other| self.read(other, scratch).ok());
            if let Some(sides) = found {
                self.replaced.fetch_add(1, Ordering::Relaxed);
                read = Ok(sides);
            }
        }
        let (height, width) = read.map_err(|fault| {
            let name = self.chosen.get(index).map_or_else(String::new, |&stored| self.images.name(stored));
            broken(name, &fault)
        })?;
        Ok(ImageView { height, width, rgb: scratch })
    }

    fn streams(&self) -> bool {
        true
    }

    fn replaced(&self) -> usize {
        self.replaced.load(Ordering::Relaxed)
    }

    fn resident_bytes(&self) -> usize {
        self.chosen.capacity() * size_of::<usize>() + self.labels.capacity() * size_of::<u32>()
    }

    fn work_bytes(&self) -> usize {
        self.work
    }
}

/// Bytes that reading an image takes: as stored and decoded, the largest of a fixed few.
fn work_bytes(images: &dyn ReadAt, chosen: &[usize], orientation: Orientation) -> usize {
    let mut encoded = Vec::new();
    let bytes = spread(chosen, SAMPLE).filter_map(|&index| {
        match images.read(index, &mut encoded).ok()? {
            Content::Encoded => {
                let extent = extent(&encoded, orientation).ok()?;
                // An image is turned into another one.
                let copy = if extent.turned && orientation.turns() {
                    extent.sides.0 * extent.sides.1 * 3
                } else {
                    0
                };
                Some(work_bytes_of(&encoded)? + copy)
            }
            Content::Rgb { height, width } => Some(height * width * 3 + encoded.len()),
        }
    });
    bytes.max().unwrap_or(0)
}
