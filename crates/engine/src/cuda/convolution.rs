//! Convolutions and the gradients of their inputs.

use super::args::{Operand as OperandArgs, at, extent, flag, kind};
use super::driver::Driver;
use super::geometry::Geometry;
use super::normalise;
use super::program::{Entry, Program, entry};
use super::tiles::{BLOCKS, Pass, SLOTS, TilesArgs, Tiling};
use crate::ops::{Conv2dParams, Incoming, Operand, Outgoing};
use crate::{DType, Tensor};

const SOURCE: &str = include_str!("kernels/convolve.cu");
const ENTRIES: &[Entry] = &[entry::<PackArgs>("pack_weights"), entry::<ConvolveArgs>("convolve")];

/// Threads of a block of `convolve`.
const THREADS: u32 = 128;

/// Shared memory that a block of `convolve` is laid out for where it can be: three blocks a multiprocessor.
const SHARED: usize = 72 << 10;

/// The most that one may take: what every device of capability 8 or later gives a block.
const SHARED_LIMIT: u32 = 99 << 10;

const fn program(defines: &'static [(&'static str, u32)]) -> Program {
    Program { name: "convolve.cu", source: SOURCE, defines, entries: ENTRIES, shared: SHARED_LIMIT }
}

/// By product (as in `kernels/tensor_core.cuh`) and channels of a block.
static PROGRAMS: [[Program; 3]; 2] = [
    [
        program(&[("PRODUCT", 0), ("COLUMNS", 2)]),
        program(&[("PRODUCT", 0), ("COLUMNS", 4)]),
        program(&[("PRODUCT", 0), ("COLUMNS", 8)]),
    ],
    [
        program(&[("PRODUCT", 1), ("COLUMNS", 2)]),
        program(&[("PRODUCT", 1), ("COLUMNS", 4)]),
        program(&[("PRODUCT", 1), ("COLUMNS", 8)]),
    ],
];

static STATISTICS: Program = Program {
    name: "statistics.cu",
    source: include_str!("kernels/statistics.cu"),
    defines: &[],
    entries: &[entry::<StatisticsArgs>("finish_statistics")],
    shared: 0,
};

/// Everything that this file launches.
#[cfg(test)]
pub(super) fn programs() -> Vec<&'static Program> {
    PROGRAMS.iter().flatten().chain([&STATISTICS]).collect()
}

/// What operands are multiplied in: as soon as one side of a convolution is stored in bfloat16, bfloat16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Bf16,
    F32,
}

impl Product {
    pub(super) fn of(x: DType, y: DType) -> Self {
        if x == DType::Bf16 || y == DType::Bf16 { Product::Bf16 } else { Product::F32 }
    }

    /// Bytes of an operand.
    pub(super) fn bytes(self) -> usize {
        match self {
            Product::Bf16 => 2,
            Product::F32 => 4,
        }
    }
}

/// `struct Source` of `kernels/halo.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct SourceArgs {
    data: u64,
    raw: u64,
    factors: u64,
    kind: u32,
    relu: u32,
}

impl From<&Operand<'_>> for SourceArgs {
    fn from(x: &Operand<'_>) -> Self {
        let (data, kind) = (x.tensor.device_address(), kind(x.tensor.dtype()));
        SourceArgs { data, raw: 0, factors: at(x.norm), kind, relu: flag(x.relu) }
    }
}

impl From<&Incoming<'_>> for SourceArgs {
    fn from(g: &Incoming<'_>) -> Self {
        let (data, kind) = (g.grad.device_address(), kind(g.grad.dtype()));
        SourceArgs { data, raw: at(g.norm.map(|n| n.0)), factors: at(g.norm.map(|n| n.1)), kind, relu: 0 }
    }
}

/// `struct Pack` of `kernels/convolve.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct PackArgs {
    weights: u64,
    packed: u64,
    out: u32,
    input: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
    backward: u32,
    chunk: u32,
    chunks: u32,
    packed_c: u32,
    packed_taps: u32,
}

