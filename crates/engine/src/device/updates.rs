//! Updates of parameters, and images from bytes.

use super::Device;
use super::checks::*;
use crate::ops::{PixelScale, Sgd};
use crate::{DType, Result, Tensor};

impl Device {
    /// One SGD step.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn sgd(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        velocity: &mut Tensor,
        options: Sgd,
    ) -> Result<()> {
        same_shape("sgd", parameter, grad)?;
        same_shape("sgd", parameter, velocity)?;
        f32_only("sgd", &[parameter])?;
        self.0.backend.sgd(parameter, grad, velocity, options);
        Ok(())
    }

    /// target = m · target + (1 - m) · source.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape).
    pub fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) -> Result<()> {
        same_shape("ema", target, source)?;
        f32_only("ema", &[target])?;
        self.0.backend.ema(target, source, m);
        Ok(())
    }

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
}
