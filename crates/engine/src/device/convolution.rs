//! Convolutions and linear layers.

use super::Device;
use super::checks::*;
use crate::backend::Work;
use crate::memory::Purpose;
use crate::ops::{Incoming, Operand, Outgoing, WeightGrad, Window, norm};
use crate::{Result, Tensor};

impl Device {
    /// Convolution of `x` `[n, h, w, in]` with `w` `[out, in, k, k]`; a linear layer is a 1x1 convolution
    /// of `[n, 1, 1, in]`. With `norm` (`[4, out]`), its rows MEAN and INV_STD receive mean and biased
    /// variance of the result, for [`Device::normalise_train`]. The result has the device's precision.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn convolve(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        bias: Option<&Tensor>,
        norm_rows: Option<&mut Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "convolve";
        let (input, out) = self.check_convolution(OP, window, x, w)?;
        let [n, h, wd, _] = input;
        if let Some(b) = bias {
            vector(OP, b, out)?;
        }
        if let Some(t) = &norm_rows {
            rows(OP, t, norm::ROWS, out)?;
        }
        let (oh, ow) = (window.output(h), window.output(wd));
        let mut y = self.alloc([n, oh, ow, out], self.precision().dtype(), Purpose::Activations)?;
        let work = Work::Convolve { x: input, out, window };
        let mut scratch = self.scratch(&work)?;
        self.count(work.flops());
        self.0.backend.convolve(window, x, w, bias, &mut y, norm_rows, scratch.bytes());
        Ok(y)
    }

    fn check_convolution(
        &self,
        op: &'static str,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
    ) -> Result<([usize; 4], usize)> {
        operand(op, x)?;
        f32_only(op, &[w])?;
        let input = x.tensor.nhwc();
        let out = w.shape().dims().first().copied().unwrap_or(0);
        let k = window.kernel;
        // A window may be of any size that a caller can name.
        let weights = k.checked_mul(k).and_then(|n| n.checked_mul(out)).and_then(|n| n.checked_mul(input[3]));
        ensure(out > 0 && k > 0 && window.stride > 0 && weights == Some(w.len()), op, || {
            format!("weights {:?} for {} channels and a {k}x{k} window", w.shape().dims(), input[3])
        })?;
        ensure(window.pad < k, op, || format!("a border of {} for a {k}x{k} window", window.pad))?;
        let fits = window.output(input[1]) > 0 && window.output(input[2]) > 0;
        ensure(fits && !input.contains(&0), op, || {
            format!("a {k}x{k} window does not fit into {}x{}", input[1], input[2])
        })?;
        Ok((input, out))
    }

    /// The gradients of [`Device::convolve`]: of its input (under the rule of [`crate::ops`]) and of its parameters.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn convolve_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        dy: &Incoming<'_>,
        dx: Option<Outgoing<'_>>,
        dw: Option<WeightGrad<'_>>,
    ) -> Result<()> {
        const OP: &str = "convolve_backward";
        let (input, out) = self.check_convolution(OP, window, x, w)?;
        let [n, h, wd, _] = input;
        let (oh, ow) = (window.output(h), window.output(wd));
        extents(OP, dy.grad, [n, oh, ow, out])?;
        if let Some((raw, coefficients)) = dy.norm {
            same_shape(OP, dy.grad, raw)?;
            rows(OP, coefficients, norm::COEFFICIENTS, out)?;
        }
        if let Some(o) = &dx {
            outgoing(OP, x, o)?;
        }
        if let Some(g) = &dw {
            same_shape(OP, w, g.weight)?;
            if let Some(b) = &g.bias {
                vector(OP, b, out)?;
            }
        }
        let work = Work::ConvolveBackward { x: input, out, window, dx: dx.is_some(), dw: dw.is_some() };
        let mut scratch = self.scratch(&work)?;
        self.count(work.flops());
        self.0.backend.convolve_backward(window, x, w, dy, dx, dw, scratch.bytes());
        Ok(())
    }
}
