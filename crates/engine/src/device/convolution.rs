//! Convolutions and linear layers.

use super::Device;
use super::checks::*;
use crate::backend::Work;
use crate::memory::Purpose;
use crate::ops::{Arranged, Incoming, Operand, Outgoing, WeightGrad, Weights, Window, norm};
use crate::{DType, Result, Tensor};

impl Device {
    /// Convolution of `x` `[n, h, w, in]` with `w` `[out, in, k, k]`; a linear layer is a 1x1 convolution
    /// of `[n, 1, 1, in]`. With `norm` (`[4, out]`), its rows MEAN and INV_STD receive mean and biased
    /// variance of the result, for [`Device::normalise_train`]. The result has the device's precision.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn convolve<'w>(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: impl Into<Weights<'w>>,
        bias: Option<&Tensor>,
        norm_rows: Option<&mut Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "convolve";
        let w = w.into();
        let (input, out) = match w {
            Weights::Plain(w) => self.check_convolution(OP, window, x, w)?,
            Weights::Arranged(w) => self.check_arranged(OP, window, x, w)?,
        };
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

    /// The weights `w` `[out, in, k, k]` as convolutions of images like `x` `[n, h, w, in]` read them, for any `n`: where
    /// weights no longer change this saves arranging them every time. Nothing where this device gains nothing by it.
    ///
    /// # Errors
    /// As [`Device::convolve`].
    pub fn arrange(&self, window: Window, x: &Operand<'_>, w: &Tensor) -> Result<Option<Arranged>> {
        const OP: &str = "arrange";
        let (input, out) = self.check_convolution(OP, window, x, w)?;
        let len = self.0.backend.arranged(window, input, out);
        if len == 0 {
            return Ok(None);
        }
        let mut values = self.alloc([len], DType::F32, Purpose::Parameters)?;
        self.0.backend.arrange(window, input, w, &mut values);
        let (shape, order) = ([out, input[3], window.kernel, window.kernel], self.0.backend.order());
        Ok(Some(Arranged { values, shape, window, order }))
    }

    /// As [`Device::check_convolution`]: the weights' own extents, and that they were arranged for such images.
    fn check_arranged(
        &self,
        op: &'static str,
        window: Window,
        x: &Operand<'_>,
        w: &Arranged,
    ) -> Result<([usize; 4], usize)> {
        operand(op, x)?;
        let (input, [out, ins, k, _]) = (x.tensor.nhwc(), w.shape);
        ensure(ins == input[3] && k == window.kernel, op, || {
            format!("weights {:?} for {} channels and a window of {}", w.shape, input[3], window.kernel)
        })?;
        ensure(w.window == window && w.order == self.0.backend.order(), op, || {
            format!("weights that were arranged for {:?} and {} lanes", w.window, w.order)
        })?;
        check_window(op, window, input)?;
        let wanted = self.0.backend.arranged(window, input, out);
        ensure(wanted == w.values.len(), op, || {
            format!("weights that were arranged for images of another size than {}x{}", input[1], input[2])
        })?;
        Ok((input, out))
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
        check_window(op, window, input)?;
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

/// Whether a window lies within images `[n, h, w, c]` with its border.
fn check_window(op: &'static str, window: Window, input: [usize; 4]) -> Result<()> {
    let k = window.kernel;
    ensure(window.pad < k, op, || format!("a border of {} for a {k}x{k} window", window.pad))?;
    let fits = window.output(input[1]) > 0 && window.output(input[2]) > 0;
    ensure(fits && !input.contains(&0), op, || {
        format!("a {k}x{k} window does not fit into {}x{}", input[1], input[2])
    })
}
