//! Bilinear resizing.

use super::driver::Driver;
use super::plane::{self, ResamplingArgs, ResamplingGradientArgs};
use super::program::{Program, entry};
use crate::Tensor;
use crate::ops::{Operand, Outgoing};

pub(super) static RESIZE: Program = Program {
    name: "resize.cu",
    source: include_str!("kernels/resize.cu"),
    defines: &[],
    entries: &[entry::<ResamplingArgs>("resize"), entry::<ResamplingGradientArgs>("resize_gradient")],
    shared: 0,
};

pub(super) fn forward(driver: &Driver, x: &Operand<'_>, y: &mut Tensor) {
    plane::resample(driver, (&RESIZE, "resize"), None, x, y);
}

pub(super) fn backward(driver: &Driver, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: u64) {
    plane::gradient(driver, (&RESIZE, "resize_gradient"), None, x, dy, dx, scratch);
}
