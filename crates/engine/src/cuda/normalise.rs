//! BatchNorm: from statistics to scale and shift.

use super::driver::Driver;
use crate::Tensor;
use crate::ops::NormConstants;

pub(super) fn train(
    _driver: &Driver,
    _norm: &mut Tensor,
    _weight: &Tensor,
    _bias: &Tensor,
    _running: (&mut Tensor, &mut Tensor),
    _count: usize,
    _constants: NormConstants,
) {
}

pub(super) fn eval(
    _driver: &Driver,
    _norm: &mut Tensor,
    _weight: &Tensor,
    _bias: &Tensor,
    _running: (&Tensor, &Tensor),
    _constants: NormConstants,
) {
}
