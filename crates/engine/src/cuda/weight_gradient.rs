//! Gradients of a convolution's parameters.

use super::args::{self, extent, flag};
use super::convolution::{Product, SourceArgs};
use super::driver::Driver;
use super::geometry::Geometry;
use super::program::{Entry, Program, entry};
use super::tiles::{Pass, SLOTS, TilesArgs, Tiling};
use crate::Tensor;
use crate::ops::{Conv2dParams, Incoming, Operand, WeightGrad};

const SOURCE: &str = include_str!("kernels/weight_gradient.cu");

/// Dynamic shared memory that every device of capability 8 or later gives a block.
const SHARED_LIMIT: u32 = 99 << 10;

/// Blocks that fill a large GPU.
const BLOCKS: usize = 1024;

/// Bytes of the parts of one gradient: more of them than this cost more to add than they save.
const PARTS: usize = 16 << 20;

const ENTRIES: &[Entry] = &[entry::<Args>("weight_gradient")];

const fn program(defines: &'static [(&'static str, u32)]) -> Program {
    Program { name: "weight_gradient.cu", source: SOURCE, defines, entries: ENTRIES, shared: SHARED_LIMIT }
}

/// What a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    taps: usize,
    /// Warps along output channels, input channels and pixels.
    warps: [usize; 3],
    /// Tiles of 16 output and 8 input channels of a warp.
    tiles: [usize; 2],
}

impl Block {
    fn out(&self) -> usize {
        16 * self.warps[0] * self.tiles[0]
    }

    fn input(&self) -> usize {
        8 * self.warps[1] * self.tiles[1]
    }

    /// Bytes of shared memory for the gradient of a tile, and for a pixel of its region.
    fn shared(&self, product: Product) -> [usize; 2] {
        let pad = if product == Product::Bf16 { 16 } else { 32 };
        let pitch = |channels: usize| channels * product.bytes() + pad;
        [SLOTS * pitch(self.out()), pitch(self.input())]
    }

    fn threads(&self) -> usize {
        32 * self.warps.iter().product::<usize>()
    }
}

/// A kind of block, with its program for each product.
struct Way {
    block: Block,
    programs: [Program; 2],
}

macro_rules! way {
    ($taps:literal, $out:literal x $input:literal x $pixels:literal, $tiles_out:literal x $tiles_in:literal) => {
        Way {
            block: Block { taps: $taps, warps: [$out, $input, $pixels], tiles: [$tiles_out, $tiles_in] },
            programs: [way!(@ 0 $taps $out $input $pixels $tiles_out $tiles_in), way!(@ 1 $taps $out $input $pixels $tiles_out $tiles_in)],
        }
    };
    (@ $product:literal $taps:literal $out:literal $input:literal $pixels:literal $tiles_out:literal $tiles_in:literal) => {
        program(&[
            ("PRODUCT", $product),
            ("TAPS", $taps),
            ("WARPS_OUT", $out),
            ("WARPS_IN", $input),
            ("WARPS_PIXELS", $pixels),
            ("TILES_OUT", $tiles_out),
            ("TILES_IN", $tiles_in),
        ])
    };
}

/// Windows of several taps and few channels; of several taps; of one tap.
static WAYS: [Way; 3] = [way!(9, 1 x 2 x 4, 1 x 1), way!(9, 2 x 4 x 1, 1 x 1), way!(1, 2 x 4 x 1, 2 x 2)];

static ADD: Program = Program {
    name: "parts.cu",
    source: include_str!("kernels/parts.cu"),
    defines: &[],
    entries: &[entry::<PartsArgs>("add_parts"), entry::<BiasArgs>("bias_gradient")],
    shared: 0,
};

/// Everything that this file launches.
#[cfg(test)]
pub(super) fn programs() -> Vec<&'static Program> {
    WAYS.iter().flat_map(|w| &w.programs).chain([&ADD]).collect()
}

