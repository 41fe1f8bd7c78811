//! A convolution's sizes without its number of images, and how its results are cut into tiles.

use super::super::driver::Driver;
use super::super::template::Defines;
use super::super::tiles::Pass;
use crate::ops::Conv2dParams;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Images that tiles are chosen for: enough for any number of them to be a tile's.
const IMAGES: usize = 256;

/// What a multiplied result costs beside a loaded pixel.
const RESULT_COST: usize = 2;

/// Extents `[h, w, c]` of what is read and of the result, as a pass has them but for its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) source: [usize; 3],
    pub(super) result: [usize; 3],
    pub(super) window: Conv2dParams,
    pub(super) backward: bool,
}

impl From<&Pass> for Shape {
    fn from(p: &Pass) -> Self {
        Shape { source: p.source, result: p.result, window: p.window, backward: p.backward }
    }
}

/// One axis of a class of results: the first source pixel, and taps. As `reach_of` in `kernels/specialised/geometry.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    origin: isize,
    taps: usize,
}

/// A shape's [`Shape::inner`] and [`Shape::breadth`], taken once for all tiles that are compared.
struct Sides {
    inner: usize,
    breadth: usize,
}

impl Sides {
    fn region(&self, t: &Tile) -> usize {
        let side = |outputs: usize| (outputs - 1) * self.inner + self.breadth;
        t.images * side(t.rows) * side(t.columns).next_multiple_of(self.inner)
    }
}

impl Shape {
    /// Classes of results along an axis.
    fn side_classes(&self) -> usize {
        if self.backward { self.window.stride } else { 1 }
    }

    pub(super) fn classes(&self) -> usize {
        self.side_classes() * self.side_classes()
    }

    fn reach(&self, r: usize) -> Reach {
        let Conv2dParams { kernel, stride, pad } = self.window;
        if !self.backward {
            return Reach { origin: -pad.cast_signed(), taps: kernel };
        }
        let first = (r + pad) % stride;
        let taps = if first < kernel { (kernel - first).div_ceil(stride) } else { 0 };
        Reach { origin: ((r + pad) / stride).cast_signed() - taps.cast_signed() + 1, taps }
    }

    /// The most taps of an axis of a class.
    fn side_taps(&self) -> usize {
        (0..self.side_classes()).map(|r| self.reach(r).taps).max().unwrap_or(1)
    }

    /// Region pixels of an axis beside those of the results, over all classes.
    fn breadth(&self) -> usize {
        let reaches = || (0..self.side_classes()).map(|r| self.reach(r)).filter(|r| r.taps > 0);
        let low = reaches().map(|r| r.origin).min().unwrap_or(0);
        let end = reaches().map(|r| r.origin + r.taps.cast_signed()).max().unwrap_or(1);
        (end - low).max(1).cast_unsigned()
    }

    /// Region pixels between neighbouring results.
    fn inner(&self) -> usize {
        if self.backward || self.side_taps() == 1 { 1 } else { self.window.stride }
    }

    /// Rows and columns of results of a class.
    fn outputs(&self) -> [usize; 2] {
        [self.result[0], self.result[1]].map(|n| n.div_ceil(self.side_classes()))
    }

    /// Taps of the window.
    pub(super) fn taps(&self) -> usize {
        self.window.kernel * self.window.kernel
    }

    /// The tile of at most `slots` results that loads and computes the least, with regions of at most `most` pixels. It is
    /// looked for once in a process: plans ask for those of a few shapes again and again.
    pub(super) fn tile(&self, slots: usize, most: usize) -> Option<Tile> {
        static FOUND: Mutex<BTreeMap<(Shape, usize, usize), Option<Tile>>> = Mutex::new(BTreeMap::new());
        // Held while it is looked for, so that two threads do not look for the same.
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        *found.entry((*self, slots, most)).or_insert_with(|| self.best_tile(slots, most))
    }

    fn best_tile(&self, slots: usize, most: usize) -> Option<Tile> {
        let sides = self.sides();
        let [h, w] = self.outputs();
        let widths = (1..=w).map(|parts| w.div_ceil(parts)).filter(|&columns| columns <= slots);
        let tiles = widths.flat_map(|columns| {
            (1..=h.min(slots / columns)).flat_map(move |rows| {
                let whole = rows == h && columns == w;
                let most = if whole { (slots / (rows * columns)).clamp(1, IMAGES) } else { 1 };
                let fewer = std::iter::successors(Some(most), |n| (*n > 1).then_some(n / 2));
                fewer.map(move |images| Tile { images, rows, columns })
            })
        });
        tiles.filter(|t| sides.region(t) <= most).min_by_key(|t| self.cost_of(t, slots, &sides))
    }

