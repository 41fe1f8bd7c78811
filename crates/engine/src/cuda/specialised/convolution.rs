//! Convolutions and the gradients of their inputs.

use super::super::args::{at, extent, flag, kind};
use super::super::convolution::{Product, backward_pass, finish_statistics, forward_pass};
use super::super::driver::Driver;
use super::super::geometry::Geometry;
use super::super::normalise;
use super::super::program::{Entry, Program, entry};
use super::super::template::{Defines, Template};
use super::super::tiles::Pass;
use super::loaded::{Loaded, Transform};
use super::shape::{Parts, Room, Shape, Stages, Tile};
use crate::ops::{Conv2dParams, Incoming, Operand, Outgoing};
use crate::{DType, Tensor};

const ENTRIES: &[Entry] = &[entry::<Pack>("pack_convolution"), entry::<Args>("convolution")];

static TEMPLATE: Template =
    Template::new("convolution.cu", include_str!("../kernels/specialised/convolution.cu"), ENTRIES);

/// Vectors of a region that a thread may have (a bit each).
const MOST_LOADS: usize = 32;

/// `struct Pack` of `kernels/specialised/convolution.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Pack {
    weights: u64,
    packed: u64,
    count: u64,
}

/// `struct Convolution` of the same.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    source: u64,
    raw: u64,
    factors: u64,
    weights: u64,
    result: u64,
    bias: u64,
    operand: u64,
    norm: u64,
    sums: u64,
    images: u32,
    tiles: u32,
    pieces: u32,
    unused: u32,
}

/// Transform a pass is cut: what decides the result to the bit. It depends on shapes, the product and the kind of device alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    shape: Shape,
    tile: Tile,
    /// Warps along results and along channels, and each one's tiles of 16 results and of 8 channels.
    warps: [usize; 2],
    tiles: [usize; 2],
    /// Source channels of a step.
    chunk: usize,
    /// Neighbouring tiles whose sums are taken together.
    piece: usize,
}

impl Cut {
    /// Nothing where a window's weights are too large for shared memory.
    fn new(shape: Shape, product: Product, room: Room) -> Option<Self> {
        let out = shape.result[2];
        // A warp's channels are at most 32, so that what a lane keeps of each fits registers.
        let (warps, tiles) = match out {
            0..=16 => ([8, 1], [2, 2]),
            17..=32 => ([8, 1], [2, 4]),
            // The weights of a large window leave room for few channels.
            _ if shape.taps() > 9 => ([8, 1], [2, 4]),
            33..=127 => ([4, 2], [4, 4]),
            _ if shape.window.kernel == 1 => ([2, 4], [4, 4]),
            _ => ([4, 2], [4, 4]),
        };
        let unit = 16 / product.bytes();
        let whole = shape.source[2].next_multiple_of(2 * unit);
        let chunks = [8 * unit, 4 * unit, 2 * unit].into_iter().filter(|c| *c <= whole.next_power_of_two());
        let of = |chunk: usize, stages: usize| {
            let none = Tile { images: 1, rows: 1, columns: 1 };
            let cut = Cut { shape, tile: none, warps, tiles, chunk, piece: 1 };
            let loads = MOST_LOADS * cut.threads() / (chunk / unit);
            let tile = shape.tile(cut.slots(), loads.min(cut.most_pixels(product, room, stages)?))?;
            Some(Cut { tile, piece: shape.piece(&tile), ..cut })
        };
        // The widest chunk for which the next step's sources may be on their way, else one step at a time; with a tile that is
        // not cut short for want of room.
        let slots = warps[0] * tiles[0] * 16;
        let free = shape.cost(&shape.tile(slots, usize::MAX)?, slots);
        let mut all = [2, 1].into_iter().flat_map(|stages| chunks.clone().filter_map(move |c| of(c, stages)));
        all.find(|cut| 2 * shape.cost(&cut.tile, slots) <= 3 * free)
    }

    /// Source pixels of a step of which so many fit beside the weights.
    fn most_pixels(&self, product: Product, room: Room, stages: usize) -> Option<usize> {
        let pitch = self.pitch(product);
        let weights = self.shape.taps() * self.channels() * pitch;
        // Beside the sources the raw values that correct a gradient.
        let regions = stages + if self.shape.backward { (stages - 1).max(1) } else { 0 };
        let least = (weights * self.chunks()).min(stages * weights);
        Some(room.bytes().checked_sub(least + self.room())? / (regions * pitch))
    }

    fn slots(&self) -> usize {
        16 * self.warps[0] * self.tiles[0]
    }

    fn threads(&self) -> usize {
        32 * self.warps[0] * self.warps[1]
    }

