//! Pooling over windows (maximum) and over adaptive cells (average), image by image.

use super::channel::{ImageSink, SinkNorm, finish_norm};
use super::kernel::kernel;
use super::load::Load;
use super::operand::{load, sink_norm};
use super::parallel::{self, Carver, ChannelSums, PIECES, Shared, scratch_of};
use super::simd::Isa;
use super::value::{Value, typed};
use super::{Cpu, Model};
use crate::backend::Scratch;
use crate::ops::{
    AveragePool, AveragePoolBackward, Conv2dParams, Kernel, MaxPool, MaxPoolBackward, Operand, Outgoing,
};
use crate::{DType, Tensor};
use std::ops::Range;

impl Kernel<MaxPool<'_>> for Cpu {
    fn launch(&self, MaxPool { window, x }: MaxPool<'_>, y: &mut Tensor, _: Scratch<'_>) {
        let (n, plane, load) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, y), load(&x));
        typed!(y.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| each_image(n, y, |i, y| max_image(self.isa(), plane, window, load, image(x, i, n), y)));
        });
    }
}

impl Kernel<MaxPoolBackward<'_>> for Cpu {
    fn scratch(model: &Model, op: &MaxPoolBackward<'_>) -> Option<usize> {
        Some(gradient_scratch(&op.x, model))
    }

    fn launch(&self, op: MaxPoolBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let MaxPoolBackward { window, x, dy, dx } = op;
        let (n, plane, load) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, dy), load(&x));
        typed!(dy.dtype(), X => {
            let dy = dy.host::<X>();
            self.resampled(&x, dx, scratch, |i, raw, grad| {
                max_image_backward(self.isa(), plane, window, load, raw, image(dy, i, n), grad);
            });
        });
    }
}

impl Kernel<AveragePool<'_>> for Cpu {
    fn launch(&self, AveragePool { x, .. }: AveragePool<'_>, y: &mut Tensor, _: Scratch<'_>) {
        let (n, plane, load) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, y), load(&x));
        typed!(x.tensor.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| each_image(n, y, |i, y| average_image(self.isa(), plane, load, image(x, i, n), y)));
        });
    }
}

impl Kernel<AveragePoolBackward<'_>> for Cpu {
    fn scratch(model: &Model, op: &AveragePoolBackward<'_>) -> Option<usize> {
        Some(gradient_scratch(&op.x, model))
    }

    fn launch(&self, op: AveragePoolBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let AveragePoolBackward { x, dy, dx } = op;
        let (n, plane) = (x.tensor.nhwc()[0], ImageSizes::of(x.tensor, dy));
        let dy = dy.host();
        typed!(x.tensor.dtype(), X => self.resampled(&x, dx, scratch, |i, _: &[X], grad| {
            average_image_backward(self.isa(), plane, image(dy, i, n), grad);
        }));
    }
}

impl Cpu {
    /// The common end of pooling and resizing backward: fill every image's gradient, then finish it.
    pub(super) fn resampled<X: Value>(
        &self,
        x: &Operand<'_>,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
        f: impl Fn(usize, &[X], &mut [f32]) + Sync + Send,
    ) {
        let [n, h, w, c] = x.tensor.nhwc();
        let rows = x.norm.map(Tensor::host);
        let sums = dx.norm.as_ref().and(rows);
        let raw = x.tensor.host();
        let sink = ImageSink::new(dx.grad.host_mut(), dx.accumulate, raw, load(x), sums, h * w * c, c);
        let norm = rows.zip(dx.norm.map(sink_norm));
        self.run(|| {
            let scratch = (self.model.slots(), scratch.host());
            each_gradient(self.isa(), (n, h * w, c), &sink, norm, scratch, |n, grad| f(n, sink.raw(n), grad));
        });
    }
}

/// The part of image `n` of `images`.
pub(super) fn image<X>(values: &[X], n: usize, images: usize) -> &[X] {
    let len = values.len() / images.max(1);
    &values[n * len..(n + 1) * len]
}

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

/// Bytes of scratch of [`Cpu::resampled`]: there is room for the gradients of images that are not of floats themselves.
pub(super) fn gradient_scratch(x: &Operand<'_>, model: &Model) -> usize {
    let [n, h, w, c] = x.tensor.nhwc();
    let floats = x.tensor.dtype() == DType::F32;
    let room = if floats { 0 } else { scratch_of::<f32>(model.slots() * h * w * c) };
    ChannelSums::scratch(parallel::pieces(n * h * w, PIECES), 2, c) + room
}

/// Runs `f(n, grad)` to fill every image's gradient, then the rectifier and the sums of the operand.
fn each_gradient<X: Value>(
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

/// Input and output sizes of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageSizes {
    pub h: usize,
    pub w: usize,
    pub oh: usize,
    pub ow: usize,
    pub c: usize,
}

impl ImageSizes {
    /// From an image of `x` to one of `y`.
    pub(super) fn of(x: &Tensor, y: &Tensor) -> Self {
        let ([_, h, w, c], [_, oh, ow, _]) = (x.nhwc(), y.nhwc());
        ImageSizes { h, w, oh, ow, c }
    }

    /// Calls `f` with every output pixel's index and the input pixels of its window.
    #[inline(always)]
    fn windows(&self, window: Conv2dParams, mut f: impl FnMut(usize, Range<usize>, Range<usize>)) {
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
    fn max_image<S, X>(plane: ImageSizes, window: Conv2dParams, load: Load<'_>, x: &[X], y: &mut [X]) {
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
    fn max_image_backward<S, X>(plane: ImageSizes, window: Conv2dParams, load: Load<'_>, x: &[X], dy: &[X], dx: &mut [f32]) {
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
    fn average_image<S, X>(plane: ImageSizes, load: Load<'_>, x: &[X], y: &mut [f32]) {
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
    fn average_image_backward<S>(plane: ImageSizes, dy: &[f32], dx: &mut [f32]) {
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
