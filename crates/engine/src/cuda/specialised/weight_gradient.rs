//! Gradients of a convolution's weights.

use super::super::args::{extent, flag};
use super::super::convolution::{Product, forward_pass};
use super::super::driver::Driver;
use super::super::geometry::Geometry;
use super::super::program::{Entry, Program, entry};
use super::super::template::{Defines, Template};
use super::super::tiles::Pass;
use super::super::weight_gradient::{add_parts, bias_gradient, bias_scratch};
use super::loaded::{Loaded, Transform};
use super::shape::{Parts, Room, Shape, Stages, Tile};
use crate::ops::{Conv2dParams, Incoming, Operand, WeightGrad};

const ENTRIES: &[Entry] = &[entry::<Args>("convolution_weights")];

static TEMPLATE: Template =
    Template::new("weight_gradient.cu", include_str!("../kernels/specialised/weight_gradient.cu"), ENTRIES);

/// As in the convolution: every device has it.
const LEAST_SHARED: usize = 99 << 10;

/// Pixels of a tile.
const SLOTS: usize = 128;

/// Bytes of the parts of one gradient: more of them than this cost more to add than they save.
const PARTS: usize = 20 << 20;

/// `struct WeightGradient` of `kernels/specialised/weight_gradient.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    source: u64,
    source_factors: u64,
    gradient: u64,
    raw: u64,
    gradient_factors: u64,
    parts: u64,
    images: u32,
    tiles: u32,
    each: u32,
    unused: u32,
}

/// What a block computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    taps: usize,
    /// Warps along output channels, input channels and pixels.
    warps: [usize; 3],
    /// A warp's tiles of 16 output and of 8 input channels.
    tiles: [usize; 2],
}

impl Block {
    /// Blocks to choose from, the largest first.
    fn candidates(shape: &Shape) -> Vec<Block> {
        let (out, input, taps) = (shape.result[2], shape.source[2], shape.taps());
        let side = |channels: usize, sides: &[usize]| {
            let most = channels.next_power_of_two();
            sides.iter().copied().filter(|s| *s <= most.max(16)).collect::<Vec<_>>()
        };
        let (outs, ins): (&[usize], &[usize]) =
            if taps == 1 { (&[128, 64, 32, 16], &[128, 64, 32, 16]) } else { (&[64, 32, 16], &[64, 32, 16]) };
        if taps > 9 && input <= 8 {
            // The first layer's large window: one tile of input channels, as many taps as registers hold.
            let warps = if out > 32 { [4, 1, 2] } else { [1, 1, 8] };
            return vec![Block { taps: taps.min(25), warps, tiles: [1, 1] }];
        }
        let narrow = input <= 8;
        let ins = if narrow { vec![8] } else { side(input, ins) };
        let pairs = side(out, outs).into_iter().flat_map(|o| ins.iter().map(move |i| (o, *i)));
        let mut all: Vec<Block> = pairs.map(|(o, i)| Block::of(taps.min(9), o, i)).collect();
        all.sort_by_key(|b| std::cmp::Reverse((b.out() * b.input(), b.out())));
        all
    }

    /// A block of so many channels, with eight warps.
    fn of(taps: usize, out: usize, input: usize) -> Self {
        // Sums of several taps fill a warp's registers with two tiles by two, those of one tap with four by four.
        let most = if taps > 1 { 2 } else { 4 };
        let tiles_out = (out / 16).min(most);
        let tiles_in = (input / 8).min(if tiles_out == 1 && taps > 1 { 4 } else { most });
        let (warps_out, warps_in) = (out / 16 / tiles_out, input / 8 / tiles_in);
        let pixels = (8 / (warps_out * warps_in)).max(1);
        Block { taps, warps: [warps_out, warps_in, pixels], tiles: [tiles_out, tiles_in] }
    }

    fn out(&self) -> usize {
        16 * self.warps[0] * self.tiles[0]
    }

    fn input(&self) -> usize {
        8 * self.warps[1] * self.tiles[1]
    }

    fn threads(&self) -> usize {
        32 * self.warps.iter().product::<usize>()
    }

    /// Blocks of a multiprocessor: sums of many taps take more registers than two have.
    fn resident(&self) -> usize {
        let sums = self.taps * self.tiles[0] * self.tiles[1] * 4;
        if sums > 64 { 1 } else { 2 }
    }

    /// Bytes of a pixel of the gradient and of the source in shared memory.
    fn pitches(&self, product: Product) -> [usize; 2] {
        let apart = if product == Product::Bf16 { 16 } else { 32 };
        let [out, input] = [self.out(), self.input()].map(|channels| channels * product.bytes());
        [out + apart, if input == 16 { input } else { input + apart }]
    }

    /// Bytes for the sums of warps that share channels.
    fn room(&self) -> usize {
        self.warps[2] / 2 * self.taps * self.out() * self.input() * 4
    }
}

