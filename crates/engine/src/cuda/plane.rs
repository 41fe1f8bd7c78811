//! Operations between images of different sizes: what pooling and resizing have in common.

use super::args::{Operand as OperandArgs, Outgoing as OutgoingArgs, extent, kind};
use super::driver::Driver;
use super::geometry::Geometry;
use super::normalise;
use super::program::Program;
use super::sums::{self, BLOCK, Cut, width};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Conv2dParams, Operand, Outgoing};

/// `struct Plane` of `kernels/outgoing.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct PlaneArgs {
    h: u32,
    w: u32,
    result_h: u32,
    result_w: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
    unused: u32,
}

impl PlaneArgs {
    /// From the operand to the result of an operation, over windows if it has any.
    pub(super) fn new(x: &Tensor, result: &Tensor, window: Option<Conv2dParams>) -> Self {
        let ([_, h, w, _], [_, result_h, result_w, _]) = (x.nhwc().map(extent), result.nhwc().map(extent));
        let Conv2dParams { kernel, stride, pad } =
            window.unwrap_or(Conv2dParams { kernel: 1, stride: 1, pad: 0 });
        let [kernel, stride, pad] = [kernel, stride, pad].map(extent);
        PlaneArgs { h, w, result_h, result_w, kernel, stride, pad, unused: 0 }
    }
}

/// `struct Resampling` of `kernels/outgoing.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct ResamplingArgs {
    x: OperandArgs,
    result: u64,
    plane: PlaneArgs,
    length: u64,
    kind: u32,
    channels: u32,
    width: u32,
    unused: u32,
}

/// `struct ResamplingGradient` of `kernels/outgoing.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct ResamplingGradientArgs {
    x: OperandArgs,
    dx: OutgoingArgs,
    grad: u64,
    plane: PlaneArgs,
    cut: Cut,
    kind: u32,
    unused: u32,
}

/// A kernel of a program.
pub(super) type Kernel = (&'static Program, &'static str);

/// Each value of `y` from a few of `x`.
pub(super) fn resample(
    driver: &Driver,
    kernel: Kernel,
    window: Option<Conv2dParams>,
    x: &Operand<'_>,
    y: &Tensor,
) {
    let channels = y.nhwc()[3];
    let args = ResamplingArgs {
        x: OperandArgs::from(x),
        result: y.device_address(),
        plane: PlaneArgs::new(x.tensor, y, window),
        length: y.len() as u64,
        kind: kind(y.dtype()),
        channels: extent(channels),
        width: extent(width(channels)),
        unused: 0,
    };
    let blocks = (y.len() / width(channels)).div_ceil(BLOCK);
    let geometry = Geometry { grid: [extent(blocks), 1, 1], threads: BLOCK as u32, shared: 0 };
    driver.launch(kernel.0, kernel.1, geometry, &args);
}

/// Bytes of scratch of [`gradient`].
pub(super) fn scratch(x: &Operand<'_>) -> usize {
    sums::scratch(x.tensor.nhwc(), 2)
}

/// The gradient of `x` from that of the result, and of its normalisation.
pub(super) fn gradient(
    driver: &Driver,
    kernel: Kernel,
    window: Option<Conv2dParams>,
    x: &Operand<'_>,
    dy: &Tensor,
    dx: Outgoing<'_>,
    scratch: Scratch<'_>,
) {
    let scratch = scratch.device_address();
    let cut = Cut::of(x.tensor);
    let args = ResamplingGradientArgs {
        x: OperandArgs::from(x),
        dx: OutgoingArgs::new(&dx, scratch),
        grad: dy.device_address(),
        plane: PlaneArgs::new(x.tensor, dy, window),
        cut,
        kind: kind(dy.dtype()),
        unused: 0,
    };
    driver.launch(kernel.0, kernel.1, cut.geometry(), &args);
    if let Some(norm) = dx.norm {
        normalise::finish(driver, x, norm, scratch, cut.pieces(), cut.pixels());
    }
}
