//! Convolutions and the gradients of their inputs.

use super::driver::Driver;
use crate::Tensor;
use crate::ops::{Incoming, Operand, Outgoing, Window};

pub(super) fn forward_scratch(_x: [usize; 4], _out: usize, _window: Window) -> usize {
    0
}

pub(super) fn backward_scratch(_x: [usize; 4], _out: usize, _window: Window) -> usize {
    0
}

#[allow(clippy::too_many_arguments)] // An operation's operands, each of another kind.
pub(super) fn forward(
    _driver: &Driver,
    _window: Window,
    _x: &Operand<'_>,
    _w: &Tensor,
    _bias: Option<&Tensor>,
    _y: &mut Tensor,
    _norm: Option<&mut Tensor>,
    _scratch: u64,
) {
}

pub(super) fn backward(
    _driver: &Driver,
    _window: Window,
    _x: &Operand<'_>,
    _w: &Tensor,
    _dy: &Incoming<'_>,
    _dx: Outgoing<'_>,
    _scratch: u64,
) {
}
