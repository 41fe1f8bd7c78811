//! How the pixels of a convolution are cut into tiles, and how much shared memory these take.
//!
//! All of it follows from shapes alone: a plan needs no GPU, and results do not depend on which it is.

use super::args::extent;
use super::context::lock;
use crate::ops::Conv2dParams;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Pixels of a tile, as in `kernels/halo.cuh`.
pub(super) const SLOTS: usize = 128;

/// Pixels of a region at the most: with the narrowest rows 48 KiB.
const REGION: usize = 1024;

/// Blocks that fill a large GPU several times over.
pub(super) const BLOCKS: usize = 2048;

/// One axis: `outputs` pixels, each under `taps` of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) outputs: usize,
    /// Source pixels from one output to the next.
    pub(super) step: usize,
    pub(super) taps: usize,
}

/// A convolution as the kernels see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pass {
    pub(super) images: usize,
    /// Shape of what is read, `[h, w, c]`.
    pub(super) source: [usize; 3],
    /// Of the result, `[h, w, c]`.
    pub(super) result: [usize; 3],
    pub(super) window: Conv2dParams,
    /// Whether it is the gradient of the input: the result's pixels fall into classes by the stride.
    pub(super) backward: bool,
}

impl Pass {
    /// Classes of the result's pixels.
    pub(super) fn classes(&self) -> usize {
        if self.backward { self.window.stride * self.window.stride } else { 1 }
    }

    /// Rows or columns of taps of a class at the most.
    pub(super) fn taps(&self) -> usize {
        if self.backward { self.window.kernel.div_ceil(self.window.stride) } else { self.window.kernel }
    }

    /// The rows (0) or columns (1) of the first class, which has the most.
    pub(super) fn axis(&self, which: usize) -> Axis {
        let extent = self.result[which];
        if self.backward {
            return Axis { outputs: extent.div_ceil(self.window.stride), step: 1, taps: self.taps() };
        }
        Axis { outputs: extent, step: self.window.stride, taps: self.taps() }
    }

    /// Source pixels between neighbours of a region, and region pixels between neighbouring outputs: between the
    /// windows of a single tap lies nothing that is read.
    fn spacing(&self) -> (usize, usize) {
        let step = self.axis(0).step;
        if self.taps() == 1 { (step, 1) } else { (1, step) }
    }
}

/// Images, rows and columns of a tile, and the rows of taps that its region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    pub(super) images: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows of taps that are done at once.
    pub(super) tap_rows: usize,
    /// Tiles along images, rows and columns.
    pub(super) counts: [usize; 3],
    scale: usize,
    inner: usize,
    taps: usize,
}

impl Tiling {
    /// The tiling that loads and computes the least.
    pub(super) fn new(pass: &Pass) -> Self {
        let mut tap_rows = pass.taps();
        loop {
            match Self::within(pass, tap_rows, REGION) {
                Some(tiling) => return tiling,
                None if tap_rows > 1 => tap_rows = tap_rows.div_ceil(2),
                None => return Self::smallest(pass, 1),
            }
        }
    }

    /// One output at a time: for windows of more than a thousand columns.
    pub(super) fn smallest(pass: &Pass, tap_rows: usize) -> Self {
        Self::of(pass, (1, 1, 1), tap_rows)
    }

    /// The same for so many rows of taps at once, with regions of at most `region` pixels.
    pub(super) fn within(pass: &Pass, tap_rows: usize, region: usize) -> Option<Self> {
        // A network asks for few tilings, but at every step.
        static KNOWN: Mutex<BTreeMap<(Pass, usize, usize), Option<Tiling>>> = Mutex::new(BTreeMap::new());
        let key = (*pass, tap_rows, region);
        *lock(&KNOWN).entry(key).or_insert_with(|| Self::search(pass, tap_rows, region))
    }

    fn search(pass: &Pass, tap_rows: usize, region: usize) -> Option<Self> {
        let (h, w) = (pass.axis(0).outputs, pass.axis(1).outputs);
        let widths = (1..=w.min(SLOTS)).map(|parts| w.div_ceil(parts)).filter(|&columns| columns <= SLOTS);
        let narrow = (w > SLOTS).then(|| w.div_ceil(w.div_ceil(SLOTS)));
        let tilings = widths.chain(narrow).flat_map(|columns| {
            (1..=h.min(SLOTS / columns)).map(move |rows| {
                let whole = rows == h && columns == w;
                let images = if whole { pass.images.min(SLOTS / (rows * columns)).max(1) } else { 1 };
                Self::of(pass, (images, rows, columns), tap_rows)
            })
        });
        // Every slot is computed, and every pixel of a region loaded and transformed.
        let cost = |t: &Tiling| t.tiles() * (SLOTS + t.region());
        tilings.filter(|t| t.region() <= region).min_by_key(cost)
    }

