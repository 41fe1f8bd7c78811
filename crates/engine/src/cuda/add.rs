//! The sum at the end of a residual block.

use super::args::{Operand as OperandArgs, at, extent, flag, kind};
use super::driver::Driver;
use super::geometry::Geometry;
use super::kernel_choice::Kernels;
use super::normalise;
use super::program::{Entry, Program, entry};
use super::sums::{self, BLOCK, Cut};
use super::template::Template;
use super::{Cuda, Model};
use crate::backend::Scratch;
use crate::ops::{Add, AddBackward, Kernel};
use crate::{DType, Tensor};

const SOURCE: &str = include_str!("kernels/add.cu");
const ENTRIES: &[Entry] = &[entry::<AddArgs>("add"), entry::<AddGradientArgs>("add_gradient")];

pub(super) static ADD: Program =
    Program { name: "add.cu", source: SOURCE, defines: &[], entries: ENTRIES, shared: 0 };

/// The same for one shape, where new kernels are asked for.
static TEMPLATE: Template = Template::new("add.cu", SOURCE, ENTRIES);

/// The program for `channels`, with what is known of both operands, the result's type, and whether it is rectified.
fn program(
    driver: &Driver,
    channels: usize,
    [a, b]: [OperandArgs; 2],
    stored: DType,
    relu: bool,
    second: bool,
) -> &'static Program {
    if driver.kernels == Kernels::Proved {
        return &ADD;
    }
    let numbers = [
        ("CHANNELS", extent(channels)),
        ("WIDTH", extent(sums::width(channels))),
        ("ACROSS", extent(sums::across(channels))),
        ("TYPE_A", a.kind),
        ("NORM_A", flag(a.norm != 0)),
        ("RELU_A", a.relu),
        ("TYPE_B", b.kind),
        ("NORM_B", flag(b.norm != 0)),
        ("RELU_B", b.relu),
        ("SECOND", flag(second)),
        ("TYPE", kind(stored)),
        ("RELU", flag(relu)),
    ];
    TEMPLATE.program(numbers.to_vec(), 0)
}

/// No operand.
const NONE: OperandArgs = OperandArgs { data: 0, norm: 0, kind: 0, relu: 0 };

/// `struct Add` of `kernels/add.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct AddArgs {
    a: OperandArgs,
    b: OperandArgs,
    out: u64,
    length: u64,
    kind: u32,
    channels: u32,
    relu: u32,
    unused: u32,
}

impl Kernel<Add<'_>> for Cuda {
    fn launch(&self, Add { a, b, relu }: Add<'_>, out: &mut Tensor, _: Scratch<'_>) {
        let args = AddArgs {
            a: OperandArgs::from(&a),
            b: b.as_ref().map_or(NONE, OperandArgs::from),
            out: out.device_address(),
            length: out.len() as u64,
            kind: kind(out.dtype()),
            channels: extent(out.nhwc()[3]),
            relu: flag(relu),
            unused: 0,
        };
        let (driver, blocks) = (self.driver(), out.len().div_ceil(8 * BLOCK));
        let geometry = Geometry { grid: [extent(blocks), 1, 1], threads: BLOCK as u32, shared: 0 };
        let program = program(driver, out.nhwc()[3], [args.a, args.b], out.dtype(), relu, b.is_some());
        driver.launch(program, "add", geometry, &args);
    }
}

/// `struct AddGradient` of `kernels/add.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct AddGradientArgs {
    grad: u64,
    out: u64,
    parts: [OperandArgs; 2],
    partials: [u64; 2],
    cut: Cut,
    kind: u32,
    unused: u32,
}

impl Kernel<AddBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &AddBackward<'_>) -> Option<usize> {
        // Two sums of each part.
        Some(sums::scratch(op.grad.nhwc(), 4))
    }

    fn launch(&self, op: AddBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        backward(self.driver(), op, scratch.device_address());
    }
}

fn backward(driver: &Driver, AddBackward { grad, out, parts }: AddBackward<'_>, scratch: u64) {
    if out.is_none() && parts.iter().all(Option::is_none) {
        return;
    }
    let cut = Cut::of(grad);
    // The sums of each part have their own half of the scratch.
    let partials = [scratch, scratch + cut.bytes(2) as u64];
    let wanted = |i: usize| if parts[i].is_some() { partials[i] } else { 0 };
    let args = AddGradientArgs {
        grad: grad.device_address(),
        out: at(out),
        parts: [0, 1].map(|i| parts[i].as_ref().map_or(NONE, |(x, _)| OperandArgs::from(*x))),
        partials: [wanted(0), wanted(1)],
        cut,
        kind: kind(grad.dtype()),
        unused: 0,
    };
    let wanted = |i: usize| OperandArgs { norm: args.partials[i], kind: 0, relu: 0, ..args.parts[i] };
    let channels = grad.nhwc()[3];
    let program = program(driver, channels, [wanted(0), wanted(1)], grad.dtype(), out.is_some(), true);
    driver.launch(program, "add_gradient", cut.geometry(), &args);
    for ((x, norm), partials) in parts.into_iter().zip(partials).filter_map(|(part, at)| Some((part?, at))) {
        normalise::finish(driver, x, norm, partials, cut.pieces(), cut.pixels());
    }
}
