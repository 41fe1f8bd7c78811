//! Pooling and resizing.

use super::Device;
use super::checks::*;
use crate::backend::Work;
use crate::memory::Purpose;
use crate::ops::{Operand, Outgoing, Window};
use crate::{DType, Result, Tensor};

impl Device {
    /// Maximum over windows; the border does not take part. The result has the operand's type.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn max_pool(&self, window: Window, x: &Operand<'_>) -> Result<Tensor> {
        operand("max_pool", x)?;
        let [n, oh, ow, c] = check_pool("max_pool", window, x)?;
        let mut y = self.alloc([n, oh, ow, c], x.tensor.dtype(), Purpose::Activations)?;
        self.0.backend.max_pool(window, x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::max_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
    ) -> Result<()> {
        const OP: &str = "max_pool_backward";
        operand(OP, x)?;
        outgoing(OP, x, &dx)?;
        let need = check_pool(OP, window, x)?;
        of_type(OP, x.tensor.dtype(), dy)?;
        extents(OP, dy, need)?;
        let mut scratch = self.scratch(&image_gradient(x))?;
        self.0.backend.max_pool_backward(window, x, dy, dx, scratch.bytes());
        Ok(())
    }

    /// Adaptive average pooling to `height x width`, as PyTorch's; 1x1 is global. The result is of 32-bit
    /// floats whatever the operand's type: it is small, and most often a loss follows.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn average_pool(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        operand("average_pool", x)?;
        let [n, _, _, c] = x.tensor.nhwc();
        ensure(height > 0 && width > 0 && !x.tensor.is_empty(), "average_pool", || "nothing to pool".into())?;
        let mut y = self.alloc([n, height, width, c], DType::F32, Purpose::Activations)?;
        self.0.backend.average_pool(x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::average_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        const OP: &str = "average_pool_backward";
        f32_only(OP, &[dy])?;
        self.check_resampled(OP, x, dy, &dx)?;
        let mut scratch = self.scratch(&image_gradient(x))?;
        self.0.backend.average_pool_backward(x, dy, dx, scratch.bytes());
        Ok(())
    }

    /// Bilinear resizing to `height x width`, corners aligned. The result has the operand's type.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resize(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        operand("resize", x)?;
        let [n, _, _, c] = x.tensor.nhwc();
        ensure(height > 0 && width > 0 && !x.tensor.is_empty(), "resize", || "nothing to resize".into())?;
        let mut y = self.alloc([n, height, width, c], x.tensor.dtype(), Purpose::Activations)?;
        self.0.backend.resize(x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::resize`].
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        const OP: &str = "resize_backward";
        of_type(OP, x.tensor.dtype(), dy)?;
        self.check_resampled(OP, x, dy, &dx)?;
        let mut scratch = self.scratch(&image_gradient(x))?;
        self.0.backend.resize_backward(x, dy, dx, scratch.bytes());
        Ok(())
    }

    fn check_resampled(
        &self,
        op: &'static str,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: &Outgoing<'_>,
    ) -> Result<()> {
        operand(op, x)?;
        outgoing(op, x, dx)?;
        let ([n, _, _, c], [m, h, w, d]) = (x.tensor.nhwc(), dy.nhwc());
        ensure(n == m && c == d && h > 0 && w > 0 && !x.tensor.is_empty(), op, || {
            format!("gradient {:?} for an input of {:?}", dy.shape().dims(), x.tensor.shape().dims())
        })
    }
}

fn image_gradient(x: &Operand<'_>) -> Work {
    Work::ImageGradient { x: x.tensor.nhwc(), dtype: x.tensor.dtype() }
}

fn check_pool(op: &'static str, window: Window, x: &Operand<'_>) -> Result<[usize; 4]> {
    let [n, h, w, c] = x.tensor.nhwc();
    let fits = window.kernel > 0 && window.pad <= window.kernel / 2 && !x.tensor.is_empty();
    let (oh, ow) = (window.output(h), window.output(w));
    ensure(fits && oh > 0 && ow > 0, op, || format!("a window of {window:?} does not fit into {h}x{w}"))?;
    Ok([n, oh, ow, c])
}
