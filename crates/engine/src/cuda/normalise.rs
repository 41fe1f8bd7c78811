//! BatchNorm: from statistics to scale and shift.

use super::args::extent;
use super::driver::Driver;
use super::launch::Geometry;
use super::program::{Program, entry};
use super::sums::NormGradientArgs;
use crate::Tensor;
use crate::ops::NormConstants;

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

pub(super) fn train(
    driver: &Driver,
    norm: &mut Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running: (&mut Tensor, &mut Tensor),
    count: usize,
    constants: NormConstants,
) {
    // One value has no unbiased variance; the batch's own is the best there is.
    let unbiased = if count > 1 { count as f64 / (count as f64 - 1.0) } else { 1.0 };
    let args = NormaliseArgs::new(norm, weight, bias, (&*running.0, &*running.1), constants);
    NormaliseArgs { unbiased, ..args }.launch(driver, "normalise_train");
}

pub(super) fn eval(
    driver: &Driver,
    norm: &mut Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running: (&Tensor, &Tensor),
    constants: NormConstants,
) {
    NormaliseArgs::new(norm, weight, bias, running, constants).launch(driver, "normalise_eval");
}
