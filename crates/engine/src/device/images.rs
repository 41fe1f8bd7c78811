//! Images from bytes.

use super::Device;
use super::checks::*;
use crate::ops::{Padding, PixelScale, draw};
use crate::{DType, Result, Tensor};

impl Device {
    /// images `[n, h, w, 3]` = (bytes / 255 - mean) / std.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) -> Result<()> {
        const OP: &str = "images_from_bytes";
        f32_only(OP, &[images])?;
        of_type(OP, DType::U8, bytes)?;
        ensure(bytes.shape() == images.shape() && images.nhwc()[3] == 3, OP, || {
            format!("{:?} for images {:?}", bytes.shape().dims(), images.shape().dims())
        })?;
        self.0.backend.images_from_bytes(bytes, scale, images);
        Ok(())
    }

    /// images `[n, h, w, 3]` = parts of the padded images of `set` `[.., h, w, 3]` that `draws` `[n, 4]` name (columns of
    /// [`draw`]), mirrored if they say so, then as [`Device::images_from_bytes`]. Draws are data: one beyond the set or
    /// the border counts as the last.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn images_from_set(
        &self,
        set: &Tensor,
        draws: &Tensor,
        padding: Padding,
        scale: PixelScale,
        images: &mut Tensor,
    ) -> Result<()> {
        const OP: &str = "images_from_set";
        f32_only(OP, &[images])?;
        of_type(OP, DType::U8, set)?;
        of_type(OP, DType::U32, draws)?;
        let [n, h, w, channels] = images.nhwc();
        let fits = set.nhwc()[1..] == [h, w, channels] && channels == 3 && !set.is_empty();
        ensure(fits && u32::try_from(images.len() / n.max(1)).is_ok(), OP, || {
            format!("images {:?} from a set {:?}", images.shape().dims(), set.shape().dims())
        })?;
        ensure(draws.shape().dims() == [n, draw::COLUMNS], OP, || {
            format!("draws {:?} for {n} images", draws.shape().dims())
        })?;
        // A mirrored border must not reach beyond the other side.
        ensure(padding.pixels < h.min(w), OP, || {
            format!("a border of {} pixels around {h}x{w}", padding.pixels)
        })?;
        self.0.backend.images_from_set(set, draws, padding, scale, images);
        Ok(())
    }
}
