//! What kernels take, as they lie in memory: copies of the structs in `kernels/common.cuh`.

use crate::ops;
use crate::{DType, Tensor};

/// A tensor's place; 0 for none.
pub(super) fn at(t: Option<&Tensor>) -> u64 {
    t.map_or(0, Tensor::device_address)
}

/// The number of a type of stored values.
pub(super) fn kind(dtype: DType) -> u32 {
    u32::from(dtype == DType::Bf16)
}

/// A flag.
pub(super) fn flag(set: bool) -> u32 {
    u32::from(set)
}

/// A size; the device's checks keep tensors below what an address can say, and no size of one reaches this.
pub(super) fn extent(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// `struct Operand`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Operand {
    pub(super) data: u64,
    pub(super) norm: u64,
    pub(super) kind: u32,
    pub(super) relu: u32,
}

impl From<&ops::Operand<'_>> for Operand {
    fn from(x: &ops::Operand<'_>) -> Self {
        Operand {
            data: x.tensor.device_address(),
            norm: at(x.norm),
            kind: kind(x.tensor.dtype()),
            relu: flag(x.relu),
        }
    }
}

/// `struct Incoming`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Incoming {
    pub(super) grad: u64,
    pub(super) raw: u64,
    pub(super) coefficients: u64,
    pub(super) kind: u32,
    pub(super) unused: u32,
}

impl From<&ops::Incoming<'_>> for Incoming {
    fn from(g: &ops::Incoming<'_>) -> Self {
        Incoming {
            grad: g.grad.device_address(),
            raw: at(g.norm.map(|n| n.0)),
            coefficients: at(g.norm.map(|n| n.1)),
            kind: kind(g.grad.dtype()),
            unused: 0,
        }
    }
}

/// `struct Outgoing`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Outgoing {
    pub(super) grad: u64,
    /// Where the pieces of the sums go, when sums are wanted.
    pub(super) partials: u64,
    pub(super) kind: u32,
    pub(super) accumulate: u32,
}

impl Outgoing {
    /// `partials`: room for the pieces of the sums.
    pub(super) fn new(dx: &ops::Outgoing<'_>, partials: u64) -> Self {
        Outgoing {
            grad: dx.grad.device_address(),
            partials: if dx.norm.is_some() { partials } else { 0 },
            kind: kind(dx.grad.dtype()),
            accumulate: flag(dx.accumulate),
        }
    }
}
