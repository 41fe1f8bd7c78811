//! The end of a residual block: sum of normalised branches, rectified; and its gradient, in place.

use super::blocks::{load_block, store_block};
use super::channel::{SinkNorm, finish_norm};
use super::kernel::kernel;
use super::load::Load;
use super::operand::{load, sink_norm};
use super::parallel::{self, Carver, ChannelSums, PIECES, Shared};
use super::simd::{Isa, Simd};
use super::value::{Value, typed};
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Add, AddBackward, Kernel, norm};

impl Kernel<Add<'_>> for Cpu {
    fn launch(&self, Add { a, b, relu }: Add<'_>, out: &mut Tensor, _: Scratch<'_>) {
        let c = out.nhwc()[3];
        typed!(out.dtype(), X => {
            let first = Part::<X> { x: a.tensor.host(), load: load(&a) };
            let second = b.map(|b| Part { x: b.tensor.host(), load: load(&b) });
            let out = out.host_mut();
            self.run(|| forward(self.isa(), c, first, second, relu, out));
        });
    }
}

impl Kernel<AddBackward<'_>> for Cpu {
    fn scratch(_: &Model, op: &AddBackward<'_>) -> Option<usize> {
        let [n, h, w, c] = op.grad.nhwc();
        Some(ChannelSums::scratch(parallel::pieces(n * h * w, PIECES), SUMS, c))
    }

    fn launch(&self, op: AddBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let AddBackward { grad, out, parts } = op;
        let (c, scratch) = (grad.nhwc()[3], scratch.host());
        typed!(grad.dtype(), X => {
            let parts = parts.map(|p| {
                let (x, n) = p?;
                Some(BackPart::<X> { x: x.tensor.host(), rows: x.norm?.host(), out: sink_norm(n) })
            });
            let (grad, out) = (grad.host_mut(), out.map(Tensor::host));
            self.run(|| backward(self.isa(), c, grad, out, parts, scratch));
        });
    }
}

/// Sums a channel of a backward pass: two of each part.
const SUMS: usize = 4;

/// One branch of the sum.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a, X> {
    pub x: &'a [X],
    pub load: Load<'a>,
}

impl<X> Part<'_, X> {
    fn check(&self, c: usize, len: usize) {
        assert!(self.x.len() == len, "{} values of {len}", self.x.len());
        self.load.check(c);
    }
}

fn forward<'a, X: Value>(
    isa: Isa,
    c: usize,
    a: Part<'a, X>,
    b: Option<Part<'a, X>>,
    relu: bool,
    out: &mut [X],
) {
    let pixels = out.len() / c.max(1);
    let pieces = parallel::pieces(pixels, PIECES);
    let out = Shared::new(out);
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(pixels, pieces, i);
        let r = r.start * c..r.end * c;
        // SAFETY: pieces are disjoint.
        let out = unsafe { out.part(r.clone()) };
        let cut = |p: Part<'a, X>| Part { x: &p.x[r.clone()], ..p };
        match b {
            Some(b) => sum(isa, c, cut(a), cut(b), relu, out),
            None => single(isa, c, cut(a), relu, out),
        }
    });
}

kernel! {
    fn single<S, X>(c: usize, a: Part<'_, X>, relu: bool, out: &mut [X]) {
        a.check(c, out.len());
        // SAFETY: the branch is as long as `out`, its rows as a pixel.
        unsafe { vectors::<S>(c, out, |at, first, n| end::<S>(part::<S>(&a, at, first, n), relu)) }
    }
}

kernel! {
    fn sum<S, X>(c: usize, a: Part<'_, X>, b: Part<'_, X>, relu: bool, out: &mut [X]) {
        a.check(c, out.len());
        b.check(c, out.len());
        // SAFETY: the branches are as long as `out`, their rows as a pixel.
        unsafe {
            vectors::<S>(c, out, |at, first, n| {
                end::<S>(S::add(part::<S>(&a, at, first, n), part::<S>(&b, at, first, n)), relu)
            });
        }
    }
}

/// Fills `out`, in the order of memory, with `f(offset, channel, how many)`: whole vectors, and the rest of a
/// pixel.
///
/// # Safety
/// Only where S exists.
#[inline(always)]
unsafe fn vectors<S: Simd>(c: usize, out: &mut [impl Value], f: impl Fn(usize, usize, usize) -> S::V) {
    for (pixel, out) in out.chunks_exact_mut(c.max(1)).enumerate() {
        for (v, out) in out.chunks_mut(S::LANES).enumerate() {
            let y = f(pixel * c + v * S::LANES, v * S::LANES, out.len());
            // SAFETY: as long as the chunk.
            unsafe { store_block::<S, 1, false>(out.as_mut_ptr(), [y], out.len()) };
        }
    }
}