    /// What tiles of `slots` results, of which `t` are used, compute and load.
    pub(super) fn cost(&self, t: &Tile, slots: usize) -> usize {
        self.cost_of(t, slots, &self.sides())
    }

    fn cost_of(&self, t: &Tile, slots: usize, sides: &Sides) -> usize {
        self.tiles(t, IMAGES) * (RESULT_COST * slots + sides.region(t))
    }

    fn sides(&self) -> Sides {
        Sides { inner: self.inner(), breadth: self.breadth() }
    }

    /// Pixels of a tile's region in memory.
    pub(super) fn region(&self, t: &Tile) -> usize {
        self.sides().region(t)
    }

    /// Tiles of so many images.
    pub(super) fn tiles(&self, t: &Tile, images: usize) -> usize {
        let [h, w] = self.outputs();
        images.div_ceil(t.images) * h.div_ceil(t.rows) * w.div_ceil(t.columns)
    }

    /// Neighbouring tiles whose sums are taken together.
    pub(super) fn piece(&self, t: &Tile) -> usize {
        (self.tiles(t, IMAGES) / IMAGES).clamp(1, 8)
    }

    /// What `kernels/specialised/geometry.cuh` needs.
    pub(super) fn defines(&self, t: &Tile) -> Defines {
        let numbers = [
            ("SOURCE_H", self.source[0]),
            ("SOURCE_W", self.source[1]),
            ("SOURCE_C", self.source[2]),
            ("RESULT_H", self.result[0]),
            ("RESULT_W", self.result[1]),
            ("RESULT_C", self.result[2]),
            ("KERNEL_SIZE", self.window.kernel),
            ("STRIDE", self.window.stride),
            ("PAD", self.window.pad),
            ("BACKWARD", usize::from(self.backward)),
            ("TILE_N", t.images),
            ("TILE_H", t.rows),
            ("TILE_W", t.columns),
        ];
        numbers.map(|(name, n)| (name, super::super::args::extent(n))).to_vec()
    }
}

/// Images, rows and columns of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// Kinds of devices by the shared memory of a block. Devices of one kind compute the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// 99 KiB: capability 8.6, 8.9 and 12.
    Small,
    /// 163 KiB: 8.0.
    Middle,
    /// 227 KiB: 9.0 and 10.
    Large,
}

impl Room {
    pub(super) const ALL: [Room; 3] = [Room::Small, Room::Middle, Room::Large];

    /// Multiprocessors of such a device, about: work is cut for so many.
    pub(super) fn multiprocessors(self) -> usize {
        match self {
            Room::Small => 128,
            Room::Middle => 108,
            Room::Large => 132,
        }
    }

    /// The largest that a device has.
    pub(super) fn of(driver: &Driver) -> Self {
        let fits = |r: &Room| r.bytes() <= driver.properties.shared;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Room::Small)
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Room::Small => 99 << 10,
            Room::Middle => 163 << 10,
            Room::Large => 227 << 10,
        }
    }
}

/// How much of its work a block has in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stages {
    /// Steps whose sources are there, or on their way.
    pub(super) count: usize,
    /// Whether all weights are there for good.
    pub(super) held: bool,
    /// Blocks of a multiprocessor that find room.
    pub(super) blocks: usize,
    /// Bytes of a block.
    pub(super) shared: usize,
}

/// What a device leaves beside a block's own shared memory.
const RESERVED: usize = 1 << 10;

/// Bytes that shall be on their way to a multiprocessor: what its part of the bandwidth brings while one access takes.
const ON_THE_WAY: usize = 40 << 10;

/// Bytes that a block has in shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Of a step's source.
    pub(super) stage: usize,
    /// Of its raw values, which are done with a step earlier.
    pub(super) raw: usize,
    /// Of a step's weights, and of all.
    pub(super) weights: usize,
    pub(super) all_weights: usize,
    /// Of what stays.
    pub(super) room: usize,
}