    /// Channels of a block.
    fn channels(&self) -> usize {
        8 * self.warps[1] * self.tiles[1]
    }

    /// Blocks along channels.
    fn channel_blocks(&self) -> usize {
        self.shape.result[2].div_ceil(self.channels())
    }

    fn chunks(&self) -> usize {
        self.shape.source[2].div_ceil(self.chunk)
    }

    /// Bytes from one pixel (or row of weights) to the next in shared memory.
    fn pitch(&self, product: Product) -> usize {
        self.chunk * product.bytes() + 16
    }

    /// Bytes for the sums of warps.
    fn room(&self) -> usize {
        self.warps[0] * 3 * self.channels() * 4
    }

    /// Blocks along classes of results: where a region is loaded in chunks, each class has blocks of its own.
    fn class_blocks(&self) -> usize {
        if self.chunks() == 1 { 1 } else { self.shape.classes() }
    }

    fn pieces(&self, images: usize) -> usize {
        self.shape.tiles(&self.tile, images).div_ceil(self.piece)
    }

    /// Elements of the packed weights.
    fn packed(&self) -> usize {
        self.channel_blocks() * self.chunks() * self.shape.taps() * self.channels() * self.chunk
    }

    /// Bytes of the packed weights, and of the pieces of `rows` sums a channel.
    fn scratch(&self, product: Product, images: usize, rows: usize) -> [usize; 2] {
        let packed = (self.packed() * product.bytes()).next_multiple_of(64);
        [packed, self.pieces(images) * self.class_blocks() * rows * self.shape.result[2] * 4]
    }

    /// Transform much of it a device keeps in shared memory; `corrected`: whether copies bring raw values, too.
    fn stages(&self, product: Product, corrected: bool, limit: usize) -> Option<Stages> {
        let pitch = self.pitch(product);
        let stage = self.shape.region(&self.tile) * pitch;
        let weights = self.shape.taps() * self.channels() * pitch;
        // Blocks that a warp's sums, and what it needs beside, leave registers for.
        let most = match self.tiles[0] * self.tiles[1] {
            0..=4 => 3,
            5..=8 => 2,
            _ => 1,
        };
        let (raw, all_weights) = (if corrected { stage } else { 0 }, weights * self.chunks());
        Stages::choose(limit, most, Parts { stage, raw, weights, all_weights, room: self.room() })
    }

    fn defines(&self, product: Product, stages: Stages) -> Defines {
        let mut all = self.shape.defines(&self.tile);
        let numbers = [
            ("PRODUCT", usize::from(product == Product::F32)),
            ("CHUNK", self.chunk),
            ("WARPS_M", self.warps[0]),
            ("WARPS_N", self.warps[1]),
            ("TILES_M", self.tiles[0]),
            ("TILES_N", self.tiles[1]),
            ("STAGES", stages.count),
            ("HELD", usize::from(stages.held)),
            ("BLOCKS", stages.blocks),
            ("PIECE", self.piece),
        ];
        all.extend(numbers.map(|(name, n)| (name, extent(n))));
        all
    }
}

/// The most of all products and kinds of devices, which a plan does not know.
fn scratch(pass: &Pass, rows: usize) -> usize {
    let of = |product, room| {
        let cut = Cut::new(Shape::from(pass), product, room);
        cut.map_or(0, |c| c.scratch(product, pass.images, rows).iter().sum())
    };
    let rooms = |product| Room::ALL.map(|room| of(product, room)).into_iter().max().unwrap_or(0);
    rooms(Product::Bf16).max(rooms(Product::F32))
}

/// Bytes for [`forward`].
pub(in super::super) fn forward_scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    scratch(&forward_pass(x, out, window), 3)
}

/// Bytes for [`backward`].
pub(in super::super) fn backward_scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    scratch(&backward_pass(x, out, window), 2)
}

/// Whether there is a kernel for a pass.
pub(in super::super) fn fits(driver: &Driver, pass: &Pass, product: Product) -> bool {
    Cut::new(Shape::from(pass), product, Room::of(driver)).is_some()
}

/// What happens to results.
#[derive(Clone, Copy, Debug)]
struct Ending {
    result: DType,
    bias: bool,
    statistics: bool,
    accumulate: bool,
    operand: DType,
    operand_norm: bool,
    operand_relu: bool,
    partials: bool,
}

impl Ending {
    fn defines(&self) -> Defines {
        vec![
            ("RESULT_TYPE", kind(self.result)),
            ("BIAS", flag(self.bias)),
            ("STATISTICS", flag(self.statistics)),
            ("ACCUMULATE", flag(self.accumulate)),
            ("OPERAND_TYPE", kind(self.operand)),
            ("OPERAND_NORM", flag(self.operand_norm)),
            ("OPERAND_RELU", flag(self.operand_relu)),
            ("PARTIALS", flag(self.partials)),
        ]
    }
}

