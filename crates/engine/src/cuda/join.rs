//! The sum at the end of a residual block.

use super::args::{Operand as OperandArgs, at, extent, flag, kind};
use super::driver::Driver;
use super::launch::Geometry;
use super::program::{Program, entry};
use super::sums::{self, BLOCK, Cut};
use crate::Tensor;
use crate::ops::{NormGrad, Operand};

pub(super) static JOIN: Program = Program {
    name: "join.cu",
    source: include_str!("kernels/join.cu"),
    defines: &[],
    entries: &[entry::<JoinArgs>("join"), entry::<JoinGradientArgs>("join_gradient")],
    shared: 0,
};

/// No operand.
const NONE: OperandArgs = OperandArgs { data: 0, norm: 0, kind: 0, relu: 0 };

/// `struct Join` of `kernels/join.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct JoinArgs {
    a: OperandArgs,
    b: OperandArgs,
    out: u64,
    length: u64,
    kind: u32,
    channels: u32,
    relu: u32,
    unused: u32,
}

pub(super) fn forward(
    driver: &Driver,
    a: &Operand<'_>,
    b: Option<&Operand<'_>>,
    relu: bool,
    out: &mut Tensor,
) {
    let args = JoinArgs {
        a: OperandArgs::from(a),
        b: b.map_or(NONE, OperandArgs::from),
        out: out.device_address(),
        length: out.len() as u64,
        kind: kind(out.dtype()),
        channels: extent(out.nhwc()[3]),
        relu: flag(relu),
        unused: 0,
    };
    let blocks = out.len().div_ceil(8 * BLOCK);
    let geometry = Geometry { grid: [extent(blocks), 1, 1], threads: BLOCK as u32, shared: 0 };
    driver.launch(&JOIN, "join", geometry, &args);
}

/// `struct JoinGradient` of `kernels/join.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct JoinGradientArgs {
    grad: u64,
    out: u64,
    parts: [OperandArgs; 2],
    partials: [u64; 2],
    cut: Cut,
    kind: u32,
    unused: u32,
}

pub(super) fn backward(
    driver: &Driver,
    grad: &mut Tensor,
    out: Option<&Tensor>,
    parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
    scratch: u64,
) {
    if out.is_none() && parts.iter().all(Option::is_none) {
        return;
    }
    let cut = Cut::of(grad);
    // The sums of each part have their own half of the scratch.
    let partials = [scratch, scratch + cut.bytes(2) as u64];
    let wanted = |i: usize| if parts[i].is_some() { partials[i] } else { 0 };
    let args = JoinGradientArgs {
        grad: grad.device_address(),
        out: at(out),
        parts: [0, 1].map(|i| parts[i].as_ref().map_or(NONE, |(x, _)| OperandArgs::from(*x))),
        partials: [wanted(0), wanted(1)],
        cut,
        kind: kind(grad.dtype()),
        unused: 0,
    };
    driver.launch(&JOIN, "join_gradient", cut.geometry(), &args);
    for ((x, norm), partials) in parts.into_iter().zip(partials).filter_map(|(part, at)| Some((part?, at))) {
        sums::finish(driver, x, norm, partials, cut.pieces(), cut.pixels());
    }
}
