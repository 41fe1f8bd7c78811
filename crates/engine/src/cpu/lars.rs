//! LARS: norms of a whole tensor, then its step.

use super::kernel::kernel;
use super::parallel::{self, Carver, Shared, scratch_of};
use super::simd::Isa;
use super::update::{cut, ranges};
use super::{Cpu, Model};
use crate::backend::Scratch;
use crate::ops::{Kernel, Lars, LarsStep};

impl Kernel<LarsStep<'_>> for Cpu {
    fn scratch(_: &Model, op: &LarsStep<'_>) -> Option<usize> {
        Some(scratch_of::<f64>(2 * cut(op.grad.len(), 1)))
    }

    fn launch(&self, op: LarsStep<'_>, (): &mut (), scratch: Scratch<'_>) {
        let (p, g, v) = (op.parameter.host_mut(), op.grad.host(), op.velocity.host_mut());
        let scratch = scratch.host();
        self.run(|| lars(self.isa(), p, g, v, op.options, scratch));
    }
}

fn lars(isa: Isa, p: &mut [f32], g: &[f32], v: &mut [f32], options: Lars, scratch: &mut [u8]) {
    let (len, pieces) = (g.len(), cut(g.len(), 1));
    // Of every piece the squares of the parameter and of the gradient, added up in order.
    let sums = Carver::new(scratch).take::<f64>(2 * pieces);
    let rows = Shared::new(&mut *sums);
    parallel::for_each(pieces, |i| {
        let r = parallel::piece(len, pieces, i);
        // SAFETY: one pair per piece.
        let sums = unsafe { rows.part(2 * i..2 * i + 2) };
        squares(isa, &p[r.clone()], &mut sums[0]);
        squares(isa, &g[r], &mut sums[1]);
    });
    let norm = |which: usize| sums.iter().skip(which).step_by(2).sum::<f64>().sqrt();
    let ratio = ratio(norm(0), norm(1), options) as f32;
    let (p, v) = (Shared::new(p), Shared::new(v));
    ranges(len, 1, |r| {
        // SAFETY: ranges are disjoint.
        let (p, v) = unsafe { (p.part(r.clone()), v.part(r.clone())) };
        step(isa, p, &g[r], v, options, ratio);
    });
}

/// The trust ratio, from the norms of the parameter and of its gradient.
fn ratio(parameter: f64, grad: f64, o: Lars) -> f64 {
    if parameter > 0.0 && grad > 0.0 {
        f64::from(o.trust) * parameter / (grad + f64::from(o.weight_decay) * parameter + f64::from(o.eps))
    } else {
        1.0
    }
}

/// Sums beside each other: whole vectors of any instruction set.
const GROUP: usize = 16;

kernel! {
    fn squares<S>(values: &[f32], sum: &mut f64) {
        let _ = S::LANES;
        let mut sums = [0f64; GROUP];
        for values in values.chunks(GROUP) {
            for (s, x) in sums.iter_mut().zip(values) {
                *s += f64::from(*x) * f64::from(*x);
            }
        }
        *sum = sums.iter().sum();
    }
}

kernel! {
    fn step<S>(p: &mut [f32], g: &[f32], v: &mut [f32], o: Lars, ratio: f32) {
        let _ = S::LANES;
        for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
            let d = ratio * (g + o.weight_decay * *p);
            *v = o.momentum * *v + d;
            *p -= o.lr * if o.nesterov { d + o.momentum * *v } else { *v };
        }
    }
}
