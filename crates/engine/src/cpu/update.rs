//! Element by element: optimiser, moving averages, sums, copies.

use super::parallel::{self, PIECES, Shared};
use super::simd::{Isa, kernel};
use super::value::Value;
use crate::ops::Sgd;

/// Below this many elements threads cost more than they bring.
const SMALL: usize = 1 << 15;

/// Runs `f(range)` over pieces of `len` elements (multiples of `unit`).
pub(super) fn ranges(len: usize, unit: usize, f: impl Fn(std::ops::Range<usize>) + Sync + Send) {
    let units = len / unit;
    let pieces = if len < SMALL { 1 } else { parallel::pieces(units, PIECES) };
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(units, pieces, i);
        f(r.start * unit..r.end * unit);
    });
}

pub(crate) fn sgd(isa: Isa, p: &mut [f32], g: &[f32], v: &mut [f32], options: Sgd) {
    let (ps, vs) = (Shared::new(&mut *p), Shared::new(v));
    ranges(g.len(), 1, |r| {
        // SAFETY: ranges are disjoint.
        let (p, v) = unsafe { (ps.part(r.clone()), vs.part(r.clone())) };
        sgd_part(isa, p, &g[r], v, options);
    });
}

kernel! {
    fn sgd_part<S>(p: &mut [f32], g: &[f32], v: &mut [f32], o: Sgd) {
        let _ = S::LANES;
        for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
            let g = g + o.weight_decay * *p;
            *v = o.momentum * *v + g;
            *p -= o.lr * if o.nesterov { g + o.momentum * *v } else { *v };
        }
    }
}

pub(crate) fn ema(isa: Isa, target: &mut [f32], source: &[f32], m: f32) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| mix(isa, unsafe { shared.part(r.clone()) }, &source[r], m, 1.0 - m));
}

pub(crate) fn add<E: Value>(isa: Isa, target: &mut [E], source: &[E]) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| mix(isa, unsafe { shared.part(r.clone()) }, &source[r], 1.0, 1.0));
}

kernel! {
    /// t = a · t + b · s
    fn mix<S, E>(target: &mut [E], source: &[E], a: f32, b: f32) {
        let _ = S::LANES;
        for (t, s) in target.iter_mut().zip(source) {
            *t = E::narrow(a * t.wide() + b * s.wide());
        }
    }
}

pub(crate) fn fill<E: Value>(target: &mut [E], value: f32) {
    let len = target.len();
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(len, 1, |r| unsafe { shared.part(r) }.fill(E::narrow(value)));
}

pub(crate) fn copy<E: Value>(target: &mut [E], source: &[E]) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| unsafe { shared.part(r.clone()) }.copy_from_slice(&source[r]));
}
