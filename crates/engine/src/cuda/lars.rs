//! LARS: norms of a whole tensor, then its step.

use super::args::{extent, flag};
use super::geometry::Geometry;
use super::program::{Program, entry};
use super::table::{PIECE, THREADS};
use super::{Cuda, Model};
use crate::backend::Scratch;
use crate::ops::{Kernel, LarsStep};

pub(super) static LARS: Program = Program {
    name: "lars.cu",
    source: include_str!("kernels/lars.cu"),
    defines: &[],
    entries: &[entry::<Args>("lars_squares"), entry::<Args>("lars_ratio"), entry::<Args>("lars_step")],
    shared: 0,
};

/// `struct Lars` of `kernels/lars.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    parameter: u64,
    grad: u64,
    velocity: u64,
    sums: u64,
    length: u64,
    pieces: u32,
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    trust: f32,
    eps: f32,
    nesterov: u32,
    unused: u32,
}

impl Kernel<LarsStep<'_>> for Cuda {
    /// Two sums of every piece, and the ratio.
    fn scratch(_: &Model, op: &LarsStep<'_>) -> Option<usize> {
        Some((2 * op.grad.len().div_ceil(PIECE) + 1) * size_of::<f64>())
    }

    fn launch(&self, op: LarsStep<'_>, (): &mut (), scratch: Scratch<'_>) {
        let (length, o) = (op.grad.len(), op.options);
        let pieces = extent(length.div_ceil(PIECE));
        let args = Args {
            parameter: op.parameter.device_address(),
            grad: op.grad.device_address(),
            velocity: op.velocity.device_address(),
            sums: scratch.device_address(),
            length: length as u64,
            pieces,
            lr: o.lr,
            momentum: o.momentum,
            weight_decay: o.weight_decay,
            trust: o.trust,
            eps: o.eps,
            nesterov: flag(o.nesterov),
            unused: 0,
        };
        let driver = self.driver();
        for (entry, blocks) in [("lars_squares", pieces), ("lars_ratio", 1), ("lars_step", pieces)] {
            let geometry = Geometry { grid: [blocks, 1, 1], threads: THREADS, shared: 0 };
            driver.launch(&LARS, entry, geometry, &args);
        }
    }
}
