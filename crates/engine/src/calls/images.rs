//! Images from bytes.

use crate::ops::{ImagesFromBytes, ImagesFromSet, Padding, PixelScale};
use crate::{Device, Result, Tensor};

impl Device {
    /// images `[n, h, w, 3]` = (bytes / 255 - mean) / std.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) -> Result<()> {
        self.run(ImagesFromBytes { bytes, scale, images })
    }

    /// images `[n, h, w, 3]` = parts of the padded images of `set` `[.., h, w, 3]` that `draws` `[n, 4]` name (columns of
    /// [`draw`](crate::ops::draw)), mirrored if they say so, then as [`Device::images_from_bytes`]. Draws are data: one beyond the set or
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
        self.run(ImagesFromSet { set, draws, padding, scale, images })
    }
}
