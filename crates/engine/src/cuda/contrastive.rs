//! The contrastive loss: two matrix products over pairs of samples, and passes over samples between them.

use super::args::{at, extent};
use super::geometry::Geometry;
use super::loss::{self, Parts, THREADS, by_warps, number, total};
use super::program::{Program, entry};
use super::{Cuda, Model};
use crate::backend::Scratch;
use crate::ops::{Contrastive, Kernel};

pub(super) static CONTRASTIVE: Program = Program {
    name: "contrastive.cu",
    source: include_str!("kernels/contrastive.cu"),
    defines: &[],
    entries: &[
        entry::<Args>("contrastive_unit"),
        entry::<Args>("contrastive_similarities"),
        entry::<Args>("contrastive_anchors"),
        entry::<Args>("contrastive_pairs"),
        entry::<Args>("contrastive_lengths"),
    ],
    shared: 0,
};

/// Side of the part of a product that a block has.
const TILE: usize = 32;

/// `struct Contrastive` of `kernels/contrastive.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    features: u64,
    labels: u64,
    grad: u64,
    unit: u64,
    lengths: u64,
    similarities: u64,
    losses: u64,
    logarithms: u64,
    shares: u64,
    samples: u32,
    width: u32,
    temperature: f32,
    factor: f32,
}

/// A product of `rows` by `columns`.
fn by_tiles(rows: usize, columns: usize) -> Geometry {
    let tiles = |n: usize| extent(n.div_ceil(TILE));
    Geometry { grid: [tiles(columns), tiles(rows), 1], threads: THREADS, shared: 0 }
}

impl Kernel<Contrastive<'_>> for Cuda {
    /// It uses samples · (samples + features + 4) numbers of it.
    fn scratch(_: &Model, op: &Contrastive<'_>) -> Option<usize> {
        Some(loss::scratch(op.labels.len(), op.each()))
    }

    fn launch(&self, op: Contrastive<'_>, (): &mut (), scratch: Scratch<'_>) {
        let Contrastive { features, labels, temperature, target } = op;
        let (driver, scratch) = (self.driver(), scratch.device_address());
        let (n, width) = (labels.len(), features.nhwc()[3]);
        let per_sample = |i: usize| number(scratch, n * (n + width + i));
        let args = Args {
            features: features.device_address(),
            labels: labels.device_address(),
            grad: at(target.grad.as_deref()),
            similarities: scratch,
            unit: number(scratch, n * n),
            lengths: per_sample(0),
            losses: per_sample(1),
            logarithms: per_sample(2),
            shares: per_sample(3),
            samples: extent(n),
            width: extent(width),
            temperature,
            factor: target.weight / (n as f32 * temperature),
        };
        let launch = |entry, geometry| driver.launch(&CONTRASTIVE, entry, geometry, &args);
        launch("contrastive_unit", by_warps(n));
        launch("contrastive_similarities", by_tiles(n, n));
        launch("contrastive_anchors", by_warps(n));
        let parts = Parts { losses: args.losses, wrong: 0, samples: n, divisor: n, both: true };
        total(driver, &parts, target.values, target.row);
        if target.grad.is_some() {
            launch("contrastive_pairs", by_tiles(n, width));
            launch("contrastive_lengths", by_warps(n));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_the_product() {
        assert_eq!(by_tiles(1, 1).grid, [1, 1, 1]);
        assert_eq!(by_tiles(33, 128).grid, [4, 2, 1]);
        assert_eq!(by_tiles(4096, 4096).grid, [128, 128, 1]);
    }
}
