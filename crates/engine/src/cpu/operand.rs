//! Operands and places for gradients, as kernels take them.

use super::channel::SinkNorm;
use super::load::Load;
use crate::Tensor;
use crate::ops::{NormGrad, Operand};

/// What is done to an operand while loading it.
pub(super) fn load<'a>(x: &Operand<'a>) -> Load<'a> {
    Load::new(x.norm.map(Tensor::host), x.relu, x.tensor.nhwc()[3])
}

/// Where the gradients of a normalisation go.
pub(super) fn sink_norm(n: NormGrad<'_>) -> SinkNorm<'_> {
    SinkNorm {
        coefficients: n.coefficients.host_mut(),
        weight: n.weight.map(Tensor::host_mut),
        bias: n.bias.map(Tensor::host_mut),
    }
}
