//! Pooling.

use super::driver::Driver;
use crate::Tensor;
use crate::ops::{Operand, Outgoing, Window};

pub(super) fn max(_driver: &Driver, _window: Window, _x: &Operand<'_>, _y: &mut Tensor) {}

pub(super) fn max_backward(
    _driver: &Driver,
    _window: Window,
    _x: &Operand<'_>,
    _dy: &Tensor,
    _dx: Outgoing<'_>,
    _scratch: u64,
) {
}

pub(super) fn average(_driver: &Driver, _x: &Operand<'_>, _y: &mut Tensor) {}

pub(super) fn average_backward(
    _driver: &Driver,
    _x: &Operand<'_>,
    _dy: &Tensor,
    _dx: Outgoing<'_>,
    _scratch: u64,
) {
}
