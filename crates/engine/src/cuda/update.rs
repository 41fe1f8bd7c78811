//! Updates of parameters, copies and sums.

use super::driver::Driver;
use crate::Tensor;
use crate::ops::Sgd;

/// Updates that wait to be asked for together: a network has hundreds of small parameters.
#[derive(Default)]
pub(super) struct Pending {}

impl Pending {
    /// Asks for all that waits.
    pub(super) fn flush(&self, _driver: &Driver) {}

    pub(super) fn sgd(
        &self,
        _driver: &Driver,
        _parameter: &mut Tensor,
        _grad: &Tensor,
        _velocity: &mut Tensor,
        _options: Sgd,
    ) {
    }

    pub(super) fn ema(&self, _driver: &Driver, _target: &mut Tensor, _source: &Tensor, _m: f32) {}
}

pub(super) fn add(_driver: &Driver, _target: &mut Tensor, _source: &Tensor) {}

pub(super) fn fill(_driver: &Driver, _tensor: &mut Tensor, _value: f32) {}
