//! Weights as matrices.

use super::pack::padded;

/// Shape of weights `[point][block of columns][rows][columns of the block]`: rows are summed over, columns are what
/// products give, in blocks of two vectors (one at an odd end).
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub points: usize,
    pub rows: usize,
    /// Whole vectors.
    pub columns: usize,
    lanes: usize,
}

impl Matrix {
    pub fn new(points: usize, rows: usize, columns: usize, lanes: usize) -> Self {
        Matrix { points, rows, columns: padded(columns, lanes), lanes }
    }

    /// For kernels whose vectors have so many lanes.
    ///
    /// # Panics
    /// Where blocks are of others.
    #[inline(always)]
    pub fn check(&self, lanes: usize) {
        assert!(self.lanes == lanes && self.columns.is_multiple_of(lanes), "{self:?} for {lanes} lanes");
    }

    /// Floats of one point.
    pub fn point(&self) -> usize {
        self.rows * self.columns
    }

    /// Floats of all.
    pub fn len(&self) -> usize {
        self.points * self.point()
    }

    /// First column and width of block `b`.
    pub fn block(&self, b: usize) -> (usize, usize) {
        let first = b * 2 * self.lanes;
        (first, (self.columns - first).min(2 * self.lanes))
    }

    pub fn blocks(&self) -> usize {
        self.columns.div_ceil(2 * self.lanes)
    }
}