/// `struct WeightGradient` of `kernels/weight_gradient.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    source: SourceArgs,
    gradient: SourceArgs,
    parts: u64,
    plane: TilesArgs,
    result_h: u32,
    result_w: u32,
    out: u32,
    stride: u32,
    pad: u32,
    kernel: u32,
    block_tiles: u32,
    unused: u32,
}

/// `struct Parts` of `kernels/parts.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct PartsArgs {
    parts: u64,
    result: u64,
    length: u64,
    count: u32,
    taps: u32,
}

/// `struct BiasGradient` of `kernels/parts.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct BiasArgs {
    gradient: args::Incoming,
    pieces: u64,
    pixels: u64,
    channels: u32,
    piece: u32,
}

/// How a gradient is cut into blocks.
struct Layout {
    way: &'static Way,
    tiling: Tiling,
    block_tiles: usize,
    /// Blocks along tiles.
    splits: usize,
    /// Blocks along channels and taps.
    channels: usize,
    tap_groups: usize,
    /// Elements of the weights.
    weights: usize,
}

impl Layout {
    fn new(pass: &Pass) -> Self {
        let [out, input] = [pass.result[2], pass.source[2]];
        let kernel = pass.window.kernel;
        let way = match kernel {
            1 => &WAYS[2],
            _ if out <= 16 && input <= 16 => &WAYS[0],
            _ => &WAYS[1],
        };
        let block = &way.block;
        // As many rows of taps as a group can touch.
        let rows = (block.taps.div_ceil(kernel) + usize::from(block.taps % kernel != 0)).min(kernel);
        // By the larger of the products, so that both are cut alike.
        let [gradient, source] = block.shared(Product::F32);
        let region = (SHARED_LIMIT as usize - gradient) / source;
        let tiling = Tiling::within(pass, rows, region).unwrap_or_else(|| Tiling::smallest(pass, rows));
        let channels = out.div_ceil(block.out()) * input.div_ceil(block.input());
        let tap_groups = (kernel * kernel).div_ceil(block.taps);
        let weights = out * input * kernel * kernel;
        let wanted = BLOCKS.div_ceil(channels * tap_groups);
        let affordable = PARTS / (weights * 4 * block.warps[2]);
        let tiles = tiling.tiles();
        let splits = wanted.min(affordable).clamp(1, tiles);
        let block_tiles = tiles.div_ceil(splits);
        let splits = tiles.div_ceil(block_tiles);
        Layout { way, tiling, block_tiles, splits, channels, tap_groups, weights }
    }

    fn parts(&self) -> usize {
        self.splits * self.way.block.warps[2]
    }

    /// Bytes of shared memory of a block.
    fn shared(&self, product: Product) -> usize {
        let [gradient, source] = self.way.block.shared(product);
        gradient + self.tiling.region() * source
    }
}

fn pass_of(x: [usize; 4], out: usize, window: Conv2dParams) -> Pass {
    let [n, h, w, c] = x;
    let result = [window.output(h), window.output(w), out];
    Pass { images: n, source: [h, w, c], result, window, backward: false }
}

/// Pixels of a piece of a bias' gradient, and pieces.
fn bias_pieces(pass: &Pass) -> (usize, usize) {
    let pixels = pass.images * pass.result[0] * pass.result[1];
    let piece = pixels.div_ceil(256).max(64);
    (piece, pixels.div_ceil(piece))
}

/// Bytes for [`run`].
pub(super) fn scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    let pass = pass_of(x, out, window);
    let layout = Layout::new(&pass);
    // One after the other: they share it.
    (layout.parts() * layout.weights * 4).max(bias_scratch(&pass))
}

/// Bytes for [`bias_gradient`].
pub(super) fn bias_scratch(pass: &Pass) -> usize {
    bias_pieces(pass).1 * pass.result[2] * 4
}

