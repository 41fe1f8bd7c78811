//! Sums per channel: how pixels are cut into pieces.

use super::args::extent;
use super::geometry::Geometry;
use crate::Tensor;

/// Threads of a block, in `kernels/channels.cuh` too.
pub(super) const BLOCK: usize = 256;

/// Blocks that fill a large GPU, each of its multiprocessors with several.
const BLOCKS: usize = 1024;

/// The least pixels of a piece, so that what is written of it is little beside what is read.
const FEWEST: usize = 32;

/// The most pixels of a piece: sums are in 32 bits up to there.
const MOST: usize = 4096;

/// Channels that a thread takes at once: whole accesses of 16 bytes, where pixels begin at such.
pub(super) fn width(channels: usize) -> usize {
    if channels.is_multiple_of(8) { 8 } else { 1 }
}

/// Threads of a block that lie along channels.
pub(super) fn across(channels: usize) -> usize {
    (channels / width(channels)).next_power_of_two().min(32)
}

/// Blocks that lie along channels.
pub(super) fn groups(channels: usize) -> usize {
    channels.div_ceil(across(channels) * width(channels))
}

/// `struct Cut` of `kernels/channels.cuh`: how `[pixels][channels]` is cut into pieces, by shapes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Cut {
    pixels: u64,
    each: u64,
    channels: u32,
    width: u32,
    across: u32,
    unused: u32,
}

impl Cut {
    pub(super) fn new(pixels: usize, channels: usize) -> Self {
        let rows = BLOCK / across(channels);
        let pieces = (BLOCKS / groups(channels).max(1)).max(1);
        // At least two pixels a thread.
        let each = pixels.div_ceil(pieces).clamp(FEWEST.max(2 * rows), MOST).next_multiple_of(rows);
        Cut {
            pixels: pixels as u64,
            each: each as u64,
            channels: extent(channels),
            width: extent(width(channels)),
            across: extent(across(channels)),
            unused: 0,
        }
    }

    /// Of the pixels of a tensor.
    pub(super) fn of(x: &Tensor) -> Self {
        let c = x.nhwc()[3];
        Cut::new(x.len() / c.max(1), c)
    }

    pub(super) fn pixels(&self) -> usize {
        self.pixels as usize
    }

    pub(super) fn pieces(&self) -> usize {
        self.pixels.div_ceil(self.each) as usize
    }

    /// Bytes of `sums` sums of each piece.
    pub(super) fn bytes(&self, sums: usize) -> usize {
        self.pieces() * sums * self.channels as usize * 4
    }

    /// A block for each piece and group of channels; those of the same pixels lie beside each other.
    pub(super) fn geometry(&self) -> Geometry {
        let blocks = self.pieces() * groups(self.channels as usize);
        Geometry { grid: [extent(blocks), 1, 1], threads: BLOCK as u32, shared: 0 }
    }
}

/// Bytes for `sums` sums a channel over `[n, h, w, c]`.
pub(super) fn scratch(x: [usize; 4], sums: usize) -> usize {
    let [n, h, w, c] = x;
    Cut::new(n * h * w, c).bytes(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels and channels of each thread, as `Share` of `kernels/channels.cuh` finds them.
    fn visits(cut: &Cut) -> Vec<u32> {
        let (across, width) = (cut.across as usize, cut.width as usize);
        let (channels, groups) = (cut.channels as usize, groups(cut.channels as usize));
        let mut visits = vec![0; cut.pixels as usize * channels];
        for block in 0..cut.geometry().grid[0] as usize {
            let (begin, group) = (block / groups * cut.each as usize, block % groups);
            let end = (begin + cut.each as usize).min(cut.pixels as usize);
            for thread in 0..BLOCK {
                let c = (group * across + thread % across) * width;
                let pixels = (begin + thread / across..end).step_by(BLOCK / across);
                for p in pixels.filter(|_| c < channels) {
                    visits[p * channels + c..][..width].iter_mut().for_each(|v| *v += 1);
                }
            }
        }
        visits
    }

    #[test]
    fn every_value_has_one_thread() {
        for channels in [1, 2, 3, 8, 16, 17, 24, 31, 64, 70, 256, 264] {
            for pixels in [0, 1, 31, 32, 33, 1000, 4097] {
                let cut = Cut::new(pixels, channels);
                assert!(visits(&cut).iter().all(|&v| v == 1), "{cut:?}");
            }
        }
    }

    #[test]
    fn pieces_are_within_limits() {
        for channels in [1, 3, 16, 64, 2048, 100_000, 1_000_003] {
            for pixels in [1, 64, 8192, 1 << 20, 1 << 24] {
                let (cut, groups) = (Cut::new(pixels, channels), groups(channels));
                let (each, pieces) = (cut.each as usize, cut.pieces());
                assert!((FEWEST..=MOST).contains(&each), "{cut:?}");
                assert!(pieces * groups <= BLOCKS.max(groups).max(pixels.div_ceil(MOST) * groups), "{cut:?}");
                assert!(pieces * groups <= i32::MAX as usize);
                // What is written of the sums, against what is read of the gradient.
                assert!(pieces == 1 || cut.bytes(2) * FEWEST / 8 <= 2 * pixels * channels, "{cut:?}");
                assert_eq!(cut.across.count_ones(), 1);
                assert!(cut.across <= 32 && cut.channels.is_multiple_of(cut.width));
            }
        }
    }

    #[test]
    fn a_training_batch_fills_a_large_gpu() {
        for (pixels, channels) in [(1024 * 32 * 32, 16), (1024 * 8 * 8, 64), (256 * 7 * 7, 2048)] {
            let blocks = Cut::new(pixels, channels).geometry().grid[0];
            assert!((512..=1024).contains(&blocks), "{blocks} blocks for {pixels} pixels of {channels}");
        }
    }
}
