//! What kernels load: an operand, or a gradient with its normalisation.

use super::super::args::{at, kind};
use super::super::convolution::Product;
use crate::DType;
use crate::ops::{Incoming, Operand};

/// How a source becomes an operand, as in `kernels/specialised/values.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    Plain,
    Scaled,
    Corrected,
}

/// What is loaded: an operand, or a gradient with its normalisation's backward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loaded {
    pub data: u64,
    pub raw: u64,
    pub factors: u64,
    pub dtype: DType,
    pub how: Transform,
    pub relu: bool,
}

impl From<&Operand<'_>> for Loaded {
    fn from(x: &Operand<'_>) -> Self {
        let how = if x.norm.is_some() { Transform::Scaled } else { Transform::Plain };
        let (data, dtype) = (x.tensor.device_address(), x.tensor.dtype());
        Loaded { data, raw: 0, factors: at(x.norm), dtype, how, relu: x.relu }
    }
}

impl From<&Incoming<'_>> for Loaded {
    fn from(g: &Incoming<'_>) -> Self {
        let how = if g.norm.is_some() { Transform::Corrected } else { Transform::Plain };
        let (raw, factors) = (at(g.norm.map(|n| n.0)), at(g.norm.map(|n| n.1)));
        let (data, dtype) = (g.grad.device_address(), g.grad.dtype());
        Loaded { data, raw, factors, dtype, how, relu: false }
    }
}

impl Loaded {
    /// Whether asynchronous copies bring it, as in `kernels/specialised/loading.cuh`.
    pub fn copies(dtype: DType, product: Product, channels: usize) -> bool {
        dtype.bytes() == product.bytes() && channels.is_multiple_of(16 / product.bytes())
    }

    /// What is defined for it.
    pub fn defines(&self, prefix: [&'static str; 2]) -> [(&'static str, u32); 2] {
        [(prefix[0], kind(self.dtype)), (prefix[1], self.how as u32)]
    }
}
