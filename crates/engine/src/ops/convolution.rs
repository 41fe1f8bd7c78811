//! Convolutions and linear layers.

use super::checks::*;
use super::traffic::{loaded, looked_at, of, size, written};
use super::{Conv2dParams, Incoming, Label, Operand, Operation, Outgoing, norm};
use crate::backend::Backend;
use crate::{DType, Result, Shape, Tensor};

/// The weights of a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// `[out, in, k, k]`, as they learn. A device prepacks them for itself in every convolution.
    Plain(&'a Tensor),
    /// Packed once, by [`Device::prepack`](crate::Device::prepack): for many convolutions with the same weights.
    PackedWeights(&'a PackedWeights),
}

impl<'a> Weights<'a> {
    /// What is stored of them.
    pub(crate) fn values(self) -> &'a Tensor {
        match self {
            Weights::Plain(w) => w,
            Weights::PackedWeights(w) => &w.values,
        }
    }
}

impl<'a> From<&'a Tensor> for Weights<'a> {
    fn from(w: &'a Tensor) -> Self {
        Weights::Plain(w)
    }
}

impl<'a> From<&'a PackedWeights> for Weights<'a> {
    fn from(w: &'a PackedWeights) -> Self {
        Weights::PackedWeights(w)
    }
}

/// Weights in the order, and transformed as, a device's convolution of images of one size reads them.
#[derive(Debug)]
pub struct PackedWeights {
    /// As many values as the way of computing needs, in an order of the device's own.
    pub(crate) values: Tensor,
    /// `[out, in, k, k]` of the weights.
    pub(crate) shape: [usize; 4],
    /// The convolution that they are for.
    pub(crate) window: Conv2dParams,
    /// Which order it is, of those that a device of this kind may have.
    pub(crate) order: usize,
}

/// Where the gradients of a convolution's parameters go.
#[derive(Debug)]
pub struct WeightGrad<'a> {
    /// `[out, in, k, k]`.
    pub weight: &'a mut Tensor,
    /// `[out]`.
    pub bias: Option<&'a mut Tensor>,
}

/// See [`Device::convolve`](crate::Device::convolve).
pub(crate) struct Convolve<'a> {
    pub(crate) window: Conv2dParams,
    pub(crate) x: Operand<'a>,
    pub(crate) w: Weights<'a>,
    pub(crate) bias: Option<&'a Tensor>,
    pub(crate) norm: Option<&'a mut Tensor>,
    /// What the result is stored in.
    pub(crate) stored: DType,
    /// Whose order weights have that were packed.
    pub(crate) backend: &'a dyn Backend,
}

impl Convolve<'_> {
    /// Output channels.
    pub(crate) fn out(&self) -> usize {
        match self.w {
            Weights::Plain(w) => outputs(w),
            Weights::PackedWeights(w) => w.shape[0],
        }
    }
}

impl Operation for Convolve<'_> {
    const NAME: &'static str = "convolve";

    type Made = Tensor;

    fn check(&self) -> Result<(Shape, DType)> {
        let (window, out) = (self.window, self.out());
        match self.w {
            Weights::Plain(w) => check_convolution(Self::NAME, window, &self.x, w)?,
            Weights::PackedWeights(w) => check_arranged(Self::NAME, window, &self.x, w, self.backend)?,
        }
        if let Some(b) = self.bias {
            vector(Self::NAME, b, out)?;
        }
        if let Some(t) = &self.norm {
            rows(Self::NAME, t, norm::ROWS, out)?;
        }
        Ok((result(window, self.x.tensor, out).into(), self.stored))
    }

    fn bytes(&self) -> usize {
        // Of the normalisation's four rows two are written.
        loaded(&self.x) + size(self.w.values()) + of(self.bias) + of(self.norm.as_deref()) / 2
    }

    fn label(&self) -> Label {
        Label::windowed(Self::NAME, self.window, self.x.tensor.shape(), self.out())
    }

    fn flops(&self) -> u64 {
        flops(self.window, self.x.tensor, self.out())
    }
}

/// See [`Device::convolve_backward`](crate::Device::convolve_backward).
pub(crate) struct ConvolveBackward<'a> {
    pub(crate) window: Conv2dParams,
    pub(crate) x: Operand<'a>,
    pub(crate) w: &'a Tensor,
    pub(crate) dy: Incoming<'a>,
    pub(crate) dx: Option<Outgoing<'a>>,
    pub(crate) dw: Option<WeightGrad<'a>>,
}