    fn of(pass: &Pass, (images, rows, columns): (usize, usize, usize), tap_rows: usize) -> Self {
        let (h, w) = (pass.axis(0).outputs, pass.axis(1).outputs);
        let counts = [pass.images.div_ceil(images), h.div_ceil(rows), w.div_ceil(columns)];
        let (scale, inner) = pass.spacing();
        Tiling { images, rows, columns, tap_rows, counts, scale, inner, taps: pass.taps() }
    }

    /// All tiles of a class.
    pub(super) fn tiles(&self) -> usize {
        self.counts.iter().product()
    }

    /// Source pixels that a tile needs.
    pub(super) fn region(&self) -> usize {
        self.region_for(self.tap_rows)
    }

    /// The same for so many rows of taps.
    pub(super) fn region_for(&self, tap_rows: usize) -> usize {
        let side = |outputs: usize, taps: usize| (outputs - 1) * self.inner + taps;
        self.images * side(self.rows, tap_rows) * side(self.columns, self.taps)
    }

    /// `struct Plane`.
    pub(super) fn plane(&self, pass: &Pass) -> TilesArgs {
        let [source_h, source_w, source_c] = pass.source.map(extent);
        TilesArgs {
            images: extent(pass.images),
            source_h,
            source_w,
            source_c,
            tile_n: extent(self.images),
            tile_h: extent(self.rows),
            tile_w: extent(self.columns),
            tiles_h: extent(self.counts[1]),
            tiles_w: extent(self.counts[2]),
            tiles: extent(self.tiles()),
            scale_h: extent(self.scale),
            scale_w: extent(self.scale),
            inner_h: extent(self.inner),
            inner_w: extent(self.inner),
        }
    }
}

/// `struct Plane` of `kernels/halo.cuh`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct TilesArgs {
    images: u32,
    source_h: u32,
    source_w: u32,
    source_c: u32,
    tile_n: u32,
    tile_h: u32,
    tile_w: u32,
    tiles_h: u32,
    tiles_w: u32,
    tiles: u32,
    scale_h: u32,
    scale_w: u32,
    inner_h: u32,
    inner_w: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(source: [usize; 4], out: usize, window: Conv2dParams, backward: bool) -> Pass {
        let [n, h, w, c] = source;
        let result = [window.output(h), window.output(w), out];
        if backward {
            return Pass { images: n, source: result, result: [h, w, c], window, backward };
        }
        Pass { images: n, source: [h, w, c], result, window, backward }
    }

    #[test]
    fn tiles_cover_every_output_and_fit() {
        for (h, w) in [(1, 1), (1, 33), (7, 7), (32, 32), (56, 56), (5, 300), (224, 224)] {
            for (kernel, stride, pad) in
                [(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (7, 2, 3), (40, 1, 20), (2, 3, 1)]
            {
                let window = Conv2dParams { kernel, stride, pad };
                if window.output(h) == 0 || window.output(w) == 0 {
                    continue;
                }
                for (n, backward) in [(1, false), (130, false), (3, true)] {
                    let pass = pass([n, h, w, 16], 16, window, backward);
                    let t = Tiling::new(&pass);
                    assert!(t.images * t.rows * t.columns <= SLOTS && t.region() <= REGION, "{pass:?} {t:?}");
                    assert!(t.counts[0] * t.images >= n);
                    assert!(t.counts[1] * t.rows >= pass.axis(0).outputs);
                    assert!(t.counts[2] * t.columns >= pass.axis(1).outputs);
                }
            }
        }
    }

    #[test]
    fn the_shapes_of_networks_waste_little() {
        let same = Conv2dParams { kernel: 3, stride: 1, pad: 1 };
        for (side, n) in
            [(32, 1024), (16, 1024), (8, 1024), (4, 1024), (56, 256), (28, 256), (14, 256), (7, 256)]
        {
            let t = Tiling::new(&pass([n, side, side, 64], 64, same, false));
            let used = (n * side * side) as f64 / (t.tiles() * SLOTS) as f64;
            assert!(used > 0.75, "{side}: {used} of {t:?}");
        }
        let linear =
            Tiling::new(&pass([1024, 1, 1, 64], 10, Conv2dParams { kernel: 1, stride: 1, pad: 0 }, false));
        assert_eq!((linear.images, linear.tiles()), (128, 8));
    }

    #[test]
    fn windows_of_one_tap_load_only_what_they_read() {
        let t = Tiling::new(&pass([2, 16, 16, 8], 8, Conv2dParams { kernel: 1, stride: 2, pad: 0 }, false));
        assert_eq!(t.region(), t.images * t.rows * t.columns);
    }
}
