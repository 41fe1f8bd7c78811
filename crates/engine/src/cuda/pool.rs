//! Pooling.

use super::args::{Operand as OperandArgs, extent};
use super::driver::Driver;
use super::geometry::Geometry;
use super::plane::{self, PlaneArgs, ResamplingArgs, ResamplingGradientArgs};
use super::program::{Program, entry};
use super::sums::{BLOCK, across, groups, width};
use super::{Cuda, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{AveragePool, AveragePoolBackward, Kernel, MaxPool, MaxPoolBackward, Operand};

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

impl Kernel<MaxPool<'_>> for Cuda {
    fn launch(&self, op: MaxPool<'_>, y: &mut Tensor, _: Scratch<'_>) {
        plane::resample(self.driver(), (&POOL, "max_pool"), Some(op.window), &op.x, y);
    }
}

impl Kernel<MaxPoolBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &MaxPoolBackward<'_>) -> Option<usize> {
        Some(plane::scratch(&op.x))
    }

    fn launch(&self, op: MaxPoolBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let MaxPoolBackward { window, x, dy, dx } = op;
        plane::gradient(self.driver(), (&POOL, "max_pool_gradient"), Some(window), &x, dy, dx, scratch);
    }
}

impl Kernel<AveragePool<'_>> for Cuda {
    fn launch(&self, op: AveragePool<'_>, y: &mut Tensor, _: Scratch<'_>) {
        average(self.driver(), &op.x, y);
    }
}

impl Kernel<AveragePoolBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &AveragePoolBackward<'_>) -> Option<usize> {
        Some(plane::scratch(&op.x))
    }

    fn launch(&self, op: AveragePoolBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let AveragePoolBackward { x, dy, dx } = op;
        plane::gradient(self.driver(), (&POOL, "average_pool_gradient"), None, &x, dy, dx, scratch);
    }
}

/// `struct Averages` of `kernels/pool.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct AveragesArgs {
    x: OperandArgs,
    result: u64,
    plane: PlaneArgs,
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

fn average(driver: &Driver, x: &Operand<'_>, y: &Tensor) {
    let ([_, h, w, c], [n, oh, ow, _]) = (x.tensor.nhwc(), y.nhwc());
    let (cells, across) = (n * oh * ow, across(c));
    let together = together((h / oh + 2).min(h) * (w / ow + 2).min(w), c);
    let args = AveragesArgs {
        x: OperandArgs::from(x),
        result: y.device_address(),
        plane: PlaneArgs::new(x.tensor, y, None),
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
