//! What several operations demand of their arguments.

use crate::ops::{NormGrad, Operand, Outgoing, norm};
use crate::{DType, Error, Result, Tensor};

/// Checks one condition on arguments; the message is only built when it fails.
pub(super) fn ensure(holds: bool, operation: &'static str, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Shape { operation, message: message() }) }
}

/// The same shape and type.
pub(super) fn same_shape(operation: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    let ((x, y), types) = ((a.shape(), b.shape()), (a.dtype(), b.dtype()));
    ensure(types.0 == types.1, operation, || {
        format!("{:?} and {:?} must have the same type", types.0, types.1)
    })?;
    ensure(x == y, operation, || format!("{:?} and {:?} must have the same shape", x.dims(), y.dims()))
}

/// All of one type.
pub(super) fn of_type(operation: &'static str, dtype: DType, t: &Tensor) -> Result<()> {
    ensure(t.dtype() == dtype, operation, || format!("takes values of {dtype:?}, not {:?}", t.dtype()))
}

pub(super) fn f32_only(operation: &'static str, tensors: &[&Tensor]) -> Result<()> {
    tensors.iter().try_for_each(|t| of_type(operation, DType::F32, t))
}

/// Of a type that activations may have.
pub(super) fn floats(operation: &'static str, t: &Tensor) -> Result<()> {
    ensure(t.dtype().holds_activations(), operation, || {
        format!("takes values of F32 or Bf16, not {:?}", t.dtype())
    })
}

/// A tensor `[rows, channels]` of per-channel values.
pub(super) fn rows(operation: &'static str, t: &Tensor, rows: usize, channels: usize) -> Result<()> {
    f32_only(operation, &[t])?;
    ensure(t.shape().dims() == [rows, channels], operation, || {
        format!("per-channel values of shape {:?}, need [{rows}, {channels}]", t.shape().dims())
    })
}

/// A tensor `[channels]`.
pub(super) fn vector(operation: &'static str, t: &Tensor, channels: usize) -> Result<()> {
    f32_only(operation, &[t])?;
    ensure(t.shape().dims() == [channels], operation, || {
        format!("a vector of shape {:?}, need [{channels}]", t.shape().dims())
    })
}

/// A gradient or result of these sizes.
pub(super) fn extents(operation: &'static str, t: &Tensor, need: [usize; 4]) -> Result<()> {
    floats(operation, t)?;
    ensure(t.nhwc() == need, operation, || format!("gradient {:?}, need {need:?}", t.shape().dims()))
}

pub(super) fn operand(operation: &'static str, x: &Operand<'_>) -> Result<()> {
    floats(operation, x.tensor)?;
    match x.norm {
        Some(n) => rows(operation, n, norm::ROWS, x.tensor.nhwc()[3]),
        None => Ok(()),
    }
}

pub(super) fn norm_grad(operation: &'static str, x: &Operand<'_>, grad: &NormGrad<'_>) -> Result<()> {
    let c = x.tensor.nhwc()[3];
    ensure(x.norm.is_some(), operation, || "sums for a normalisation that the operand does not have".into())?;
    rows(operation, grad.coefficients, norm::COEFFICIENTS, c)?;
    for t in [&grad.weight, &grad.bias].into_iter().flatten() {
        vector(operation, t, c)?;
    }
    Ok(())
}

pub(super) fn outgoing(operation: &'static str, x: &Operand<'_>, out: &Outgoing<'_>) -> Result<()> {
    same_shape(operation, x.tensor, out.grad)?;
    out.norm.as_ref().map_or(Ok(()), |n| norm_grad(operation, x, n))
}
