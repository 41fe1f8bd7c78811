//! Convolutions with kernels of their own: everything is a constant when a kernel is compiled, but the number of images.
//!
//! NVRTC compiles on the machine at hand, so a network's few dozen shapes each get a kernel without divisions by what is
//! known only at run time and without branches on types. How work is cut, and so the result to the bit, depends on
//! sizes and on how much shared memory devices of a kind have.

mod convolution;
mod kernels;
mod program;
mod shape;
mod weight_gradient;

pub(super) use convolution::{backward, backward_scratch, fits, forward, forward_scratch};
pub(super) use weight_gradient::{
    fits as fits_weight_gradient, run as weight_gradient, scratch as weight_gradient_scratch,
};

pub(super) use kernels::Kernels;
pub(super) use program::Template;

use super::args::{at, kind};
use crate::DType;
use crate::ops::{Incoming, Operand};

/// Some programs of every source, for tests of these.
#[cfg(test)]
pub(super) fn programs() -> Vec<&'static super::program::Program> {
    [convolution::programs(), weight_gradient::programs()].concat()
}

/// How a source becomes an operand, as in `kernels/specialised/values.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    Scaled,
    Corrected,
}

/// What is loaded: an operand, or a gradient with its normalisation's backward.
#[derive(Clone, Copy, Debug)]
struct Source {
    data: u64,
    raw: u64,
    factors: u64,
    dtype: DType,
    how: How,
    relu: bool,
}

impl From<&Operand<'_>> for Source {
    fn from(x: &Operand<'_>) -> Self {
        let how = if x.norm.is_some() { How::Scaled } else { How::Plain };
        let (data, dtype) = (x.tensor.device_address(), x.tensor.dtype());
        Source { data, raw: 0, factors: at(x.norm), dtype, how, relu: x.relu }
    }
}

impl From<&Incoming<'_>> for Source {
    fn from(g: &Incoming<'_>) -> Self {
        let how = if g.norm.is_some() { How::Corrected } else { How::Plain };
        let (raw, factors) = (at(g.norm.map(|n| n.0)), at(g.norm.map(|n| n.1)));
        let (data, dtype) = (g.grad.device_address(), g.grad.dtype());
        Source { data, raw, factors, dtype, how, relu: false }
    }
}

impl Source {
    /// Whether asynchronous copies bring it, as in `kernels/specialised/loading.cuh`.
    fn copies(dtype: DType, product: super::convolution::Product, channels: usize) -> bool {
        dtype.bytes() == product.bytes() && channels.is_multiple_of(16 / product.bytes())
    }

    /// What is defined for it.
    fn defines(&self, prefix: [&'static str; 2]) -> [(&'static str, u32); 2] {
        [(prefix[0], kind(self.dtype)), (prefix[1], self.how as u32)]
    }
}
