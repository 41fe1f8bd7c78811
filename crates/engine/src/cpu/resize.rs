//! Bilinear resizing with aligned corners, and its gradient, one image at a time.

use super::conv::Load;
use super::pool::Plane;
use super::simd::kernel;
use super::value::narrow;

/// The two input lines an output line lies between, and the second one's part.
#[inline(always)]
fn source(o: usize, size: usize, out: usize) -> (usize, usize, f32) {
    let step = if out > 1 { (size - 1) as f64 / (out - 1) as f64 } else { 0.0 };
    let at = o as f64 * step;
    let low = (at as usize).min(size - 1);
    (low, (low + 1).min(size - 1), (at - low as f64) as f32)
}

/// Calls `f` with every output pixel's index and its four (input pixel, weight) pairs.
#[inline(always)]
fn corners(plane: Plane, mut f: impl FnMut(usize, [(usize, f32); 4])) {
    for y in 0..plane.oh {
        let (y0, y1, ty) = source(y, plane.h, plane.oh);
        for x in 0..plane.ow {
            let (x0, x1, tx) = source(x, plane.w, plane.ow);
            let at = |y: usize, x: usize| y * plane.w + x;
            f(
                y * plane.ow + x,
                [
                    (at(y0, x0), (1.0 - ty) * (1.0 - tx)),
                    (at(y0, x1), (1.0 - ty) * tx),
                    (at(y1, x0), ty * (1.0 - tx)),
                    (at(y1, x1), ty * tx),
                ],
            );
        }
    }
}

/// Channels whose sums stay in registers.
const WIDE: usize = 32;

kernel! {
    /// One image.
    fn resize_image<S, X>(plane: Plane, load: Load<'_>, x: &[X], y: &mut [X]) {
        let _ = S::LANES;
        let c = plane.c;
        corners(plane, |o, corners| {
            for first in (0..c).step_by(WIDE) {
                let n = WIDE.min(c - first);
                let mut sums = [0f32; WIDE];
                let sums = &mut sums[..n];
                for (p, weight) in corners {
                    let x = &x[p * c + first..][..n];
                    match load.affine {
                        None => {
                            for (s, x) in sums.iter_mut().zip(x) {
                                let v = x.wide();
                                *s += weight * if load.relu && v <= 0.0 { 0.0 } else { v };
                            }
                        }
                        Some((a, b)) => {
                            for (((s, x), a), b) in sums.iter_mut().zip(x).zip(&a[first..]).zip(&b[first..]) {
                                let v = x.wide() * a + b;
                                *s += weight * if load.relu && v <= 0.0 { 0.0 } else { v };
                            }
                        }
                    }
                }
                narrow(sums, &mut y[o * c + first..][..n]);
            }
        });
    }
}

kernel! {
    /// Adds the gradient of one image.
    fn resize_image_backward<S, X>(plane: Plane, dy: &[X], dx: &mut [f32]) {
        let _ = S::LANES;
        let c = plane.c;
        corners(plane, |o, corners| {
            for (p, weight) in corners {
                for (x, g) in dx[p * c..(p + 1) * c].iter_mut().zip(&dy[o * c..(o + 1) * c]) {
                    *x += weight * g.wide();
                }
            }
        });
    }
}
