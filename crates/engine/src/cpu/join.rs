//! The end of a residual block: sum of normalised branches, rectified; and its gradient, in place.

use super::channel::{SinkNorm, finish_norm};
use super::conv::Load;
use super::parallel::{self, Carver, ChannelSums, PIECES, Shared};
use super::simd::{Isa, kernel};
use crate::ops::norm;

/// One branch of the sum.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub x: &'a [f32],
    pub load: Load<'a>,
}

pub(crate) fn forward(isa: Isa, c: usize, a: Part<'_>, b: Option<Part<'_>>, relu: bool, out: &mut [f32]) {
    let pixels = out.len() / c.max(1);
    let pieces = parallel::pieces(pixels, PIECES);
    let out = Shared::new(out);
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(pixels, pieces, i);
        let r = r.start * c..r.end * c;
        // SAFETY: pieces are disjoint.
        let out = unsafe { out.part(r.clone()) };
        match b {
            Some(b) => sum(isa, &a.x[r.clone()], a.load, &b.x[r], b.load, relu, out),
            None => single(isa, &a.x[r], a.load, relu, out),
        }
    });
}

#[inline(always)]
fn rectify(x: f32, relu: bool) -> f32 {
    if relu && x <= 0.0 { 0.0 } else { x }
}

kernel! {
    fn single<S>(a: &[f32], load: Load<'_>, relu: bool, out: &mut [f32]) {
        let _ = S::LANES;
        Load { relu: load.relu || relu, ..load }.apply::<S>(a, out);
    }
}

kernel! {
    fn sum<S>(a: &[f32], la: Load<'_>, b: &[f32], lb: Load<'_>, relu: bool, out: &mut [f32]) {
        let _ = S::LANES;
        la.apply::<S>(a, out);
        match lb.affine {
            None => {
                for (o, b) in out.iter_mut().zip(b) {
                    *o = rectify(*o + rectify(*b, lb.relu), relu);
                }
            }
            Some((scale, shift)) => {
                let c = scale.len();
                for (o, b) in out.chunks_exact_mut(c).zip(b.chunks_exact(c)) {
                    for (((o, b), s), t) in o.iter_mut().zip(b).zip(scale).zip(shift) {
                        *o = rectify(*o + rectify(b * s + t, lb.relu), relu);
                    }
                }
            }
        }
    }
}

/// A normalised branch: its raw values, its normalisation and where its gradients go.
pub(crate) struct BackPart<'a> {
    pub x: &'a [f32],
    pub rows: &'a [f32],
    pub out: SinkNorm<'a>,
}

pub(crate) fn backward(
    isa: Isa,
    c: usize,
    grad: &mut [f32],
    out: Option<&[f32]>,
    parts: [Option<BackPart<'_>>; 2],
    scratch: &mut [u8],
) {
    let pixels = grad.len() / c.max(1);
    let pieces = parallel::pieces(pixels, PIECES);
    let mut sums = ChannelSums::new(&mut Carver::new(scratch), pieces, 4, c);
    let rows = sums.rows();
    let shared = Shared::new(grad);
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(pixels, pieces, i);
        let r = r.start * c..r.end * c;
        // SAFETY: pieces are disjoint.
        let (grad, sums) = unsafe { (shared.part(r.clone()), rows.row(i)) };
        if let Some(out) = out {
            mask(isa, &out[r.clone()], grad);
        }
        for (p, sums) in parts.iter().zip(sums.chunks_exact_mut(2 * c)) {
            if let Some(p) = p {
                reduce(isa, &p.rows[norm::MEAN * c..(norm::MEAN + 1) * c], &p.x[r.clone()], grad, sums);
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
    fn mask<S>(out: &[f32], grad: &mut [f32]) {
        let _ = S::LANES;
        for (g, y) in grad.iter_mut().zip(out) {
            *g = if *y > 0.0 { *g } else { 0.0 };
        }
    }
}

/// Pixels whose 32-bit sums are added up before they are handed on to 64-bit ones.
const LINE: usize = 64;
/// Channels whose sums stay in registers.
const WIDE: usize = 64;

kernel! {
    /// `[2][c]` sums of the gradient and of the gradient times the centred value.
    fn reduce<S>(mean: &[f32], x: &[f32], grad: &[f32], sums: &mut [f64]) {
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
                        *s += g;
                        *p += g * (x - m);
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
