//! Pooling.

use super::args::{Operand as OperandArgs, extent};
use super::driver::Driver;
use super::launch::Geometry;
use super::plane::{self, Plane, ResamplingArgs, ResamplingGradientArgs};
use super::program::{Program, entry};
use super::sums::{BLOCK, across, groups, width};
use crate::Tensor;
use crate::ops::{Operand, Outgoing, Window};

pub(super) static POOL: Program = Program {
    name: "pool.cu",
    source: include_str!("kernels/pool.cu"),
    defines: &[],
    entries: &[
        entry::<ResamplingArgs>("max_pool"),
        entry::<ResamplingGradientArgs>("max_pool_gradient"),
        entry::<AveragesArgs>("average_pool"),
        entry::<ResamplingGradientArgs>("average_pool_gradient"),
    ],
    shared: 0,
};

pub(super) fn max(driver: &Driver, window: Window, x: &Operand<'_>, y: &mut Tensor) {
    plane::resample(driver, (&POOL, "max_pool"), Some(window), x, y);
}

pub(super) fn max_backward(
    driver: &Driver,
    window: Window,
    x: &Operand<'_>,
    dy: &Tensor,
    dx: Outgoing<'_>,
    scratch: u64,
) {
    plane::gradient(driver, (&POOL, "max_pool_gradient"), Some(window), x, dy, dx, scratch);
}

/// `struct Averages` of `kernels/pool.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct AveragesArgs {
    x: OperandArgs,
    result: u64,
    plane: Plane,
    cells: u64,
    channels: u32,
    width: u32,
    across: u32,
    together: u32,
}

/// Pixels of a cell that a thread takes, where there are threads enough.
const PIXELS: usize = 8;

/// Threads along a cell's pixels, when the largest cell has `area` of them.
fn together(area: usize, channels: usize) -> usize {
    area.div_ceil(PIXELS).next_power_of_two().min(BLOCK / across(channels))
}

pub(super) fn average(driver: &Driver, x: &Operand<'_>, y: &mut Tensor) {
    let ([_, h, w, c], [n, oh, ow, _]) = (x.tensor.nhwc(), y.nhwc());
    let (cells, across) = (n * oh * ow, across(c));
    let together = together((h / oh + 2).min(h) * (w / ow + 2).min(w), c);
    let args = AveragesArgs {
        x: OperandArgs::from(x),
        result: y.device_address(),
        plane: Plane::new(x.tensor, y, None),
        cells: cells as u64,
        channels: extent(c),
        width: extent(width(c)),
        across: extent(across),
        together: extent(together),
    };
    let blocks = cells.div_ceil(BLOCK / across / together) * groups(c);
    let geometry = Geometry { grid: [extent(blocks), 1, 1], threads: BLOCK as u32, shared: 0 };
    driver.launch(&POOL, "average_pool", geometry, &args);
}

pub(super) fn average_backward(
    driver: &Driver,
    x: &Operand<'_>,
    dy: &Tensor,
    dx: Outgoing<'_>,
    scratch: u64,
) {
    plane::gradient(driver, (&POOL, "average_pool_gradient"), None, x, dy, dx, scratch);
}