/// Transform a gradient is cut: what decides the result to the bit. It depends on shapes, the product and the kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    shape: Shape,
    block: Block,
    tile: Tile,
    room: Room,
}

impl Cut {
    /// Nothing where a window is too large for one region.
    fn new(shape: Shape, product: Product, room: Room) -> Option<Self> {
        let blocks = Block::candidates(&shape);
        let fitting = blocks.iter().filter_map(|block| {
            let [gradient, source] = block.pitches(product);
            // Twice the gradient, which may be corrected by the raw values.
            let free =
                LEAST_SHARED.checked_sub(2 * SLOTS * gradient).filter(|_| block.room() <= LEAST_SHARED)?;
            let loads = 32 * block.threads() / (block.input() * product.bytes() / 16);
            let tile = shape.tile(SLOTS, (free / source).min(loads))?;
            Some(Cut { shape, block: *block, tile, room })
        });
        // A tile that is cut short for want of room costs more than smaller blocks of channels.
        let free = shape.tile(SLOTS, usize::MAX);
        let mut all: Vec<Cut> = fitting.collect();
        let whole = all.iter().position(|c| Some(c.tile) == free).unwrap_or(0);
        (!all.is_empty()).then(|| all.swap_remove(whole))
    }

    /// Blocks along channels.
    fn channel_blocks(&self) -> usize {
        self.shape.result[2].div_ceil(self.block.out()) * self.shape.source[2].div_ceil(self.block.input())
    }

    fn tap_groups(&self) -> usize {
        self.shape.taps().div_ceil(self.block.taps)
    }

    fn weights(&self) -> usize {
        self.shape.result[2] * self.shape.source[2] * self.shape.taps()
    }

    /// Tiles of a block, and blocks along tiles: each leaves a part of the sums.
    fn parts(&self, images: usize) -> [usize; 2] {
        let tiles = self.shape.tiles(&self.tile, images);
        let blocks = self.block.resident() * self.room.multiprocessors();
        let wanted = blocks.div_ceil(self.channel_blocks() * self.tap_groups());
        let affordable = PARTS / (self.weights() * 4);
        let each = tiles.div_ceil(wanted.min(affordable).clamp(1, tiles.max(1)));
        [each, tiles.div_ceil(each.max(1))]
    }

    fn stages(&self, product: Product, gradients: usize, limit: usize) -> Option<Stages> {
        let [gradient, source] = self.block.pitches(product);
        let stage = gradients * SLOTS * gradient + self.shape.region(&self.tile) * source;
        let parts = Parts { stage, raw: 0, weights: 0, all_weights: 0, room: 0 };
        let stages = Stages::choose(limit, self.block.resident(), parts)?;
        Some(Stages { shared: stages.shared.max(self.block.room()), ..stages })
    }

    fn defines(&self, product: Product, stages: Stages) -> Defines {
        let mut all = self.shape.defines(&self.tile);
        let numbers = [
            ("PRODUCT", usize::from(product == Product::F32)),
            ("TAPS", self.block.taps),
            ("SLOTS", SLOTS),
            ("WARPS_OUT", self.block.warps[0]),
            ("WARPS_IN", self.block.warps[1]),
            ("WARPS_PIXELS", self.block.warps[2]),
            ("TILES_OUT", self.block.tiles[0]),
            ("TILES_IN", self.block.tiles[1]),
            ("STAGES", stages.count),
            ("BLOCKS", stages.blocks),
        ];
        all.extend(numbers.map(|(name, n)| (name, extent(n))));
        all
    }
}

/// The kernel of a cut on devices with `limit` bytes of shared memory; nothing where it does not fit.
fn program(
    cut: &Cut,
    product: Product,
    limit: usize,
    source: &Loaded,
    gradient: &Loaded,
) -> Option<(&'static Program, Stages)> {
    let copied = Loaded::copies(gradient.dtype, product, cut.shape.result[2]);
    let gradients = if gradient.how == Transform::Corrected && copied { 2 } else { 1 };
    let stages = cut.stages(product, gradients, limit)?;
    let mut defines = cut.defines(product, stages);
    defines.extend(source.defines(["SOURCE_TYPE", "SOURCE_HOW"]));
    defines.push(("SOURCE_RELU", flag(source.relu)));
    defines.extend(gradient.defines(["GRADIENT_TYPE", "GRADIENT_HOW"]));
    Some((TEMPLATE.program(defines, stages.shared), stages))
}

/// Bytes for [`run`].
pub(in super::super) fn scratch(x: [usize; 4], out: usize, window: Conv2dParams) -> usize {
    let pass = forward_pass(x, out, window);
    let of = |product, room| {
        let cut = Cut::new(Shape::from(&pass), product, room);
        cut.map_or(0, |c| c.parts(pass.images)[1] * c.weights() * 4)
    };
    let products = [Product::Bf16, Product::F32];
    let most = products.into_iter().flat_map(|p| Room::ALL.map(|room| of(p, room))).max();
    // One after the other: they share it.
    most.unwrap_or(0).max(bias_scratch(&pass))
}