/// A pass with its kernel, on a device.
struct Run<'a> {
    driver: &'a Driver,
    cut: Cut,
    images: usize,
    stages: Stages,
    program: &'static Program,
    /// Where the packed weights lie, and where the pieces of sums.
    packed: u64,
    pieces: u64,
}

/// The kernel of a cut on devices with `limit` bytes of shared memory; nothing where it does not fit.
fn program(
    cut: &Cut,
    product: Product,
    limit: usize,
    source: &Loaded,
    ending: &Ending,
) -> Option<(&'static Program, Stages)> {
    let copied = Loaded::copies(source.dtype, product, cut.shape.source[2]);
    let stages = cut.stages(product, source.how == Transform::Corrected && copied, limit)?;
    let mut defines = cut.defines(product, stages);
    defines.extend(source.defines(["SOURCE_TYPE", "SOURCE_HOW"]));
    defines.push(("SOURCE_RELU", flag(source.relu)));
    defines.extend(ending.defines());
    Some((TEMPLATE.program(defines, stages.shared), stages))
}

impl<'a> Run<'a> {
    /// Nothing where there is no kernel for it, or the device has too little shared memory, which is then its fault.
    fn new(
        driver: &'a Driver,
        pass: &Pass,
        product: Product,
        source: &Loaded,
        ending: &Ending,
        scratch: u64,
    ) -> Option<Self> {
        let cut = Cut::new(Shape::from(pass), product, Room::of(driver))?;
        let limit = driver.properties.shared;
        let Some((program, stages)) = program(&cut, product, limit, source, ending) else {
            driver
                .fail(format!("{cut:?} needs more than the {limit} bytes of shared memory of a block here"));
            return None;
        };
        let ([packed, _], images) = (cut.scratch(product, pass.images, 0), pass.images);
        let pieces = scratch + packed as u64;
        Some(Run { driver, cut, images, stages, program, packed: scratch, pieces })
    }

    fn pack(&self, w: &Tensor) {
        let count = self.cut.packed();
        let args = Pack { weights: w.device_address(), packed: self.packed, count: count as u64 };
        let grid = [extent(count.div_ceil(256)), 1, 1];
        self.driver.launch(
            self.program,
            "pack_convolution",
            Geometry { grid, threads: 256, shared: 0 },
            &args,
        );
    }

    /// The arguments that both passes have.
    fn arguments(&self, source: Loaded, result: &Tensor) -> Args {
        Args {
            source: source.data,
            raw: source.raw,
            factors: source.factors,
            weights: self.packed,
            result: result.device_address(),
            bias: 0,
            operand: 0,
            norm: 0,
            sums: self.pieces,
            images: extent(self.images),
            tiles: extent(self.cut.shape.tiles(&self.cut.tile, self.images)),
            pieces: extent(self.cut.pieces(self.images)),
            unused: 0,
        }
    }

    fn convolve(&self, args: &Args) {
        let (cut, driver) = (&self.cut, self.driver);
        let (threads, shared) = (extent(cut.threads()), extent(self.stages.shared));
        // Each block goes on to the next piece.
        let grid = [cut.pieces(self.images), cut.channel_blocks(), cut.class_blocks()].map(extent);
        driver.launch_resident(self.program, "convolution", Geometry { grid, threads, shared }, args);
    }
}

/// See [`Device::convolve`](crate::Device::convolve).
#[allow(clippy::too_many_arguments)] // An operation's operands, each of another kind.
pub(in super::super) fn forward(
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
    let product = Product::of(x.tensor.dtype(), y.dtype());
    let source = Loaded::from(x);
    let ending = Ending {
        result: y.dtype(),
        bias: bias.is_some(),
        statistics: norm.is_some(),
        accumulate: false,
        operand: y.dtype(),
        operand_norm: false,
        operand_relu: false,
        partials: false,
    };
    let Some(run) = Run::new(driver, &pass, product, &source, &ending, scratch) else { return };
    run.pack(w);
    run.convolve(&Args { bias: at(bias), ..run.arguments(source, y) });
    if let Some(norm) = norm {
        finish_statistics(driver, run.pieces, run.cut.pieces(pass.images), norm, out);
    }
}