/// `struct Convolve` of `kernels/convolve.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct ConvolveArgs {
    source: SourceArgs,
    weights: u64,
    result: u64,
    bias: u64,
    statistics: u64,
    operand: OperandArgs,
    partials: u64,
    result_kind: u32,
    accumulate: u32,
    plane: TilesArgs,
    result_h: u32,
    result_w: u32,
    result_c: u32,
    kernel: u32,
    stride: u32,
    pad: u32,
    backward: u32,
    chunk: u32,
    chunks: u32,
    packed_c: u32,
    packed_taps: u32,
    tap_rows: u32,
    tap_group: u32,
    block_tiles: u32,
}

/// `struct Statistics` of `kernels/statistics.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct StatisticsArgs {
    pieces: u64,
    norm: u64,
    count: u32,
    channels: u32,
}

/// How a pass is cut into blocks, and where its scratch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    tiling: Tiling,
    /// Channels of a block: 8 · `columns`.
    columns: usize,
    /// Source channels that are in shared memory at once, and how often that is.
    chunk: usize,
    chunks: usize,
    tap_group: usize,
    block_tiles: usize,
    /// Blocks along tiles.
    blocks: usize,
    /// Bytes of shared memory.
    shared: usize,
}

impl Layout {
    fn new(pass: &Pass, product: Product) -> Self {
        let tiling = Tiling::new(pass);
        let columns = match pass.result[2] {
            0..=16 => 2,
            17..=32 => 4,
            _ => 8,
        };
        // In units of 32 bytes, the depth of one product.
        let all = (pass.source[2] * product.bytes()).div_ceil(32);
        let bytes = |units: usize, group: usize| {
            let pitch = units * 32 + 16;
            (tiling.region() + group * 8 * columns) * pitch
        };
        let taps = tiling.tap_rows * pass.taps();
        let groups = [taps, pass.taps(), 1];
        let fits = |group: &usize| bytes(1, *group) <= SHARED;
        let tap_group = groups.into_iter().filter(|g| *g <= 16).find(fits).unwrap_or(1);
        let mut parts = all.div_ceil(4);
        while bytes(all.div_ceil(parts), tap_group) > SHARED && parts < all {
            parts += 1;
        }
        let units = all.div_ceil(parts);
        let tiles = tiling.tiles();
        let block_tiles = tiles.div_ceil(BLOCKS);
        let epilogue = (SLOTS * (8 * columns + 4) + 8 * THREADS as usize) * 4;
        Layout {
            tiling,
            columns,
            chunk: units * 32 / product.bytes(),
            chunks: all.div_ceil(units),
            tap_group,
            block_tiles,
            blocks: tiles.div_ceil(block_tiles),
            shared: bytes(units, tap_group).max(epilogue),
        }
    }

    /// Channels of the packed weights: those of all blocks.
    fn packed_channels(&self, pass: &Pass) -> usize {
        pass.result[2].next_multiple_of(8 * self.columns)
    }

    /// Elements of the packed weights.
    fn packed(&self, pass: &Pass) -> usize {
        let taps = pass.taps() * pass.taps();
        pass.classes() * taps * self.chunks * self.packed_channels(pass) * self.chunk
    }

    /// Bytes of the packed weights, and of the pieces of `rows` sums a channel.
    fn scratch(&self, pass: &Pass, product: Product, rows: usize) -> (usize, usize) {
        let packed = (self.packed(pass) * product.bytes()).next_multiple_of(64);
        (packed, self.blocks * pass.classes() * rows * pass.result[2] * 4)
    }
}

pub(super) fn forward_pass(x: [usize; 4], out: usize, window: Conv2dParams) -> Pass {
    let [n, h, w, c] = x;
    let result = [window.output(h), window.output(w), out];
    Pass { images: n, source: [h, w, c], result, window, backward: false }
}

pub(super) fn backward_pass(x: [usize; 4], out: usize, window: Conv2dParams) -> Pass {
    let forward = forward_pass(x, out, window);
    Pass { source: forward.result, result: forward.source, backward: true, ..forward }
}

