//! Pooling over windows (maximum) and over adaptive cells (average), image by image.

use super::channel::{ImageSink, SinkNorm, finish_norm};
use super::load::Load;
use super::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use super::simd::{Isa, kernel};
use super::value::Value;
use crate::ops::Window;
use std::ops::Range;

/// Runs `f(n, y)` for the images of `y`, in parallel.
pub(super) fn each_image<Y: Value>(n: usize, y: &mut [Y], f: impl Fn(usize, &mut [Y]) + Sync + Send) {
    let image = y.len() / n.max(1);
    let y = Shared::new(y);
    let pieces = parallel::pieces(n, PIECES);
    parallel::for_each(pieces, |i| {
        for n in parallel::piece(n, pieces, i) {
            // SAFETY: images are disjoint.
            f(n, unsafe { y.part(n * image..(n + 1) * image) });
        }
    });
}

/// Bytes of scratch of [`each_gradient`]; `room`: whether the gradient is not of floats itself.
pub(super) fn gradient_scratch([n, h, w, c]: [usize; 4], room: bool, threads: usize) -> usize {
    let room = if room { scratch_of::<f32>(threads * h * w * c) } else { 0 };
    ChannelSums::scratch(parallel::pieces(n * h * w, PIECES), 2, c) + room
}

/// Runs `f(n, grad)` to fill every image's gradient, then the rectifier and the sums of the operand.
pub(super) fn each_gradient<X: Value>(
    isa: Isa,
    (n, pixels, c): (usize, usize, usize),
    sink: &ImageSink<'_, X>,
    norm: Option<(&[f32], SinkNorm<'_>)>,
    (threads, scratch): (usize, &mut [u8]),
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let pieces = parallel::pieces(n, PIECES);
    let mut carver = Carver::new(scratch);
    let mut sums = ChannelSums::new(&mut carver, pieces, 2, c);
    let rows = sums.rows();
    let room = if X::floats(&[]).is_some() { 0 } else { pixels * c };
    let rooms = Shared::new(carver.take::<f32>(threads * room));
    parallel::for_each(pieces, |i| {
        // SAFETY: one row per piece; the thread's room is this piece's (`parallel::slot`).
        let (row, room) = unsafe {
            let slot = parallel::slot() * room;
            (rows.row(i), rooms.part(slot..slot + room))
        };
        for n in parallel::piece(n, pieces, i) {
            // SAFETY: images are disjoint.
            unsafe { sink.image(isa, n, room, row, |grad| f(n, grad)) };
        }
    });
    if let Some((rows, out)) = norm {
        finish_norm(rows, sums.total(), n * pixels, out);
    }
}

/// Input and output extents of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    pub h: usize,
    pub w: usize,
    pub oh: usize,
    pub ow: usize,
    pub c: usize,
}

impl Plane {
    /// Calls `f` with every output pixel's index and the input pixels of its window.
    #[inline(always)]
    fn windows(&self, window: Window, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        let cut = |o: usize, size: usize| {
            let start = o * window.stride;
            start.saturating_sub(window.pad)..(start + window.kernel).saturating_sub(window.pad).min(size)
        };
        for y in 0..self.oh {
            for x in 0..self.ow {
                f(y * self.ow + x, cut(y, self.h), cut(x, self.w));
            }
        }
    }

    /// Calls `f` with every output pixel's index and the input pixels of its adaptive cell, as PyTorch cuts them.
    #[inline(always)]
    fn cells(&self, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
        let cut = |o: usize, size: usize, out: usize| o * size / out..((o + 1) * size).div_ceil(out);
        for y in 0..self.oh {
            for x in 0..self.ow {
                f(y * self.ow + x, cut(y, self.h, self.oh), cut(x, self.w, self.ow));
            }
        }
    }
}

#[inline(always)]
fn value(load: Load<'_>, x: f32, c: usize) -> f32 {
    let v = load.affine().map_or(x, |(a, b)| x * a[c] + b[c]);
    if load.relu && v <= 0.0 { 0.0 } else { v }
}

kernel! {
    /// Maxima of one image.
    fn max_image<S, X>(plane: Plane, window: Window, load: Load<'_>, x: &[X], y: &mut [X]) {
        let _ = S::LANES;
        let c = plane.c;
        plane.windows(window, |o, rows, columns| {
            let out = &mut y[o * c..(o + 1) * c];
            out.fill(X::narrow(f32::NEG_INFINITY));
            for i in rows {
                for j in columns.clone() {
                    let x = &x[(i * plane.w + j) * c..][..c];
                    for (k, (o, x)) in out.iter_mut().zip(x).enumerate() {
                        let v = value(load, x.wide(), k);
                        // A value that is not a number must not vanish. The largest of rounded values is
                        // the largest value, rounded.
                        *o = if v > o.wide() || v.is_nan() { X::narrow(v) } else { *o };
                    }
                }
            }
        });
    }
}

kernel! {
    /// Adds the gradient of one image's maxima.
    fn max_image_backward<S, X>(plane: Plane, window: Window, load: Load<'_>, x: &[X], dy: &[X], dx: &mut [f32]) {
        let _ = S::LANES;
        let c = plane.c;
        plane.windows(window, |o, rows, columns| {
            for k in 0..c {
                let (mut best, mut at) = (f32::NEG_INFINITY, None);
                for i in rows.clone() {
                    for j in columns.clone() {
                        let p = (i * plane.w + j) * c + k;
                        let v = value(load, x[p].wide(), k);
                        if at.is_none() || v > best {
                            (best, at) = (v, Some(p));
                        }
                    }
                }
                if let Some(p) = at {
                    dx[p] += dy[o * c + k].wide();
                }
            }
        });
    }
}

kernel! {
    /// Averages of one image.
    fn average_image<S, X>(plane: Plane, load: Load<'_>, x: &[X], y: &mut [f32]) {
        let _ = S::LANES;
        let c = plane.c;
        plane.cells(|o, rows, columns| {
            let out = &mut y[o * c..(o + 1) * c];
            out.fill(0.0);
            let area = (rows.len() * columns.len()) as f32;
            for i in rows {
                for j in columns.clone() {
                    let x = &x[(i * plane.w + j) * c..][..c];
                    match (load.affine(), load.relu) {
                        (Some((a, b)), relu) => {
                            for (((o, x), a), b) in out.iter_mut().zip(x).zip(a).zip(b) {
                                let v = x.wide() * a + b;
                                *o += if relu && v <= 0.0 { 0.0 } else { v };
                            }
                        }
                        (None, relu) => {
                            for (o, x) in out.iter_mut().zip(x) {
                                let x = x.wide();
                                *o += if relu && x <= 0.0 { 0.0 } else { x };
                            }
                        }
                    }
                }
            }
            for o in out {
                *o /= area;
            }
        });
    }
}

kernel! {
    /// Adds the gradient of one image's averages.
    fn average_image_backward<S>(plane: Plane, dy: &[f32], dx: &mut [f32]) {
        let _ = S::LANES;
        let c = plane.c;
        plane.cells(|o, rows, columns| {
            let factor = 1.0 / (rows.len() * columns.len()) as f32;
            let dy = &dy[o * c..(o + 1) * c];
            for i in rows {
                for j in columns.clone() {
                    for (x, g) in dx[(i * plane.w + j) * c..][..c].iter_mut().zip(dy) {
                        *x += g * factor;
                    }
                }
            }
        });
    }
}
