//! Images from bytes.

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{DType, Result, Tensor};

/// Columns of draws `[n, 4]`: which part of which image of a set an image is.
pub mod draw {
    /// The image's place in the set.
    pub const INDEX: usize = 0;
    /// Rows between the top of the padded image and that of the part, at most twice the border.
    pub const TOP: usize = 1;
    /// Columns between the left of the padded image and that of the part, at most twice the border.
    pub const LEFT: usize = 2;
    /// Whether the part is mirrored left to right: 0 or 1.
    pub const FLIP: usize = 3;
    /// Columns.
    pub const COLUMNS: usize = 4;
}

/// What lies around a padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The mirrored image, without repeating its edge.
    Reflect,
    /// Byte 0.
    Zero,
}

/// A border around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Its width on every side.
    pub pixels: usize,
    /// What is there.
    pub border: Border,
}

impl Padding {
    /// No border.
    pub const NONE: Padding = Padding { pixels: 0, border: Border::Zero };
}

/// Pixel value = normalised value · std + mean, per channel, in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelScale {
    /// Per-channel mean, of 1.
    pub mean: [f32; 3],
    /// Per-channel standard deviation, of 1.
    pub std: [f32; 3],
}

impl PixelScale {
    /// What makes a normalised value of a byte: value = byte · factor + offset.
    pub(crate) fn of_bytes(&self) -> ([f32; 3], [f32; 3]) {
        let offset = std::array::from_fn(|c| -self.mean[c] / self.std[c]);
        (self.std.map(|s| 1.0 / (255.0 * s)), offset)
    }
}

/// See [`Device::images_from_bytes`](crate::Device::images_from_bytes).
pub(crate) struct ImagesFromBytes<'a> {
    pub(crate) bytes: &'a Tensor,
    pub(crate) scale: PixelScale,
    pub(crate) images: &'a mut Tensor,
}

impl Operation for ImagesFromBytes<'_> {
    const NAME: &'static str = "images_from_bytes";

    type Made = ();

    fn check(&self) -> Result<()> {
        f32_only(Self::NAME, &[self.images])?;
        of_type(Self::NAME, DType::U8, self.bytes)?;
        let (bytes, images) = (self.bytes.shape(), self.images.shape());
        ensure(bytes == images && images.nhwc()[3] == 3, Self::NAME, || {
            format!("{:?} for images {:?}", bytes.dims(), images.dims())
        })
    }

    fn bytes(&self) -> usize {
        size(self.bytes) + size(self.images)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.bytes.shape())
    }
}

/// See [`Device::images_from_set`](crate::Device::images_from_set).
pub(crate) struct ImagesFromSet<'a> {
    pub(crate) set: &'a Tensor,
    pub(crate) draws: &'a Tensor,
    pub(crate) padding: Padding,
    pub(crate) scale: PixelScale,
    pub(crate) images: &'a mut Tensor,
}

impl Operation for ImagesFromSet<'_> {
    const NAME: &'static str = "images_from_set";

    type Made = ();

    fn check(&self) -> Result<()> {
        let (op, set, draws, images) = (Self::NAME, self.set, self.draws, &*self.images);
        f32_only(op, &[images])?;
        of_type(op, DType::U8, set)?;
        of_type(op, DType::U32, draws)?;
        let [n, h, w, channels] = images.nhwc();
        let fits = set.nhwc()[1..] == [h, w, channels] && channels == 3 && !set.is_empty();
        ensure(fits && u32::try_from(images.len() / n.max(1)).is_ok(), op, || {
            format!("images {:?} from a set {:?}", images.shape().dims(), set.shape().dims())
        })?;
        ensure(draws.shape().dims() == [n, draw::COLUMNS], op, || {
            format!("draws {:?} for {n} images", draws.shape().dims())
        })?;
        // A mirrored border must not reach beyond the other side.
        let pixels = self.padding.pixels;
        ensure(pixels < h.min(w), op, || format!("a border of {pixels} pixels around {h}x{w}"))
    }

    fn bytes(&self) -> usize {
        // Of the set as many bytes as there are values.
        self.images.len() + size(self.draws) + size(self.images)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.images.shape())
    }
}
