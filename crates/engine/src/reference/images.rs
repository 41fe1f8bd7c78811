//! What makes images.

use super::Extents;
use crate::ops::{Border, Padding, PixelScale, draw};

/// Images `[.., 3]`: (bytes / 255 - mean) / std.
pub fn images_from_bytes(bytes: &[u8], scale: PixelScale) -> Vec<f64> {
    let pixel = |(i, &b): (usize, &u8)| {
        (f64::from(b) / 255.0 - f64::from(scale.mean[i % 3])) / f64::from(scale.std[i % 3])
    };
    bytes.iter().enumerate().map(pixel).collect()
}

/// Parts, as large as themselves, of the images of `set` `[n, h, w, 3]` with a border around them; which ones `draws` say
/// (columns of [`draw`]), each mirrored if asked; then as [`images_from_bytes`].
pub fn images_from_set(
    set: &[u8],
    extents: Extents,
    draws: &[[u32; draw::COLUMNS]],
    padding: Padding,
    scale: PixelScale,
) -> Vec<f64> {
    let [_, h, w, _] = extents;
    let mut bytes = Vec::new();
    for own in draws.iter().map(|d| d.map(|v| v as usize)) {
        let image = &set[own[draw::INDEX] * h * w * 3..][..h * w * 3];
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let x = if own[draw::FLIP] == 1 { w - 1 - x } else { x };
            let (y, x) = (beneath(y + own[draw::TOP], h, padding), beneath(x + own[draw::LEFT], w, padding));
            match y.zip(x) {
                Some((y, x)) => bytes.extend_from_slice(&image[(y * w + x) * 3..][..3]),
                None => bytes.extend([0; 3]),
            }
        }
    }
    images_from_bytes(&bytes, scale)
}

/// What position `at` of a padded size shows: a border of 2 around abc reads cbabcba, or nothing.
fn beneath(at: usize, extent: usize, padding: Padding) -> Option<usize> {
    let (at, last) = (at as isize - padding.pixels as isize, extent as isize - 1);
    match padding.border {
        _ if (0..=last).contains(&at) => Some(at as usize),
        Border::Zero => None,
        Border::Reflect => Some(if at < 0 { -at } else { 2 * last - at } as usize),
    }
}