/// The most of all products, which a plan does not know.
fn scratch(pass: &Pass, rows: usize) -> usize {
    let of = |product| {
        let (packed, pieces) = Layout::new(pass, product).scratch(pass, product, rows);
        packed + pieces
    };
    of(Product::Bf16).max(of(Product::F32))
}

/// Bytes for [`forward`].
pub(super) fn forward_scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    scratch(&forward_pass(x, out, window), 3)
}

/// Bytes for [`backward`].
pub(super) fn backward_scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    scratch(&backward_pass(x, out, window), 2)
}

/// A pass with its layout, on a device.
struct Run<'a> {
    driver: &'a Driver,
    pass: Pass,
    layout: Layout,
    program: &'static Program,
    /// Where the packed weights lie, and where the pieces of sums.
    packed: u64,
    pieces: u64,
}

impl<'a> Run<'a> {
    fn new(driver: &'a Driver, pass: Pass, product: Product, scratch: u64) -> Self {
        let layout = Layout::new(&pass, product);
        let columns = layout.columns.trailing_zeros() as usize - 1;
        let program = &PROGRAMS[product as usize][columns];
        let (packed, _) = layout.scratch(&pass, product, 0);
        Run { driver, pass, layout, program, packed: scratch, pieces: scratch + packed as u64 }
    }

    fn pack(&self, w: &Tensor) {
        let (pass, layout) = (&self.pass, &self.layout);
        let [a, b] = [pass.source[2], pass.result[2]].map(extent);
        let (out, input) = if pass.backward { (a, b) } else { (b, a) };
        let args = PackArgs {
            weights: w.device_address(),
            packed: self.packed,
            out,
            input,
            kernel: extent(pass.window.kernel),
            stride: extent(pass.window.stride),
            pad: extent(pass.window.pad),
            backward: flag(pass.backward),
            chunk: extent(layout.chunk),
            chunks: extent(layout.chunks),
            packed_c: extent(layout.packed_channels(pass)),
            packed_taps: extent(pass.taps() * pass.taps()),
        };
        let grid = [extent(layout.packed(pass).div_ceil(256)), 1, 1];
        self.driver.launch(self.program, "pack_weights", Geometry { grid, threads: 256, shared: 0 }, &args);
    }

    /// What both passes have in common.
    fn arguments(&self, source: SourceArgs, result: &Tensor) -> ConvolveArgs {
        let (pass, layout) = (&self.pass, &self.layout);
        let [result_h, result_w, result_c] = pass.result.map(extent);
        ConvolveArgs {
            source,
            weights: self.packed,
            result: result.device_address(),
            bias: 0,
            statistics: 0,
            operand: OperandArgs { data: 0, norm: 0, kind: 0, relu: 0 },
            partials: 0,
            result_kind: kind(result.dtype()),
            accumulate: 0,
            plane: layout.tiling.plane(pass),
            result_h,
            result_w,
            result_c,
            kernel: extent(pass.window.kernel),
            stride: extent(pass.window.stride),
            pad: extent(pass.window.pad),
            backward: flag(pass.backward),
            chunk: extent(layout.chunk),
            chunks: extent(layout.chunks),
            packed_c: extent(layout.packed_channels(pass)),
            packed_taps: extent(pass.taps() * pass.taps()),
            tap_rows: extent(layout.tiling.tap_rows),
            tap_group: extent(layout.tap_group),
            block_tiles: extent(layout.block_tiles),
        }
    }

    fn convolve(&self, args: &ConvolveArgs) {
        let (pass, layout) = (&self.pass, &self.layout);
        let channels = pass.result[2].div_ceil(8 * layout.columns);
        let grid = [layout.blocks, channels, pass.classes()].map(extent);
        let geometry = Geometry { grid, threads: THREADS, shared: extent(layout.shared) };
        self.driver.launch(self.program, "convolve", geometry, args);
    }
}