impl Stages {
    /// The best that fits `limit` bytes of a multiprocessor which has registers for `most` blocks. Nothing where not even one
    /// stage fits.
    pub(super) fn choose(limit: usize, most: usize, parts: Parts) -> Option<Self> {
        let way = |blocks: usize, count: usize, held: bool| {
            let sources = count * parts.stage + (count - 1).max(1) * parts.raw;
            let weights = if held { parts.all_weights } else { count * parts.weights };
            let shared = parts.room + sources + weights;
            let fits = shared <= (limit + RESERVED) / blocks - RESERVED;
            fits.then_some(Stages { count, held, blocks, shared })
        };
        // As many stages as are of use: the first that has enough on its way, else the most.
        let deepest = |blocks: usize, held: bool| {
            let fitting = (2..=5).filter_map(|count| way(blocks, count, held));
            let mut best = None;
            for stages in fitting {
                best = Some(stages);
                if blocks * (stages.count - 1) * (parts.stage + parts.raw) >= ON_THE_WAY {
                    break;
                }
            }
            best
        };
        let blocks = || (1..=most.max(1)).rev();
        let held = blocks().find_map(|b| deepest(b, true));
        held.or_else(|| blocks().find_map(|b| deepest(b, false))).or_else(|| way(1, 1, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(source: [usize; 3], out: usize, window: Conv2dParams, backward: bool) -> Shape {
        let [h, w, c] = source;
        let result = [window.output(h), window.output(w), out];
        if backward {
            return Shape { source: result, result: [h, w, c], window, backward };
        }
        Shape { source, result, window, backward }
    }

    #[test]
    fn tiles_cover_every_output_and_fit() {
        for (h, w) in [(1, 1), (1, 33), (7, 7), (32, 32), (56, 56), (5, 300), (224, 224)] {
            for (kernel, stride, pad) in [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (2, 3, 1)] {
                let window = Conv2dParams { kernel, stride, pad };
                if window.output(h) == 0 || window.output(w) == 0 {
                    continue;
                }
                for backward in [false, true] {
                    let shape = shape([h, w, 16], 16, window, backward);
                    let t = shape.tile(256, 2048).unwrap();
                    assert!(t.images * t.rows * t.columns <= 256, "{shape:?} {t:?}");
                    let [oh, ow] = shape.outputs();
                    assert!(shape.tiles(&t, 3) * t.images * t.rows * t.columns >= 3 * oh * ow);
                }
            }
        }
    }

    #[test]
    fn the_shapes_of_networks_waste_little() {
        let same = Conv2dParams { kernel: 3, stride: 1, pad: 1 };
        for side in [32, 16, 8, 4, 56, 28, 14, 7] {
            let shape = shape([side, side, 64], 64, same, false);
            let t = shape.tile(256, 1024).unwrap();
            let used = (256 * side * side) as f64 / (shape.tiles(&t, 256) * 256) as f64;
            assert!(used > 0.75, "{side}: {used} of {t:?}");
        }
    }

    #[test]
    fn all_classes_of_a_gradient_share_a_region() {
        let shape = shape([32, 32, 16], 32, Conv2dParams { kernel: 3, stride: 2, pad: 1 }, true);
        assert_eq!((shape.classes(), shape.breadth(), shape.inner()), (4, 2, 1));
        assert_eq!(
            [0, 1].map(|r| shape.reach(r)),
            [Reach { origin: 0, taps: 1 }, Reach { origin: 0, taps: 2 }]
        );
    }

    #[test]
    fn small_weights_are_held_and_large_ones_streamed() {
        let k = |n: usize| n << 10;
        let of = |limit, most, stage, weights, all_weights| {
            let stages =
                Stages::choose(k(limit), most, Parts { stage, raw: 0, weights, all_weights, room: 0 });
            stages.map(|s| (s.count, s.held, s.blocks))
        };
        assert_eq!(of(227, 3, k(16), k(7), k(7)), Some((2, true, 3)));
        assert_eq!(of(227, 1, k(8), k(7), k(7)), Some((5, true, 1)));
        assert_eq!(of(227, 2, k(32), k(46), k(800)), Some((2, false, 1)));
        assert_eq!(of(99, 2, k(32), k(46), k(92)), Some((1, false, 1)));
        assert_eq!(of(64, 2, k(32), k(46), k(92)), None);
    }

    #[test]
    fn raw_values_have_a_buffer_less_than_sources() {
        let parts =
            Parts { stage: 26 << 10, raw: 26 << 10, weights: 23 << 10, all_weights: 23 << 10, room: 3 << 10 };
        let stages = Stages::choose(227 << 10, 2, parts).unwrap();
        assert_eq!((stages.count, stages.blocks, stages.shared), (2, 2, (3 * 26 + 23 + 3) << 10));
    }
}