/// The gradient of the input: see [`Device::convolve_backward`](crate::Device::convolve_backward).
pub(in super::super) fn backward(
    driver: &Driver,
    window: Conv2dParams,
    x: &Operand<'_>,
    w: &Tensor,
    dy: &Incoming<'_>,
    dx: Outgoing<'_>,
    scratch: u64,
) {
    let pass = backward_pass(x.tensor.nhwc(), dy.grad.nhwc()[3], window);
    let product = Product::of(x.tensor.dtype(), dy.grad.dtype());
    let source = Loaded::from(dy);
    let ending = Ending {
        result: dx.grad.dtype(),
        bias: false,
        statistics: false,
        accumulate: dx.accumulate,
        operand: x.tensor.dtype(),
        operand_norm: x.norm.is_some(),
        operand_relu: x.relu,
        partials: dx.norm.is_some(),
    };
    let Some(run) = Run::new(driver, &pass, product, &source, &ending, scratch) else { return };
    run.pack(w);
    let args = run.arguments(source, dx.grad);
    run.convolve(&Args { operand: x.tensor.device_address(), norm: at(x.norm), ..args });
    if let Some(norm) = dx.norm {
        let pieces = run.cut.pieces(pass.images) * run.cut.class_blocks();
        normalise::finish(driver, x, norm, run.pieces, pieces, x.tensor.len() / x.tensor.nhwc()[3]);
    }
}

/// Some programs, for tests of the source: of both passes and products, plain and with all that there is.
#[cfg(test)]
pub(in super::super) fn programs() -> Vec<&'static Program> {
    let window = |kernel, stride, pad| Conv2dParams { kernel, stride, pad };
    let same = forward_pass([2, 32, 32, 16], 16, window(3, 1, 1));
    let back = backward_pass([2, 16, 16, 96], 64, window(3, 2, 1));
    let of = |pass: &Pass, dtype, all: bool| {
        let product = Product::of(dtype, dtype);
        let cut = Cut::new(Shape::from(pass), product, Room::Large)?;
        let how = match (all, pass.backward) {
            (false, _) => Transform::Plain,
            (true, false) => Transform::Scaled,
            (true, true) => Transform::Corrected,
        };
        let relu = all && !pass.backward;
        let source = Loaded { data: 0, raw: 0, factors: 0, dtype, how, relu };
        let (ahead, behind) = (all && !pass.backward, all && pass.backward);
        let ending = Ending {
            result: dtype,
            bias: ahead,
            statistics: ahead,
            accumulate: behind,
            operand: dtype,
            operand_norm: behind,
            operand_relu: behind,
            partials: behind,
        };
        Some(program(&cut, product, Room::Large.bytes(), &source, &ending)?.0)
    };
    let cases = [
        (&same, DType::Bf16, true),
        (&same, DType::F32, false),
        (&back, DType::Bf16, true),
        (&back, DType::F32, true),
    ];
    cases.into_iter().filter_map(|(pass, dtype, all)| of(pass, dtype, all)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fit_every_device() {
        let windows = [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (5, 3, 2)];
        for (kernel, stride, pad) in windows {
            let window = Conv2dParams { kernel, stride, pad };
            for (side, n) in [(1, 5), (7, 256), (8, 1024), (32, 1024), (56, 256), (224, 64)] {
                for (c, out) in [(3, 64), (16, 16), (17, 70), (64, 64), (2048, 512), (512, 2048)] {
                    if window.output(side) == 0 {
                        continue;
                    }
                    for pass in [forward_pass, backward_pass].map(|p| p([n, side, side, c], out, window)) {
                        for product in [Product::Bf16, Product::F32] {
                            for room in Room::ALL {
                                let Some(cut) = Cut::new(Shape::from(&pass), product, room) else {
                                    // Large windows' weights, or the borders of tiny images, leave no room for a whole tile.
                                    assert!(kernel > 3 || side == 1, "{pass:?}");
                                    continue;
                                };
                                let stages = cut.stages(product, pass.backward, room.bytes());
                                assert!(stages.is_some(), "{cut:?}");
                                assert!(cut.chunk * cut.chunks() >= pass.source[2]);
                                assert!(cut.channel_blocks() <= 65_535 && cut.class_blocks() <= 65_535);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_layer_of_sixteen_channels_is_loaded_whole_and_its_weights_once() {
        let pass = forward_pass([1024, 32, 32, 16], 16, Conv2dParams { kernel: 3, stride: 1, pad: 1 });
        let cut = Cut::new(Shape::from(&pass), Product::Bf16, Room::Large).unwrap();
        assert_eq!((cut.chunk, cut.chunks(), cut.channels()), (16, 1, 16));
        let stages = cut.stages(Product::Bf16, false, 227 << 10);
        assert!(stages.is_some_and(|s| s.held && s.count == 2 && s.blocks == 3), "{cut:?} {stages:?}");
    }
}
