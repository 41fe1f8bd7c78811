//! Operations that move pixels: every pixel shows the nearest one of where it comes from, as torchvision's `affine` finds
//! it, in 32 bits, by coordinates from -1 to 1.

use std::cell::RefCell;

thread_local! {
    /// A worker's copy of the image that is changed.
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Moves lines along each other, by these parts (horizontally, vertically) of their distance from the first one.
pub(super) fn shear(rgb: &mut [u8], size: usize, by: [f64; 2], fill: [u8; 3]) {
    // As torchvision makes angles of them, and takes these apart again.
    let [sx, sy] = by.map(|part| part.atan().to_degrees().to_radians());
    let corner = -0.5 * size as f64;
    affine(rgb, size, inverse([corner, corner], 0.0, [sx, sy]), fill);
}

/// Turns the image around its centre, counter-clockwise, by degrees.
pub(super) fn rotate(rgb: &mut [u8], size: usize, degrees: f64, fill: [u8; 3]) {
    affine(rgb, size, inverse([0.0, 0.0], (-degrees).to_radians(), [0.0, 0.0]), fill);
}

/// Moves the image down and to the right.
pub(super) fn translate(rgb: &mut [u8], size: usize, [down, right]: [isize; 2], fill: [u8; 3]) {
    let source = |at: usize, by: isize| at.checked_add_signed(-by).filter(|at| *at < size);
    copied(rgb, |from, rgb| {
        for (y, row) in rgb.chunks_exact_mut(size * 3).enumerate() {
            let line = source(y, down).map(|y| &from[y * size * 3..(y + 1) * size * 3]);
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                match (line, source(x, right)) {
                    (Some(line), Some(x)) => pixel.copy_from_slice(&line[x * 3..x * 3 + 3]),
                    _ => pixel.copy_from_slice(&fill),
                }
            }
        }
    });
}

/// torchvision's `_get_inverse_affine_matrix` without scaling and translation, in radians: from where a pixel comes.
fn inverse([cx, cy]: [f64; 2], turn: f64, [sx, sy]: [f64; 2]) -> [f64; 6] {
    let (cos, sin) = ((turn - sy).cos() / sy.cos(), (turn - sy).sin() / sy.cos());
    let (a, b, c, d) = (cos, -cos * sx.tan() - turn.sin(), sin, -sin * sx.tan() + turn.cos());
    let [m0, m1, m3, m4] = [d, -b, -c, a];
    [m0, m1, m0 * -cx + m1 * -cy + cx, m3, m4, m3 * -cx + m4 * -cy + cy]
}

/// Added and taken away again, it rounds what is small beside it to a whole number, to the even one of two.
const WHOLE: f32 = 1.5 * (1 << 23) as f32;

/// Fills every pixel from where `matrix` says, counted from the image's centre.
fn affine(rgb: &mut [u8], size: usize, matrix: [f64; 6], fill: [u8; 3]) {
    let half = 0.5 * size as f32;
    let [xx, xy, x0, yx, yy, y0] = matrix.map(|v| v as f32 / half);
    let place = |at: usize| at as f32 + 0.5 - half;
    // The second product is added before it is rounded: matrix products of processors fuse both.
    let fused = |first: f32, second: f64| (f64::from(first) + second) as f32;
    // From -1 to 1 to pixels; the nearest one.
    let pixel = |part: f32| {
        let at = (((part + 1.0) * half - 0.5) + WHOLE) - WHOLE;
        (at >= 0.0 && at < size as f32).then_some(at as u32 as usize)
    };
    copied(rgb, |from, rgb| {
        for (y, row) in rgb.chunks_exact_mut(size * 3).enumerate() {
            let [down_x, down_y] = [xy, yy].map(|m| f64::from(place(y)) * f64::from(m));
            for (x, out) in row.chunks_exact_mut(3).enumerate() {
                let right = place(x);
                let from_x = pixel(fused(right * xx, down_x) + x0);
                match (from_x, pixel(fused(right * yx, down_y) + y0)) {
                    (Some(x), Some(y)) => out.copy_from_slice(&from[(y * size + x) * 3..][..3]),
                    _ => out.copy_from_slice(&fill),
                }
            }
        }
    });
}

/// Calls `f` with the image as it is and the bytes to fill.
fn copied(rgb: &mut [u8], f: impl FnOnce(&[u8], &mut [u8])) {
    COPY.with_borrow_mut(|copy| {
        copy.clear();
        copy.extend_from_slice(rgb);
        f(copy, rgb);
    });
}
