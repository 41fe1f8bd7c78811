//! BatchNorm: from statistics to scale and shift, and from sums of a gradient to the gradients of the normalisation.

use super::Cuda;
use super::args::{at, extent};
use super::driver::Driver;
use super::geometry::Geometry;
use super::program::{Program, entry};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Kernel, NormConstants, NormGrad, NormaliseEval, NormaliseTrain, Operand};

pub(super) static NORMALISE: Program = Program {
    name: "normalise.cu",
    source: include_str!("kernels/normalise.cu"),
    defines: &[],
    entries: &[
        entry::<NormaliseArgs>("normalise_train"),
        entry::<NormaliseArgs>("normalise_eval"),
        entry::<NormGradientArgs>("finish_norm_gradient"),
    ],
    shared: 0,
};

/// `struct Normalise` of `kernels/normalise.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct NormaliseArgs {
    norm: u64,
    weight: u64,
    bias: u64,
    running_mean: u64,
    running_variance: u64,
    unbiased: f64,
    eps: f32,
    momentum: f32,
    channels: u32,
    unused: u32,
}

impl NormaliseArgs {
    fn new(
        norm: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) -> Self {
        NormaliseArgs {
            norm: norm.device_address(),
            weight: weight.device_address(),
            bias: bias.device_address(),
            running_mean: running.0.device_address(),
            running_variance: running.1.device_address(),
            unbiased: 1.0,
            eps: constants.eps,
            momentum: constants.momentum,
            channels: extent(weight.len()),
            unused: 0,
        }
    }

    fn launch(&self, driver: &Driver, entry: &'static str) {
        let geometry = Geometry { grid: [self.channels.div_ceil(128), 1, 1], threads: 128, shared: 0 };
        driver.launch(&NORMALISE, entry, geometry, self);
    }
}

/// `struct NormGradient` of `kernels/normalise.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct NormGradientArgs {
    partials: u64,
    norm: u64,
    coefficients: u64,
    weight: u64,
    bias: u64,
    pixels: u64,
    pieces: u32,
    channels: u32,
}

/// From pieces of sums `[pieces][2][c]` to the gradients of the normalisation of `x`; `pixels`: values a channel.
pub(super) fn finish(
    driver: &Driver,
    x: &Operand<'_>,
    norm: NormGrad<'_>,
    partials: u64,
    pieces: usize,
    pixels: usize,
) {
    let channels = x.tensor.nhwc()[3];
    let args = NormGradientArgs {
        partials,
        norm: at(x.norm),
        coefficients: norm.coefficients.device_address(),
        weight: at(norm.weight.as_deref()),
        bias: at(norm.bias.as_deref()),
        pixels: pixels as u64,
        pieces: extent(pieces),
        channels: extent(channels),
    };
    let geometry = Geometry { grid: [extent(channels.div_ceil(8)), 1, 1], threads: 1024, shared: 0 };
    driver.launch(&NORMALISE, "finish_norm_gradient", geometry, &args);
}

impl Kernel<NormaliseTrain<'_>> for Cuda {
    fn launch(&self, op: NormaliseTrain<'_>, (): &mut (), _: Scratch<'_>) {
        // One value has no unbiased variance; the batch's own is the best there is.
        let unbiased = if op.count > 1 { op.count as f64 / (op.count as f64 - 1.0) } else { 1.0 };
        let running = (&*op.running.0, &*op.running.1);
        let args = NormaliseArgs::new(op.norm, op.weight, op.bias, running, op.constants);
        NormaliseArgs { unbiased, ..args }.launch(self.driver(), "normalise_train");
    }
}

impl Kernel<NormaliseEval<'_>> for Cuda {
    fn launch(&self, op: NormaliseEval<'_>, (): &mut (), _: Scratch<'_>) {
        let args = NormaliseArgs::new(op.norm, op.weight, op.bias, op.running, op.constants);
        args.launch(self.driver(), "normalise_eval");
    }
}
