//! Gradients of a convolution's parameters.

use super::driver::Driver;
use crate::ops::{Incoming, Operand, WeightGrad, Window};

pub(super) fn scratch(_x: [usize; 4], _out: usize, _window: Window) -> usize {
    0
}

pub(super) fn run(
    _driver: &Driver,
    _window: Window,
    _x: &Operand<'_>,
    _dy: &Incoming<'_>,
    _dw: WeightGrad<'_>,
    _scratch: u64,
) {
}
