//! Convolutions and linear layers.

use crate::memory::MemoryCategory;
use crate::ops::{
    Conv2dParams, Convolve, ConvolveBackward, Incoming, Operand, Outgoing, PackedWeights, WeightGrad,
    Weights, check_convolution, outputs,
};
use crate::{DType, Device, Result, Tensor};

impl Device {
    /// Convolution of `x` `[n, h, w, in]` with `w` `[out, in, k, k]`; a linear layer is a 1x1 convolution
    /// of `[n, 1, 1, in]`. With `norm` (`[4, out]`), its rows MEAN and INV_STD receive mean and biased
    /// variance of the result, for [`Device::normalise_train`]. The result has the device's precision.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn convolve<'w>(
        &self,
        window: Conv2dParams,
        x: &Operand<'_>,
        w: impl Into<Weights<'w>>,
        bias: Option<&Tensor>,
        norm_rows: Option<&mut Tensor>,
    ) -> Result<Tensor> {
        let (w, stored) = (w.into(), self.precision().dtype());
        self.run(Convolve { window, x: *x, w, bias, norm: norm_rows, stored, backend: self.backend() })
    }

    /// The gradients of [`Device::convolve`]: of its input (under the rule of [`crate::ops`]) and of its parameters.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn convolve_backward(
        &self,
        window: Conv2dParams,
        x: &Operand<'_>,
        w: &Tensor,
        dy: &Incoming<'_>,
        dx: Option<Outgoing<'_>>,
        dw: Option<WeightGrad<'_>>,
    ) -> Result<()> {
        self.run(ConvolveBackward { window, x: *x, w, dy: *dy, dx, dw })
    }

    /// The weights `w` `[out, in, k, k]` as convolutions of images like `x` `[n, h, w, in]` read them, for any `n`: where
    /// weights no longer change this saves prepacking them every time. Nothing where this device gains nothing by it.
    ///
    /// # Errors
    /// As [`Device::convolve`].
    pub fn prepack(
        &self,
        window: Conv2dParams,
        x: &Operand<'_>,
        w: &Tensor,
    ) -> Result<Option<PackedWeights>> {
        check_convolution("prepack", window, x, w)?;
        let (input, out, backend) = (x.tensor.nhwc(), outputs(w), self.backend());
        let len = backend.packed(window, input, out);
        if len == 0 {
            return Ok(None);
        }
        let mut values = self.alloc([len], DType::F32, MemoryCategory::Parameters)?;
        backend.prepack(window, input, w, &mut values);
        let shape = [out, input[3], window.kernel, window.kernel];
        Ok(Some(PackedWeights { values, shape, window, order: backend.order() }))
    }
}
