//! A split held in memory: one run of bytes, and where each image lies in it.

use super::{Dataset, ImageView};
use crate::{Error, Result};

/// Decoded images in one allocation, with labels and class names.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    bytes: Vec<u8>,
    items: Vec<Item>,
    classes: Vec<String>,
    /// What the images are called; none, or one each.
    names: Vec<Box<str>>,
    loading: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    offset: usize,
    height: u32,
    width: u32,
    label: u32,
}

/// One decoded image that owns its bytes: RGB, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Image {
    /// The image, borrowed.
    pub fn view(&self) -> ImageView<'_> {
        ImageView { height: self.height, width: self.width, rgb: &self.rgb }
    }
}

impl Memory {
    /// An empty split with these class names.
    pub fn new(classes: Vec<String>) -> Self {
        Memory { classes, ..Memory::default() }
    }

    /// Appends an image.
    ///
    /// # Errors
    /// When the label names no class, the byte count is not `height * width * 3`, a side is 0, or
    /// memory runs out.
    pub fn push(&mut self, image: ImageView<'_>, label: usize) -> Result<()> {
        let place = || format!("image {}", self.items.len());
        let (height, width) = (image.height, image.width);
        if label >= self.classes.len() {
            return Err(label_error(&place(), label as i64, self.classes.len()));
        }
        let sides = u32::try_from(height).ok().zip(u32::try_from(width).ok());
        let expected = height.checked_mul(width).and_then(|n| n.checked_mul(3));
        let (Some((h, w)), Some(expected)) = (sides, expected) else {
            return Err(Error::data(place(), format!("{width}x{height} is too large")));
        };
        if expected == 0 || image.rgb.len() != expected {
            let found = image.rgb.len();
            return Err(Error::data(
                place(),
                format!("{width}x{height} RGB needs {expected} bytes (at least 3), found {found}"),
            ));
        }
        self.room(expected)?;
        self.items.push(Item { offset: self.bytes.len(), height: h, width: w, label: label as u32 });
        self.bytes.extend_from_slice(image.rgb);
        Ok(())
    }

    /// Makes room for about `images` more images of the mean size so far, so that a long run of
    /// [`Memory::push`] does not grow by doubling (which would need three times the bytes at its peak).
    ///
    /// # Errors
    /// When memory runs out.
    pub fn expect(&mut self, images: usize) -> Result<()> {
        let mean = self.bytes.len() / self.items.len().max(1);
        // A little over the mean: a set whose later images are larger still fits without growing.
        let wanted = images.saturating_mul(mean + mean / 16);
        self.items.reserve(images);
        if wanted > self.bytes.capacity() - self.bytes.len() {
            self.bytes
                .try_reserve_exact(wanted)
                .map_err(|_| out_of_memory(self.bytes.len().saturating_add(wanted)))?;
        }
        Ok(())
    }

    fn room(&mut self, bytes: usize) -> Result<()> {
        self.bytes.try_reserve(bytes).map_err(|_| out_of_memory(self.bytes.len().saturating_add(bytes)))
    }

    /// Says what the last image is called; all are named, or none.
    pub(super) fn name_last(&mut self, name: String) {
        self.names.push(name.into());
    }

    /// Says what loading took beside ([`Dataset::loading_bytes`]).
    pub(super) fn loaded_with(&mut self, bytes: usize) {
        self.loading = bytes;
    }

    /// Gives back what [`Memory::expect`] reserved too much.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.items.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

fn out_of_memory(bytes: usize) -> Error {
    Error::data(
        "decoded images",
        format!(
            "{} MiB do not fit in memory: use fewer images (`--limit`) or a smaller `data.short_side`",
            bytes >> 20
        ),
    )
}

/// The error of a label that names no class.
pub(super) fn label_error(place: &str, label: i64, classes: usize) -> Error {
    let hint = if label < 0 {
        "a negative label usually marks a split without labels, which cannot be used"
    } else {
        "the set's class names and labels do not belong together"
    };
    Error::data(
        place,
        format!("label {label} is out of range: labels are 0 to {}; {hint}", classes as i64 - 1),
    )
}

impl Dataset for Memory {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> usize {
        self.items[index].label as usize
    }

    fn image_name(&self, index: usize) -> Option<String> {
        self.names.get(index).map(|name| name.to_string())
    }

    fn image<'a>(&'a self, index: usize, _: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
        let Some(item) = self.items.get(index) else {
            let found = self.items.len();
            return Err(Error::data(format!("image {index}"), format!("the split has only {found} images")));
        };
        let (height, width) = (item.height as usize, item.width as usize);
        Ok(ImageView { height, width, rgb: &self.bytes[item.offset..item.offset + height * width * 3] })
    }

    fn whole(&self) -> Option<(usize, &[u8])> {
        let side = self.items.first()?.height;
        let alike = self.items.iter().all(|i| (i.height, i.width) == (side, side));
        alike.then_some((side as usize, &self.bytes[..]))
    }

    fn loading_bytes(&self) -> usize {
        self.loading
    }

    fn resident_bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        self.bytes.capacity()
            + self.items.capacity() * size_of::<Item>()
            + self.names.capacity() * size_of::<Box<str>>()
            + names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(height: usize, width: usize, rgb: &[u8]) -> ImageView<'_> {
        ImageView { height, width, rgb }
    }

    #[test]
    fn images_of_different_sizes_come_back_as_they_went_in() {
        let mut set = Memory::new(vec!["a".into(), "b".into()]);
        set.push(view(1, 2, &[1, 2, 3, 4, 5, 6]), 1).unwrap();
        set.expect(1).unwrap();
        set.push(view(1, 1, &[7, 8, 9]), 0).unwrap();
        set.shrink();
        assert_eq!((set.len(), set.label(0), set.label(1)), (2, 1, 0));
        let mut scratch = Vec::new();
        let image = set.image(1, &mut scratch).unwrap();
        assert_eq!((image.height, image.width, image.rgb), (1, 1, &[7, 8, 9][..]));
        assert!(set.resident_bytes() >= 9);
        assert_eq!(set.whole(), None);
    }

    #[test]
    fn images_of_one_size_are_one_run_of_bytes() {
        let mut set = Memory::new(vec!["a".into()]);
        assert_eq!(set.whole(), None);
        set.push(view(1, 1, &[1, 2, 3]), 0).unwrap();
        set.push(view(1, 1, &[4, 5, 6]), 0).unwrap();
        assert_eq!(set.whole(), Some((1, &[1, 2, 3, 4, 5, 6][..])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut set = Memory::new(vec!["a".into()]);
        let error = set.push(view(1, 1, &[1, 2, 3]), 1).unwrap_err().to_string();
        assert!(error.contains("label 1 is out of range"), "{error}");
        assert!(set.push(view(1, 1, &[1, 2]), 0).is_err());
        assert!(set.push(view(0, 1, &[]), 0).is_err());
        assert!(set.push(view(usize::MAX, 2, &[]), 0).is_err());
        assert!(set.image(0, &mut Vec::new()).is_err());
    }
}