/// See [`Device::convolve_backward`](crate::Device::convolve_backward).
pub(super) fn run(
    driver: &Driver,
    window: Conv2dParams,
    x: &Operand<'_>,
    dy: &Incoming<'_>,
    dw: WeightGrad<'_>,
    scratch: u64,
) {
    let pass = pass_of(x.tensor.nhwc(), dy.grad.nhwc()[3], window);
    let product = Product::of(x.tensor.dtype(), dy.grad.dtype());
    let layout = Layout::new(&pass);
    let [result_h, result_w, out] = pass.result.map(extent);
    let args = Args {
        source: SourceArgs::from(x),
        gradient: SourceArgs::from(dy),
        parts: scratch,
        plane: layout.tiling.plane(&pass),
        result_h,
        result_w,
        out,
        stride: extent(window.stride),
        pad: extent(window.pad),
        kernel: extent(window.kernel),
        block_tiles: extent(layout.block_tiles),
        unused: flag(false),
    };
    let grid = [layout.splits, layout.channels, layout.tap_groups].map(extent);
    let (threads, shared) = (extent(layout.way.block.threads()), extent(layout.shared(product)));
    let program = &layout.way.programs[product as usize];
    driver.launch(program, "weight_gradient", Geometry { grid, threads, shared }, &args);
    let taps = window.kernel * window.kernel;
    add_parts(driver, scratch, layout.parts(), dw.weight.device_address(), layout.weights, taps);
    if let Some(bias) = dw.bias {
        bias_gradient(driver, &pass, dy, bias, scratch);
    }
}

/// The gradient of a bias.
pub(super) fn bias_gradient(
    driver: &Driver,
    pass: &Pass,
    dy: &Incoming<'_>,
    bias: &mut Tensor,
    scratch: u64,
) {
    let (piece, pieces) = bias_pieces(pass);
    let pixels = (pass.images * pass.result[0] * pass.result[1]) as u64;
    let (channels, piece) = (extent(pass.result[2]), extent(piece));
    let args = BiasArgs { gradient: args::Incoming::from(dy), pieces: scratch, pixels, channels, piece };
    let grid = [extent(pieces), extent(pass.result[2].div_ceil(32)), 1];
    driver.launch(&ADD, "bias_gradient", Geometry { grid, threads: 256, shared: 0 }, &args);
    add_parts(driver, scratch, pieces, bias.device_address(), pass.result[2], 1);
}

/// Adds parts of a result in their order.
pub(super) fn add_parts(driver: &Driver, parts: u64, count: usize, result: u64, length: usize, taps: usize) {
    let args = PartsArgs { parts, result, length: length as u64, count: extent(count), taps: extent(taps) };
    let grid = [extent(length.div_ceil(32)), 1, 1];
    driver.launch(&ADD, "add_parts", Geometry { grid, threads: 256, shared: 0 }, &args);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_fit_every_device() {
        for (kernel, stride, pad) in
            [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (2, 3, 1), (5, 1, 2)]
        {
            let window = Conv2dParams { kernel, stride, pad };
            for (side, n) in [(1, 5), (8, 1024), (32, 1024), (56, 256), (224, 64)] {
                for (c, out) in [(3, 64), (16, 16), (17, 70), (64, 64), (2048, 512), (512, 2048)] {
                    if window.output(side) == 0 {
                        continue;
                    }
                    let pass = pass_of([n, side, side, c], out, window);
                    let l = Layout::new(&pass);
                    for product in [Product::Bf16, Product::F32] {
                        assert!(l.shared(product) <= SHARED_LIMIT as usize, "{pass:?} {product:?}");
                    }
                    assert!(l.splits * l.block_tiles >= l.tiling.tiles());
                    assert!(l.channels <= 65_535 && l.tap_groups <= 65_535);
                    assert!(l.parts() == l.way.block.warps[2] || l.parts() * l.weights * 4 <= PARTS);
                }
            }
        }
    }
}