/// `n` values of a branch from `at` on, the first of them of channel `first`.
#[inline(always)]
unsafe fn part<S: Simd>(p: &Part<'_, impl Value>, at: usize, first: usize, n: usize) -> S::V {
    // SAFETY: the caller's offsets lie inside the branch, and rows are as long as a pixel.
    unsafe {
        let load = |values: &[f32], at: usize| load_block::<S, 1, false>(values.as_ptr().add(at), n)[0];
        let mut v = load_block::<S, 1, false>(p.x.as_ptr().add(at), n)[0];
        if let Some((scale, shift)) = p.load.affine() {
            v = S::fma(v, load(scale, first), load(shift, first));
        }
        end::<S>(v, p.load.relu)
    }
}

#[inline(always)]
unsafe fn end<S: Simd>(v: S::V, relu: bool) -> S::V {
    // SAFETY: the caller runs where S exists.
    if relu { unsafe { S::rectify(v) } } else { v }
}

/// A normalised branch: its raw values, its normalisation and where its gradients go.
struct BackPart<'a, X> {
    pub x: &'a [X],
    pub rows: &'a [f32],
    pub out: SinkNorm<'a>,
}

fn backward<X: Value>(
    isa: Isa,
    c: usize,
    grad: &mut [X],
    out: Option<&[X]>,
    parts: [Option<BackPart<'_, X>>; 2],
    scratch: &mut [u8],
) {
    let pixels = grad.len() / c.max(1);
    let pieces = parallel::pieces(pixels, PIECES);
    let mut sums = ChannelSums::new(&mut Carver::new(scratch), pieces, SUMS, c);
    let rows = sums.rows();
    let shared = Shared::new(grad);
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(pixels, pieces, i);
        let r = r.start * c..r.end * c;
        // SAFETY: pieces are disjoint.
        let (grad, sums) = unsafe { (shared.part(r.clone()), rows.row(i)) };
        // In runs that stay in the first-level cache from one kernel to the next.
        for (n, grad) in grad.chunks_mut(c * LINE).enumerate() {
            let at = r.start + n * c * LINE;
            let run = at..at + grad.len();
            if let Some(out) = out {
                mask(isa, &out[run.clone()], grad);
            }
            for (p, sums) in parts.iter().zip(sums.chunks_exact_mut(2 * c)) {
                if let Some(p) = p {
                    reduce(isa, &p.rows[norm::MEAN * c..(norm::MEAN + 1) * c], &p.x[run.clone()], grad, sums);
                }
            }
        }
    });
    let total = sums.total();
    for (part, total) in parts.into_iter().zip(total.chunks_exact(2 * c)) {
        if let Some(p) = part {
            finish_norm(p.rows, total, pixels, p.out);
        }
    }
}

kernel! {
    fn mask<S, X>(out: &[X], grad: &mut [X]) {
        let _ = S::LANES;
        for (g, y) in grad.iter_mut().zip(out) {
            *g = if y.wide() > 0.0 { *g } else { X::ZERO };
        }
    }
}

/// Pixels whose 32-bit sums are added up before they are handed on to 64-bit ones.
const LINE: usize = 64;
/// Channels whose sums stay in registers.
const WIDE: usize = 64;

kernel! {
    /// `[2][c]` sums of the gradient and of the gradient times the centred value.
    fn reduce<S, X>(mean: &[f32], x: &[X], grad: &[X], sums: &mut [f64]) {
        let _ = S::LANES;
        let c = mean.len();
        let (sum, product) = sums.split_at_mut(c);
        for (g, x) in grad.chunks(c * LINE).zip(x.chunks(c * LINE)) {
            for first in (0..c).step_by(WIDE) {
                let n = WIDE.min(c - first);
                let (mut s, mut p) = ([0f32; WIDE], [0f32; WIDE]);
                let (s, p, m) = (&mut s[..n], &mut p[..n], &mean[first..first + n]);
                for (g, x) in g.chunks_exact(c).zip(x.chunks_exact(c)) {
                    let (g, x) = (&g[first..first + n], &x[first..first + n]);
                    for ((((s, p), g), x), m) in s.iter_mut().zip(&mut *p).zip(g).zip(x).zip(m) {
                        let g = g.wide();
                        *s += g;
                        *p += g * (x.wide() - m);
                    }
                }
                for (t, s) in sum[first..].iter_mut().zip(&*s) {
                    *t += f64::from(*s);
                }
                for (t, p) in product[first..].iter_mut().zip(&*p) {
                    *t += f64::from(*p);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_branch_that_is_too_short_is_refused() {
        for isa in Isa::available() {
            let run = |len: usize, channels: usize| {
                catch_unwind(|| {
                    let (x, rows) = (vec![1f32; len], vec![0f32; norm::ROWS * channels]);
                    let part = || Part { x: &x[..], load: Load::new(Some(&rows), false, channels) };
                    let whole = vec![1f32; 60];
                    let other = || Part { x: &whole[..], load: Load::new(None, true, 20) };
                    let mut out = vec![0f32; 60];
                    single(isa, 20, part(), true, &mut out);
                    sum(isa, 20, other(), part(), true, &mut out);
                })
            };
            assert!(run(60, 20).is_ok());
            assert!(run(40, 20).is_err() && run(60, 19).is_err(), "{isa:?}");
        }
    }
}
