//! The coefficients of a JPEG, and the order in which scans bring them.

use super::layout::Header;

/// Quantised coefficients of 8x8 pixels, in zigzag order.
pub(super) type Block = [i16; 64];

/// All of a component.
pub(super) struct Plane {
    /// Blocks in a row, filled up to whole units.
    pub across: usize,
    /// Rows and columns of blocks that hold pixels: what a scan of this component alone brings.
    own: (usize, usize),
    /// Row by row.
    pub blocks: Vec<Block>,
    /// Its table of quantisation, as a file has it.
    pub quantisation: Option<Vec<u8>>,
    /// Whether a scan brought the blocks that only fill up units.
    pub padded: bool,
}

impl Plane {
    /// Blocks that only fill up units repeat their neighbour's mean, as encoders have it: upsampling may look at them.
    pub fn pad(&mut self) {
        if self.padded {
            return;
        }
        let (rows, columns) = self.own;
        for (at, row) in (0..).step_by(self.across).zip(0..self.blocks.len() / self.across) {
            for column in 0..self.across {
                if row >= rows || column >= columns {
                    let near = row.min(rows - 1) * self.across + column.min(columns - 1);
                    self.blocks[at + column][0] = self.blocks[near][0];
                }
            }
        }
    }
}

/// Empty planes of a picture.
pub(super) fn planes(header: &Header<'_>) -> Vec<Plane> {
    let (across, down) = most(header);
    let units = (header.height.div_ceil(8 * down), header.width.div_ceil(8 * across));
    let plane = |c: &super::layout::Component| {
        let (h, v) = (usize::from(c.across), usize::from(c.down));
        let blocks = |pixels: usize, of: usize, most: usize| (pixels * of).div_ceil(most).div_ceil(8);
        Plane {
            across: units.1 * h,
            own: (blocks(header.height, v, down), blocks(header.width, h, across)),
            blocks: vec![[0; 64]; units.0 * v * units.1 * h],
            quantisation: None,
            padded: false,
        }
    };
    header.components.iter().map(plane).collect()
}

/// The finest sampling.
fn most(header: &Header<'_>) -> (usize, usize) {
    let most = |of: fn(&super::layout::Component) -> u8| header.components.iter().map(of).max().unwrap_or(1);
    (usize::from(most(|c| c.across)), usize::from(most(|c| c.down)))
}

/// The units of a scan: a block of a component alone, or a rectangle of blocks of each of several.
pub(super) struct Units {
    columns: usize,
    count: usize,
    /// Per component: blocks of a unit across and down, and in a row of the plane.
    parts: Vec<(usize, usize, usize)>,
}

impl Units {
    /// Of a scan of these components.
    pub fn new(header: &Header<'_>, planes: &[Plane], of: &[usize]) -> Self {
        if let [alone] = of {
            let plane = &planes[*alone];
            let (rows, columns) = plane.own;
            return Units { columns, count: rows * columns, parts: vec![(1, 1, plane.across)] };
        }
        let (across, down) = most(header);
        let columns = header.width.div_ceil(8 * across);
        let part = |of: &usize| {
            let component = &header.components[*of];
            (usize::from(component.across), usize::from(component.down), planes[*of].across)
        };
        let count = columns * header.height.div_ceil(8 * down);
        Units { columns, count, parts: of.iter().map(part).collect() }
    }

    /// Of a component alone as `jpeg-decoder` takes them: all blocks of its plane, up to as many as the picture has pixels
    /// for, although a component that is sampled less than another has pixels for fewer.
    pub fn padded(header: &Header<'_>, plane: &Plane) -> Self {
        let rows = (plane.blocks.len() / plane.across).min(header.height.div_ceil(8));
        let columns = plane.across.min(header.width.div_ceil(8));
        Units { columns, count: rows * columns, parts: vec![(1, 1, plane.across)] }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The blocks of one, in order: the component's place in the scan, and the block's in its plane.
    pub fn blocks(&self, unit: usize) -> impl Iterator<Item = (usize, usize)> {
        let (row, column) = (unit / self.columns, unit % self.columns);
        self.parts.iter().enumerate().flat_map(move |(place, &(h, v, across))| {
            (0..v).flat_map(move |y| (0..h).map(move |x| (place, (row * v + y) * across + column * h + x)))
        })
    }
}
