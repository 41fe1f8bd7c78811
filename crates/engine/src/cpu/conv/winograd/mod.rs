//! Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016): 36 multiplications where a direct convolution
//! makes 144, for all three passes.
//!
//! A tile of 4x4 output values reads 6x6 input values. With the 1-D transforms `Bᵀ` (input), `G` (weights) and `Aᵀ`
//! (output), applied along rows and columns,
//!
//! - forward: `y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over channels before `Aᵀ`: 36 matrix products;
//! - input gradient: the same with the output's gradient as input and the window turned around;
//! - weight gradient: `dg = Gᵀ [Σ (A dy Aᵀ) ⊙ (Bᵀ d B)] G`, summed over tiles: 36 matrix products.
//!
//! The points of interpolation are 0, ±3/4, ±3/2 and infinity instead of the usual 0, ±1, ±2: every coefficient is
//! exact in binary, and the rounding error is 2.5 times that of a direct sum instead of 6 to 9 times.
//!
//! Kernels here are plain loops over plain arrays: what an iterator's or `array::map`'s closure does with vectors
//! would not be compiled for the kernel's instruction set.
#![allow(clippy::needless_range_loop)]

mod backward;
mod forward;
mod grid;
mod tiles;
mod transform;
mod weights;

use super::geometry::Geometry;

pub(super) use backward::{run as backward, scratch as backward_scratch};
pub(super) use forward::{packed, prepack, run as forward, scratch as forward_scratch};

/// Values of a transformed tile.
const POINTS: usize = 36;
/// Output rows and columns of a tile.
const STEP: usize = 4;

/// Whether this path is taken: 3x3 windows, step 1, enough channels to pay for the transforms, and tiles that
/// cover the image without much waste. Decided by shapes alone.
pub(super) fn fits(g: &Geometry) -> bool {
    let window = (g.k, g.s, g.p) == (3, 1, 1);
    let tiled = g.oh.next_multiple_of(STEP) * g.ow.next_multiple_of(STEP);
    window && g.c >= LEAST && g.oc >= LEAST && tiled <= 2 * g.oh * g.ow
}

/// Whether the weights' gradient takes this path too: its partial sums are four times those of the direct one.
pub(super) fn fits_weights(g: &Geometry) -> bool {
    fits(g) && g.c * g.oc <= WIDE
}

/// Fewest channels.
const LEAST: usize = 8;
/// Most pairs of channels for the weights' gradient.
const WIDE: usize = 128 * 128;