impl Operation for ConvolveBackward<'_> {
    const NAME: &'static str = "convolve_backward";

    type Made = ();

    fn check(&self) -> Result<()> {
        let (x, dy, out) = (&self.x, &self.dy, outputs(self.w));
        check_convolution(Self::NAME, self.window, x, self.w)?;
        extents(Self::NAME, dy.grad, result(self.window, x.tensor, out))?;
        if let Some((raw, coefficients)) = dy.norm {
            same_shape(Self::NAME, dy.grad, raw)?;
            rows(Self::NAME, coefficients, norm::COEFFICIENTS, out)?;
        }
        if let Some(o) = &self.dx {
            outgoing(Self::NAME, x, o)?;
        }
        if let Some(g) = &self.dw {
            same_shape(Self::NAME, self.w, g.weight)?;
            if let Some(b) = &g.bias {
                vector(Self::NAME, b, out)?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let (dx, dw) = (self.dx.as_ref(), self.dw.as_ref());
        let behind = self.dy.norm.map_or(0, |(raw, coefficients)| size(raw) + size(coefficients));
        let input = if dw.is_some() { loaded(&self.x) } else { dx.map_or(0, |dx| looked_at(&self.x, dx)) };
        let towards_input = dx.map_or(0, |dx| size(self.w) + written(dx));
        let towards_weights = dw.map_or(0, |g| size(g.weight) + of(g.bias.as_deref()));
        size(self.dy.grad) + behind + input + towards_input + towards_weights
    }

    fn label(&self) -> Label {
        let name = match (&self.dx, &self.dw) {
            (Some(_), Some(_)) => "convolve_backward dx+dw",
            (Some(_), None) => "convolve_backward dx",
            _ => "convolve_backward dw",
        };
        Label::windowed(name, self.window, self.x.tensor.shape(), outputs(self.w))
    }

    fn flops(&self) -> u64 {
        let parts = u64::from(self.dx.is_some()) + u64::from(self.dw.is_some());
        parts * flops(self.window, self.x.tensor, outputs(self.w))
    }
}

/// Output channels of weights `[out, in, k, k]`.
pub(crate) fn outputs(w: &Tensor) -> usize {
    w.shape().dims().first().copied().unwrap_or(0)
}

/// Shape of the result.
fn result(window: Conv2dParams, x: &Tensor, out: usize) -> [usize; 4] {
    let [n, h, w, _] = x.nhwc();
    [n, window.output(h), window.output(w), out]
}

fn flops(window: Conv2dParams, x: &Tensor, out: usize) -> u64 {
    let outputs: usize = result(window, x, out).iter().product();
    (2 * outputs * x.nhwc()[3] * window.kernel * window.kernel) as u64
}

/// The weights' own sizes, and that they were packed for such images.
fn check_arranged(
    op: &'static str,
    window: Conv2dParams,
    x: &Operand<'_>,
    w: &PackedWeights,
    backend: &dyn Backend,
) -> Result<()> {
    operand(op, x)?;
    let (input, [out, ins, k, _]) = (x.tensor.nhwc(), w.shape);
    ensure(ins == input[3] && k == window.kernel, op, || {
        format!("weights {:?} for {} channels and a window of {}", w.shape, input[3], window.kernel)
    })?;
    ensure(w.window == window && w.order == backend.order(), op, || {
        format!("weights that were packed for {:?} and {} lanes", w.window, w.order)
    })?;
    check_window(op, window, input)?;
    let wanted = backend.packed(window, input, out);
    ensure(wanted == w.values.len(), op, || {
        format!("weights that were packed for images of another size than {}x{}", input[1], input[2])
    })
}

pub(crate) fn check_convolution(
    op: &'static str,
    window: Conv2dParams,
    x: &Operand<'_>,
    w: &Tensor,
) -> Result<()> {
    operand(op, x)?;
    f32_only(op, &[w])?;
    let (input, out, k) = (x.tensor.nhwc(), outputs(w), window.kernel);
    // A window may be of any size that a caller can name.
    let weights = k.checked_mul(k).and_then(|n| n.checked_mul(out)).and_then(|n| n.checked_mul(input[3]));
    ensure(out > 0 && k > 0 && window.stride > 0 && weights == Some(w.len()), op, || {
        format!("weights {:?} for {} channels and a {k}x{k} window", w.shape().dims(), input[3])
    })?;
    check_window(op, window, input)
}

/// Whether a window lies within images `[n, h, w, c]` with its border.
fn check_window(op: &'static str, window: Conv2dParams, input: [usize; 4]) -> Result<()> {
    let k = window.kernel;
    ensure(window.pad < k, op, || format!("a border of {} for a {k}x{k} window", window.pad))?;
    let fits = window.output(input[1]) > 0 && window.output(input[2]) > 0;
    ensure(fits && !input.contains(&0), op, || {
        format!("a {k}x{k} window does not fit into {}x{}", input[1], input[2])
    })
}