/// See [`Device::convolve`](crate::Device::convolve).
#[allow(clippy::too_many_arguments)] // An operation's operands, each of another kind.
pub(super) fn forward(
    driver: &Driver,
    window: Conv2dParams,
    x: &Operand<'_>,
    w: &Tensor,
    bias: Option<&Tensor>,
    y: &mut Tensor,
    norm: Option<&mut Tensor>,
    scratch: u64,
) {
    let out = y.nhwc()[3];
    let pass = forward_pass(x.tensor.nhwc(), out, window);
    let run = Run::new(driver, pass, Product::of(x.tensor.dtype(), y.dtype()), scratch);
    run.pack(w);
    let statistics = if norm.is_some() { run.pieces } else { 0 };
    run.convolve(&ConvolveArgs { bias: at(bias), statistics, ..run.arguments(SourceArgs::from(x), y) });
    if let Some(norm) = norm {
        finish_statistics(driver, run.pieces, run.layout.blocks, norm, out);
    }
}

/// From pieces of count, mean and squared deviations, `[count][3][channels]`, to mean and variance of all.
pub(super) fn finish_statistics(
    driver: &Driver,
    pieces: u64,
    count: usize,
    norm: &mut Tensor,
    channels: usize,
) {
    let (count, norm) = (extent(count), norm.device_address());
    let args = StatisticsArgs { pieces, norm, count, channels: extent(channels) };
    let geometry = Geometry { grid: [extent(channels.div_ceil(8)), 1, 1], threads: 512, shared: 0 };
    driver.launch(&STATISTICS, "finish_statistics", geometry, &args);
}

/// The gradient of the input: see [`Device::convolve_backward`](crate::Device::convolve_backward).
pub(super) fn backward(
    driver: &Driver,
    window: Conv2dParams,
    x: &Operand<'_>,
    w: &Tensor,
    dy: &Incoming<'_>,
    dx: Outgoing<'_>,
    scratch: u64,
) {
    let pass = backward_pass(x.tensor.nhwc(), dy.grad.nhwc()[3], window);
    let run = Run::new(driver, pass, Product::of(x.tensor.dtype(), dy.grad.dtype()), scratch);
    run.pack(w);
    let args = ConvolveArgs {
        operand: OperandArgs::from(x),
        partials: if dx.norm.is_some() { run.pieces } else { 0 },
        accumulate: flag(dx.accumulate),
        ..run.arguments(SourceArgs::from(dy), dx.grad)
    };
    run.convolve(&args);
    if let Some(norm) = dx.norm {
        let (pieces, pixels) = (run.layout.blocks * pass.classes(), x.tensor.len() / x.tensor.nhwc()[3]);
        normalise::finish(driver, x, norm, run.pieces, pieces, pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_fit_every_device() {
        let windows = [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (5, 3, 2), (33, 1, 16)];
        for (kernel, stride, pad) in windows {
            let window = Conv2dParams { kernel, stride, pad };
            for (side, n) in [(1, 5), (8, 1024), (32, 1024), (56, 256), (224, 64)] {
                for (c, out) in [(3, 64), (16, 16), (17, 70), (64, 64), (2048, 512), (512, 2048)] {
                    if window.output(side) == 0 {
                        continue;
                    }
                    for pass in [forward_pass, backward_pass].map(|p| p([n, side, side, c], out, window)) {
                        for product in [Product::Bf16, Product::F32] {
                            let l = Layout::new(&pass, product);
                            assert!(l.shared <= SHARED_LIMIT as usize, "{pass:?} {l:?}");
                            assert!(
                                l.chunk * l.chunks >= pass.source[2]
                                    && (l.chunk * product.bytes()).is_multiple_of(32)
                            );
                            assert!(l.blocks * l.block_tiles >= l.tiling.tiles() && l.blocks <= BLOCKS);
                            assert!(
                                pass.result[2].div_ceil(8 * l.columns) <= 65_535 && pass.classes() <= 65_535
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_layer_of_sixteen_channels_is_loaded_whole() {
        let pass = forward_pass([1024, 32, 32, 16], 16, Conv2dParams { kernel: 3, stride: 1, pad: 1 });
        let l = Layout::new(&pass, Product::Bf16);
        assert_eq!((l.chunk, l.chunks, l.tap_group, l.columns), (16, 1, 9, 2));
        assert!(l.shared <= 24 << 10, "{l:?}");
    }
}
