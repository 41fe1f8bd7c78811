//! What codes of coefficients are, however they are written.

use super::super::super::Fault;
use super::super::planes::Block;

/// What is said of a code that brings too much.
pub(super) const BEYOND: &str = "the file is damaged: its codes go on behind a block's last coefficient";

/// What a scan says of the coefficients in it.
#[derive(Clone, Copy)]
pub(super) struct Band {
    /// The first in zigzag order.
    pub first: usize,
    /// The last.
    pub last: usize,
    /// Whether it adds a bit to what is known.
    pub refined: bool,
    /// Bits that follow in later scans.
    pub shift: u32,
}

/// The codes of a restart interval.
pub(super) trait Codes {
    /// Decodes what a scan brings of a block; `place` is the component's in the scan.
    ///
    /// # Errors
    /// A damaged code.
    fn block(&mut self, part: Part, place: usize, band: Band, block: &mut Block) -> Result<(), Fault>;

    /// Decisions since all bytes were taken.
    fn beyond(&self) -> u64;
}

/// A component of a scan: which one, and its tables.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub component: usize,
    pub dc: usize,
    pub ac: usize,
}
