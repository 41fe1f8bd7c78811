//! The sizes of a convolution and how it is cut into units of work.

use crate::ops::Conv2dParams;
use std::ops::Range;

/// Packed rows of a unit should stay in the second-level cache.
const BAND_BYTES: usize = 96 << 10;

/// Operands of a line of pixels without neighbours should stay in the second-level cache.
const LINE_BYTES: usize = 192 << 10;

/// Fewest pixels of such a line.
const LEAST_LINE: usize = 64;

/// Shape of one convolution, possibly of a regrouped view of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Images.
    pub n: usize,
    /// Input rows, columns and channels.
    pub h: usize,
    pub w: usize,
    pub c: usize,
    /// Output rows, columns and channels.
    pub oh: usize,
    pub ow: usize,
    pub oc: usize,
    /// Side of the window, step and border.
    pub k: usize,
    pub s: usize,
    pub p: usize,
    /// Output rows of a unit.
    pub band: usize,
}

impl Geometry {
    pub(super) fn new([n, h, w, c]: [usize; 4], oc: usize, window: Conv2dParams) -> Self {
        let Conv2dParams { kernel: k, stride, pad: p } = window;
        // A step beyond the padded input gives the same single window as the shortest such step.
        let s = stride.min((h.max(w) + 2 * p - k).max(1) + 1);
        // Without neighbours, pixels are rows of a matrix: regroup them into lines of a handy length.
        let ([n, h, w], k1) = if (k, s, p) == (1, 1, 0) {
            let line = line_length(n * h * w, c, oc);
            ([n * h * w / line, 1, line], true)
        } else {
            ([n, h, w], false)
        };
        let (oh, ow) = if k1 { (h, w) } else { (window.output(h), window.output(w)) };
        let row = (w + 2 * p) * c * s * 4;
        let band = (BAND_BYTES / row.max(1)).clamp(1, oh.max(1));
        // Equal bands rather than a small last one.
        let band = oh.div_ceil(oh.div_ceil(band).max(1)).max(1);
        Geometry { n, h, w, c, oh, ow, oc, k, s, p, band }
    }

    /// Bands of an image.
    pub(super) fn bands(&self) -> usize {
        self.oh.div_ceil(self.band)
    }

    /// Units of work: (image, band).
    pub(super) fn units(&self) -> usize {
        self.n * self.bands()
    }

    /// Image and output rows of a unit.
    pub(super) fn unit(&self, u: usize) -> (usize, Range<usize>) {
        let b = u % self.bands() * self.band;
        (u / self.bands(), b..(b + self.band).min(self.oh))
    }

    /// The floats of the input that a unit is the first to read; none behind the last unit.
    pub(super) fn x_range(&self, u: usize) -> Range<usize> {
        let at = |u: usize| {
            let (n, rows) = self.unit(u);
            (n * self.h + rows.start * self.s) * self.w * self.c
        };
        if u >= self.units() {
            return 0..0;
        }
        // The last rows of a unit may lie in the border below the image.
        let end = at(u + 1).min(self.n * self.h * self.w * self.c);
        at(u).min(end)..end
    }

    /// The floats of the output that a unit owns; none behind the last unit.
    pub(super) fn y_range(&self, u: usize) -> Range<usize> {
        if u >= self.units() {
            return 0..0;
        }
        let (n, rows) = self.unit(u);
        let row = |r: usize| (n * self.oh + r) * self.ow * self.oc;
        row(rows.start)..row(rows.end)
    }

    /// Floats of a packed input row.
    pub(super) fn x_pitch(&self) -> usize {
        (self.w + 2 * self.p) * self.c
    }

    /// Floats of the packed input rows of a unit.
    pub(super) fn x_packed(&self) -> usize {
        ((self.band - 1) * self.s + self.k) * self.x_pitch()
    }

    /// Elements that one output value sums over.
    pub(super) fn depth(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Columns of zeros before and behind a packed row of the output's gradient.
    pub(super) fn dy_border(&self) -> (usize, usize) {
        let left = (self.k - 1 - self.p).div_ceil(self.s);
        let right = ((self.w - 1 + self.p) / self.s + 1).saturating_sub(self.ow);
        (left, right)
    }

    /// Floats of a packed row of the output's gradient, `ocp` channels a pixel.
    pub(super) fn dy_pitch(&self, ocp: usize) -> usize {
        let (left, right) = self.dy_border();
        (left + self.ow + right) * ocp
    }

    /// Input rows whose gradient belongs to the unit with these output rows.
    pub(super) fn input_rows(&self, rows: &Range<usize>) -> Range<usize> {
        let end = if rows.end == self.oh { self.h } else { (rows.end * self.s).min(self.h) };
        (rows.start * self.s).min(end)..end
    }

    /// Rows of the output's gradient (possibly outside of it) that a unit reads, as (first, count).
    pub(super) fn dy_rows(&self, rows: &Range<usize>) -> (isize, usize) {
        let input = self.input_rows(rows);
        let (p, k, s) = (self.p as isize, self.k as isize, self.s as isize);
        let first = (input.start as isize + p - k + 1).div_euclid(s).min(rows.start as isize);
        let last = ((input.end as isize - 1 + p).div_euclid(s)).max(rows.end as isize - 1);
        (first, (last - first + 1) as usize)
    }

    /// The most that [`Geometry::dy_rows`] counts.
    pub(super) fn dy_rows_most(&self) -> usize {
        (0..self.bands()).map(|b| self.dy_rows(&self.unit(b).1).1).max().unwrap_or(0)
    }
}

/// The largest divisor of `pixels` whose line of both operands stays in the cache.
fn line_length(pixels: usize, c: usize, oc: usize) -> usize {
    // All weights pass through the cache once a line.
    let most = (LINE_BYTES / (4 * (c + oc).max(1))).max(LEAST_LINE).min(pixels.max(1));
    (1..=most).rev().find(|d| pixels.is_multiple_of(*d)).unwrap_or(1)
}

/// The taps of one residue class of input rows (or columns): window positions `phase`, `phase + s`, …
#[derive(Clone, Copy, Debug)]
pub(super) struct Phase {
    /// The class: `(index + p) % s`.
    pub phase: usize,
    /// How many window positions fall on it.
    pub taps: usize,
    /// The first index of the class.
    pub first: usize,
}

impl Phase {
    pub(super) fn new(phase: usize, g: &Geometry) -> Self {
        let taps = if phase < g.k { (g.k - phase).div_ceil(g.s) } else { 0 };
        let first = (phase + g.s - g.p % g.s) % g.s;
        Phase { phase, taps, first }
    }

    /// The last window position of the class.
    pub(super) fn last_tap(&self, g: &Geometry) -> usize {
        self.phase + g.s * self.taps.saturating_sub(1)
    }

    /// Indices of the class in `range`, as (first, count).
    pub(super) fn within(&self, range: &Range<usize>, g: &Geometry) -> (usize, usize) {
        let first = if range.start <= self.first {
            self.first
        } else {
            self.first + (range.start - self.first).div_ceil(g.s) * g.s
        };
        (first, if first < range.end { (range.end - first).div_ceil(g.s) } else { 0 })
    }
}
