//! Shape of one image between layers.

use std::fmt;

/// Height, width and channels of a layer's input or output, without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

impl ImageShape {
    /// A square size.
    pub fn square(side: usize, channels: usize) -> Self {
        ImageShape { height: side, width: side, channels }
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}", self.height, self.width, self.channels)
    }
}
