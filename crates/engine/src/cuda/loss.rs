//! Losses per sample, and their sums.

use super::args::{at, extent};
use super::driver::Driver;
use super::geometry::Geometry;
use super::program::{Program, entry};
use super::{Cuda, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{CrossEntropy, Kernel, Reconstruction, report};

pub(super) static LOSS: Program = Program {
    name: "loss.cu",
    source: include_str!("kernels/loss.cu"),
    defines: &[],
    entries: &[
        entry::<CrossEntropyArgs>("cross_entropy"),
        entry::<ReconstructionArgs>("reconstruction"),
        entry::<TotalArgs>("loss_total"),
    ],
    shared: 0,
};

/// Threads of a block, and samples of one where a warp has a sample.
pub(super) const THREADS: u32 = 256;
const WARPS: usize = THREADS as usize / 32;

/// Threads of a block that has a sample's pixels.
const PIXEL_THREADS: u32 = 384;

/// `struct CrossEntropy` of `kernels/loss.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct CrossEntropyArgs {
    logits: u64,
    labels: u64,
    other: u64,
    share: u64,
    grad: u64,
    losses: u64,
    wrong: u64,
    samples: u32,
    classes: u32,
    factor: f32,
    unused: u32,
}

/// `struct Reconstruction` of `kernels/loss.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct ReconstructionArgs {
    raw: u64,
    images: u64,
    grad: u64,
    losses: u64,
    length: u64,
    mean: [f32; 3],
    std: [f32; 3],
    factor: f32,
    unused: u32,
}

/// `struct Total` of `kernels/loss.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct TotalArgs {
    losses: u64,
    wrong: u64,
    row: u64,
    divisor: f64,
    samples: u32,
    both: u32,
}

/// Bytes for `each` numbers a sample.
pub(super) fn scratch(n: usize, each: usize) -> usize {
    n * each * size_of::<f32>()
}

/// Blocks where each warp has a sample.
pub(super) fn by_warps(samples: usize) -> Geometry {
    Geometry { grid: [extent(samples.div_ceil(WARPS)), 1, 1], threads: THREADS, shared: 0 }
}

/// The `i`-th of 32-bit numbers.
pub(super) fn number(address: u64, i: usize) -> u64 {
    address + (i * size_of::<f32>()) as u64
}

/// What a loss leaves per sample, and over how much its mean is taken.
pub(super) struct Parts {
    pub(super) losses: u64,
    /// 0 where nothing is classified.
    pub(super) wrong: u64,
    pub(super) samples: usize,
    pub(super) divisor: usize,
    /// Whether the column of the wrong is written.
    pub(super) both: bool,
}

/// Sums up into row `row` of a loss table.
pub(super) fn total(driver: &Driver, parts: &Parts, values: &Tensor, row: usize) {
    let args = TotalArgs {
        losses: parts.losses,
        wrong: parts.wrong,
        row: number(values.device_address(), row * report::COLUMNS),
        divisor: parts.divisor as f64,
        samples: extent(parts.samples),
        both: parts.both.into(),
    };
    driver.launch(&LOSS, "loss_total", Geometry { grid: [1; 3], threads: THREADS, shared: 0 }, &args);
}

impl Kernel<CrossEntropy<'_>> for Cuda {
    fn scratch(_: &Model, op: &CrossEntropy<'_>) -> Option<usize> {
        Some(scratch(op.labels.own.len(), 2))
    }

    fn launch(&self, op: CrossEntropy<'_>, (): &mut (), scratch: Scratch<'_>) {
        let CrossEntropy { logits, labels, target } = op;
        let (driver, scratch) = (self.driver(), scratch.device_address());
        let (n, classes) = (labels.own.len(), logits.nhwc()[3]);
        let (losses, wrong) = (scratch, number(scratch, n));
        let args = CrossEntropyArgs {
            logits: logits.device_address(),
            labels: labels.own.device_address(),
            other: at(labels.mixed.map(|m| m.other)),
            share: at(labels.mixed.map(|m| m.share)),
            grad: at(target.grad.as_deref()),
            losses,
            wrong,
            samples: extent(n),
            classes: extent(classes),
            factor: target.weight / n as f32,
            unused: 0,
        };
        driver.launch(&LOSS, "cross_entropy", by_warps(n), &args);
        let parts = Parts { losses, wrong, samples: n, divisor: n, both: true };
        total(driver, &parts, target.values, target.row);
    }
}

impl Kernel<Reconstruction<'_>> for Cuda {
    fn scratch(_: &Model, op: &Reconstruction<'_>) -> Option<usize> {
        Some(scratch(op.raw.nhwc()[0], 1))
    }

    fn launch(&self, op: Reconstruction<'_>, (): &mut (), scratch: Scratch<'_>) {
        let Reconstruction { raw, images, scale, target } = op;
        let (driver, scratch) = (self.driver(), scratch.device_address());
        let (n, values) = (raw.nhwc()[0], raw.len());
        let args = ReconstructionArgs {
            raw: raw.device_address(),
            images: images.device_address(),
            grad: at(target.grad.as_deref()),
            losses: scratch,
            length: (values / n.max(1)) as u64,
            mean: scale.mean,
            std: scale.std,
            factor: target.weight / values as f32,
            unused: 0,
        };
        let geometry = Geometry { grid: [extent(n), 1, 1], threads: PIXEL_THREADS, shared: 0 };
        driver.launch(&LOSS, "reconstruction", geometry, &args);
        let parts = Parts { losses: scratch, wrong: 0, samples: n, divisor: values, both: false };
        total(driver, &parts, target.values, target.row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_a_warp() {
        for (samples, blocks) in [(1, 1), (8, 1), (9, 2), (1024, 128)] {
            assert_eq!(by_warps(samples).grid, [blocks, 1, 1]);
        }
        assert_eq!((scratch(7, 2), number(64, 3)), (56, 76));
    }
}