/// Whether there is a kernel for a gradient.
pub(in super::super) fn fits(driver: &Driver, pass: &Pass, product: Product) -> bool {
    Cut::new(Shape::from(pass), product, Room::of(driver)).is_some()
}

/// See [`Device::convolve_backward`](crate::Device::convolve_backward).
pub(in super::super) fn run(
    driver: &Driver,
    window: Conv2dParams,
    x: &Operand<'_>,
    dy: &Incoming<'_>,
    dw: WeightGrad<'_>,
    scratch: u64,
) {
    let pass = forward_pass(x.tensor.nhwc(), dy.grad.nhwc()[3], window);
    let product = Product::of(x.tensor.dtype(), dy.grad.dtype());
    let Some(cut) = Cut::new(Shape::from(&pass), product, Room::of(driver)) else { return };
    let (source, gradient) = (Loaded::from(x), Loaded::from(dy));
    let limit = driver.properties.shared;
    let Some((program, stages)) = program(&cut, product, limit, &source, &gradient) else {
        return driver
            .fail(format!("{cut:?} needs more than the {limit} bytes of shared memory of a block here"));
    };
    let [each, parts] = cut.parts(pass.images);
    let args = Args {
        source: source.data,
        source_factors: source.factors,
        gradient: gradient.data,
        raw: gradient.raw,
        gradient_factors: gradient.factors,
        parts: scratch,
        images: extent(pass.images),
        tiles: extent(cut.shape.tiles(&cut.tile, pass.images)),
        each: extent(each),
        unused: 0,
    };
    let grid = [parts, cut.channel_blocks(), cut.tap_groups()].map(extent);
    let (threads, shared) = (extent(cut.block.threads()), extent(stages.shared));
    driver.launch(program, "convolution_weights", Geometry { grid, threads, shared }, &args);
    add_parts(driver, scratch, parts, dw.weight.device_address(), cut.weights(), cut.shape.taps());
    if let Some(bias) = dw.bias {
        bias_gradient(driver, &pass, dy, bias, scratch);
    }
}

/// Some programs, for tests of the source: of both products, with several taps and with one.
#[cfg(test)]
pub(in super::super) fn programs() -> Vec<&'static Program> {
    use crate::DType;
    let of = |kernel: usize, dtype, how| {
        let pass = forward_pass([2, 16, 16, 64], 64, Conv2dParams { kernel, stride: 1, pad: kernel / 2 });
        let product = Product::of(dtype, dtype);
        let cut = Cut::new(Shape::from(&pass), product, Room::Large)?;
        let source = Loaded { data: 0, raw: 0, factors: 0, dtype, how: Transform::Scaled, relu: true };
        let gradient = Loaded { how, relu: false, ..source };
        Some(program(&cut, product, LEAST_SHARED, &source, &gradient)?.0)
    };
    let cases = [(3, DType::Bf16, Transform::Corrected), (1, DType::F32, Transform::Plain)];
    cases.into_iter().filter_map(|(kernel, dtype, how)| of(kernel, dtype, how)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fit_every_device() {
        for (kernel, stride, pad) in
            [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (2, 3, 1), (5, 1, 2)]
        {
            let window = Conv2dParams { kernel, stride, pad };
            for (side, n) in [(1, 5), (7, 256), (8, 1024), (32, 1024), (56, 256), (224, 64)] {
                for (c, out) in [(3, 64), (16, 16), (17, 70), (64, 64), (2048, 512), (512, 2048)] {
                    if window.output(side) == 0 {
                        continue;
                    }
                    let pass = forward_pass([n, side, side, c], out, window);
                    for product in [Product::Bf16, Product::F32] {
                        let cut = Cut::new(Shape::from(&pass), product, Room::Small).unwrap();
                        assert!(cut.stages(product, 2, LEAST_SHARED).is_some(), "{cut:?}");
                        let [each, parts] = cut.parts(n);
                        assert!(each * parts >= cut.shape.tiles(&cut.tile, n));
                        assert!(parts == 1 || parts * cut.weights() * 4 <= PARTS, "{cut:?}");
                        assert!(cut.block.threads() <= 256 && cut.channel_blocks() <= 65_535);
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_have_the_channels_of_the_layer() {
        let of = |c, out| {
            let pass = forward_pass([64, 8, 8, c], out, Conv2dParams { kernel: 3, stride: 1, pad: 1 });
            Cut::new(Shape::from(&pass), Product::Bf16, Room::Large).map(|c| [c.block.out(), c.block.input()])
        };
        assert_eq!([of(3, 16), of(16, 32), of(64, 64)], [Some([16, 8]), Some([32, 16]), Some([64, 64])]);
    }
}
