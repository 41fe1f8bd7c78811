//! Bilinear resizing with aligned corners, and its gradient, one image at a time.

use super::blocks::{for_blocks, load_block, store_block};
use super::kernel::kernel;
use super::load::Load;
use super::operand::load;
use super::pool::{ImageSizes, each_image, gradient_scratch, image};
use super::simd::Simd;
use super::value::{Value, typed};
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Kernel, Resize, ResizeBackward};

impl Kernel<Resize<'_>> for Cpu {
    fn launch(&self, Resize { x, .. }: Resize<'_>, y: &mut Tensor, _: Scratch<'_>) {
        let (n, plane, load) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, y), load(&x));
        typed!(y.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| each_image(n, y, |i, y| resize_image(self.isa(), plane, load, image(x, i, n), y)));
        });
    }
}

impl Kernel<ResizeBackward<'_>> for Cpu {
    fn scratch(model: &Model, op: &ResizeBackward<'_>) -> Option<usize> {
        Some(gradient_scratch(&op.x, model))
    }

    fn launch(&self, op: ResizeBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let ResizeBackward { x, dy, dx } = op;
        let (n, plane) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, dy));
        typed!(dy.dtype(), X => {
            let dy = dy.host::<X>();
            self.resampled(&x, dx, scratch, |i, _: &[X], grad| {
                resize_image_backward(self.isa(), plane, image(dy, i, n), grad);
            });
        });
    }
}

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
fn corners(plane: ImageSizes, mut f: impl FnMut(usize, [(usize, f32); 4])) {
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

kernel! {
    /// One image.
    fn resize_image<S, X>(plane: ImageSizes, load: Load<'_>, x: &[X], y: &mut [X]) {
        let ImageSizes { h, w, oh, ow, c } = plane;
        assert!(h > 0 && w > 0 && x.len() == h * w * c && y.len() == oh * ow * c, "{plane:?}");
        load.check(c);
        for start in (0..plane.ow).step_by(COLUMNS) {
            let mut between = [(0, 0, 0.0); COLUMNS];
            let columns = start..(start + COLUMNS).min(plane.ow);
            for (b, column) in between.iter_mut().zip(columns.clone()) {
                *b = source(column, plane.w, plane.ow);
            }
            let part = Part { plane, start, between: &between[..columns.len()] };
            // SAFETY: S exists; the images and rows have the plane's sizes, and the columns are some of it.
            unsafe { for_blocks!(plane.c, resized::<S>(&part, load, x, y)) };
        }
    }
}

/// Columns whose sources are found once for all lines.
const COLUMNS: usize = 64;

/// Some columns of the output.
struct Part<'a> {
    plane: ImageSizes,
    start: usize,
    /// As [`source`] says, column by column.
    between: &'a [(usize, usize, f32)],
}

/// One block of channels of some columns.
///
/// # Safety
/// Only where S exists; `x`, `y` and the rows of `load` have the sizes of the part's plane, within which its columns
/// and the block lie.
#[inline(always)]
unsafe fn resized<S: Simd, const V: usize, const FULL: bool>(
    first: usize,
    valid: usize,
    &Part { plane: ImageSizes { h, w, oh, ow, c }, start, between }: &Part<'_>,
    load: Load<'_>,
    x: &[impl Value],
    y: &mut [impl Value],
) {
    // SAFETY: sources lie inside the input, columns inside the output, and `first + valid` is at most the channels.
    unsafe {
        let rows = load.affine().map(|(a, b)| {
            let row = |r: &[f32]| load_block::<S, V, FULL>(r[first..].as_ptr(), valid);
            (row(a), row(b))
        });
        for line in 0..oh {
            let (top, bottom, down) = source(line, h, oh);
            let out = y[(line * ow + start) * c + first..].as_mut_ptr();
            for (i, &(left, right, across)) in between.iter().enumerate() {
                let corners = [
                    (top * w + left, (1.0 - down) * (1.0 - across)),
                    (top * w + right, (1.0 - down) * across),
                    (bottom * w + left, down * (1.0 - across)),
                    (bottom * w + right, down * across),
                ];
                let mut sum = [S::zero(); V];
                for (pixel, weight) in corners {
                    let mut value = load_block::<S, V, FULL>(x[pixel * c + first..].as_ptr(), valid);
                    let weight = S::splat(weight);
                    for v in 0..V {
                        if let Some((a, b)) = rows {
                            value[v] = S::fma(value[v], a[v], b[v]);
                        }
                        if load.relu {
                            value[v] = S::rectify(value[v]);
                        }
                        sum[v] = S::fma(value[v], weight, sum[v]);
                    }
                }
                store_block::<S, V, FULL>(out.wrapping_add(i * c), sum, valid);
            }
        }
    }
}

kernel! {
    /// Adds the gradient of one image.
    fn resize_image_backward<S, X>(plane: ImageSizes, dy: &[X], dx: &mut [f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;
    use std::panic::catch_unwind;

    #[test]
    fn images_of_other_extents_are_refused() {
        let plane = ImageSizes { h: 3, w: 2, oh: 5, ow: 4, c: 20 };
        for isa in Isa::available() {
            let run = |x: usize, y: usize| {
                catch_unwind(|| {
                    let (x, mut y) = (vec![1f32; x], vec![0f32; y]);
                    resize_image(isa, plane, Load::new(None, false, 20), &x, &mut y);
                    assert!(y.iter().all(|y| (y - 1.0).abs() < 1e-6));
                })
            };
            assert!(run(120, 400).is_ok());
            assert!(run(119, 400).is_err() && run(120, 399).is_err() && run(0, 400).is_err(), "{isa:?}");
        }
    }
}
