//! Extents of one image between layers.

use std::fmt;

/// Height, width and channels of a layer's input or output, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl Extent {
    /// A square extent.
    pub fn square(side: usize, channels: usize) -> Self {
        Extent { height: side, width: side, channels }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}
