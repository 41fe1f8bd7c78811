//! Erased rectangles.

use crate::data::resize::Region;
use crate::rng::Rng;

/// Share of the image's area that is erased, and the rectangle's height over width: torchvision's defaults.
const SCALE: [f64; 2] = [0.02, 0.33];
const RATIO: [f64; 2] = [0.3, 3.3];

/// torchvision's `RandomErasing.get_params`: with the probability given, ten tries for a rectangle that fits; none after.
pub(super) fn random(size: usize, probability: f64, rng: &mut Rng) -> Option<Region> {
    if rng.uniform() >= probability {
        return None;
    }
    (0..10).find_map(|_| {
        let area = (size * size) as f64 * rng.range(SCALE[0], SCALE[1]);
        let aspect = rng.range(RATIO[0].ln(), RATIO[1].ln()).exp();
        let height = (area * aspect).sqrt().round_ties_even() as usize;
        let width = (area / aspect).sqrt().round_ties_even() as usize;
        // As torchvision has it, neither side is all of the image's.
        (height < size && width < size).then(|| Region {
            top: rng.below(size - height + 1),
            left: rng.below(size - width + 1),
            height,
            width,
        })
    })
}

/// The part within the image of a square of `side` pixels around a random pixel.
pub(super) fn square(size: usize, side: usize, rng: &mut Rng) -> Region {
    let mut span = || {
        let first = rng.below(size) as isize - (side / 2) as isize;
        let start = first.max(0) as usize;
        (start, (first + side as isize).min(size as isize) as usize - start)
    };
    let ((top, height), (left, width)) = (span(), span());
    Region { top, left, height, width }
}

/// Fills a rectangle of an image of `size x size` pixels.
pub(super) fn fill(rgb: &mut [u8], size: usize, hole: Region, colour: [u8; 3]) {
    for row in rgb.chunks_exact_mut(size * 3).skip(hole.top).take(hole.height) {
        for pixel in row[hole.left * 3..(hole.left + hole.width) * 3].chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }
}
