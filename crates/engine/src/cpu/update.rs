//! Element by element: optimiser and moving averages.

use super::Cpu;
use super::kernel::kernel;
use super::parallel::{self, PIECES, Shared};
use super::simd::Isa;
use crate::backend::Scratch;
use crate::ops::{AdamWFactors, AdamWStep, EmaStep, Kernel, Sgd, SgdStep};

impl Kernel<SgdStep<'_>> for Cpu {
    fn launch(&self, op: SgdStep<'_>, (): &mut (), _: Scratch<'_>) {
        let (p, g, v) = (op.parameter.host_mut(), op.grad.host(), op.velocity.host_mut());
        self.run(|| sgd(self.isa(), p, g, v, op.options));
    }
}

impl Kernel<AdamWStep<'_>> for Cpu {
    fn launch(&self, op: AdamWStep<'_>, (): &mut (), _: Scratch<'_>) {
        let ([m, v], factors) = (op.moments.map(|t| t.host_mut()), op.options.factors());
        let (p, g) = (op.parameter.host_mut(), op.grad.host());
        self.run(|| adamw(self.isa(), p, g, [m, v], factors));
    }
}

impl Kernel<EmaStep<'_>> for Cpu {
    fn launch(&self, op: EmaStep<'_>, (): &mut (), _: Scratch<'_>) {
        let (t, s) = (op.target.host_mut(), op.source.host());
        self.run(|| ema(self.isa(), t, s, op.m));
    }
}

/// Below this many elements threads cost more than they bring.
const SMALL: usize = 1 << 15;

/// How many pieces [`ranges`] makes.
pub(super) fn cut(len: usize, unit: usize) -> usize {
    if len < SMALL { 1 } else { parallel::pieces(len / unit, PIECES) }
}

/// Runs `f(range)` over pieces of `len` elements (multiples of `unit`).
pub(super) fn ranges(len: usize, unit: usize, f: impl Fn(std::ops::Range<usize>) + Sync + Send) {
    let (units, pieces) = (len / unit, cut(len, unit));
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(units, pieces, i);
        f(r.start * unit..r.end * unit);
    });
}

fn sgd(isa: Isa, p: &mut [f32], g: &[f32], v: &mut [f32], options: Sgd) {
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

fn adamw(isa: Isa, p: &mut [f32], g: &[f32], moments: [&mut [f32]; 2], factors: AdamWFactors) {
    let (p, [m, v]) = (Shared::new(p), moments.map(Shared::new));
    ranges(g.len(), 1, |r| {
        // SAFETY: ranges are disjoint.
        let (p, m, v) = unsafe { (p.part(r.clone()), m.part(r.clone()), v.part(r.clone())) };
        adamw_part(isa, p, &g[r], m, v, factors);
    });
}

kernel! {
    fn adamw_part<S>(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], f: AdamWFactors) {
        let _ = S::LANES;
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            *m = f.first[0] * *m + f.first[1] * g;
            *v = f.second[0] * *v + f.second[1] * (g * g);
            *p = f.kept * *p - f.rate * *m / (v.sqrt() * f.root + f.eps);
        }
    }
}

fn ema(isa: Isa, target: &mut [f32], source: &[f32], m: f32) {
    let shared = Shared::new(target);
    // SAFETY: ranges are disjoint.
    ranges(source.len(), 1, |r| mix(isa, unsafe { shared.part(r.clone()) }, &source[r], m, 1.0 - m));
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
