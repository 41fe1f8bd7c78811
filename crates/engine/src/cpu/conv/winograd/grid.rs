//! How an operation's tiles are cut into units of work.

use super::{POINTS, STEP};
use crate::cpu::conv::geometry::Geometry;
use std::ops::Range;

/// Transformed operands of a unit should stay in the second-level cache.
const UNIT_BYTES: usize = 288 << 10;
/// Fewest tiles of a unit: all weights pass through the cache once a unit.
const LEAST_TILES: usize = 16;
/// Floats between the points of a transformed unit, beyond its values: without it they would share cache sets.
const SKEW: usize = 16;

/// Rows of tiles, and units of several rows, possibly of several images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Rows of tiles of an image, and tiles of a row.
    pub rows: usize,
    pub columns: usize,
    /// Rows of tiles of a unit.
    band: usize,
    /// Rows of tiles of all images.
    total: usize,
}

/// The tiles that a unit has in one image.
pub(super) struct Segment {
    pub image: usize,
    /// Rows of tiles within the image.
    pub rows: Range<usize>,
    /// The unit's tiles before these.
    pub first: usize,
}

impl Segment {
    /// The output rows that the tiles stand for, some perhaps below the image.
    pub fn pixels(&self) -> Range<usize> {
        self.rows.start * STEP..self.rows.end * STEP
    }
}

impl Grid {
    pub fn new(g: &Geometry) -> Self {
        let (rows, columns) = (g.oh.div_ceil(STEP), g.ow.div_ceil(STEP));
        let total = g.n * rows;
        let tiles = (UNIT_BYTES / (POINTS * 4 * (g.c + g.oc))).max(LEAST_TILES);
        let band = (tiles / columns).clamp(1, total.max(1));
        // Equal units rather than a small last one.
        let band = total.div_ceil(total.div_ceil(band).max(1)).max(1);
        Grid { rows, columns, band, total }
    }

    /// Units of work.
    pub fn units(&self) -> usize {
        self.total.div_ceil(self.band)
    }

    /// Most tiles of a unit.
    pub fn tiles(&self) -> usize {
        self.band * self.columns
    }

    /// Most rows of tiles that a unit has in one image.
    pub fn deepest(&self) -> usize {
        self.band.min(self.rows)
    }

    /// The rows of tiles, over all images, of unit `u`; none behind the last one.
    fn unit(&self, u: usize) -> Range<usize> {
        (u * self.band).min(self.total)..((u + 1) * self.band).min(self.total)
    }

    /// Tiles of unit `u`.
    pub fn count(&self, u: usize) -> usize {
        self.unit(u).len() * self.columns
    }

    /// The parts of unit `u`, image by image.
    pub fn segments(&self, u: usize) -> impl Iterator<Item = Segment> + use<> {
        let (grid, unit) = (*self, self.unit(u));
        let mut next = unit.start;
        std::iter::from_fn(move || {
            (next < unit.end).then(|| {
                let (image, row) = (next / grid.rows, next % grid.rows);
                let rows = row..(row + unit.end - next).min(grid.rows);
                let first = (next - unit.start) * grid.columns;
                next += rows.len();
                Segment { image, rows, first }
            })
        })
    }

    /// The values that unit `u` is the first to read of images of `height` rows of `row` floats.
    pub fn range(&self, u: usize, height: usize, row: usize) -> Range<usize> {
        let at = |r: usize| (r / self.rows * height + (r % self.rows * STEP).min(height)) * row;
        let unit = self.unit(u);
        at(unit.start)..at(unit.end)
    }
}

/// Floats from one point to the next of a transformed unit of `tiles` tiles of `channels` channels.
pub(super) fn pitch(tiles: usize, channels: usize) -> usize {
    (tiles * channels).next_multiple_of(SKEW) + SKEW
}
