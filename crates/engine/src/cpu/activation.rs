//! GELU and its gradient.

use super::exponential::{exp_below_zero, exp_of_sum};
use super::kernel::kernel;
use super::load::Load;
use super::operand::load;
use super::parallel::{self, PIECES, Shared};
use super::pool::{gradient_scratch, image};
use super::value::{Value, narrow, typed, widen};
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Gelu, GeluBackward, GeluForward, Kernel};

impl Kernel<GeluForward<'_>> for Cpu {
    fn launch(&self, GeluForward { x, form }: GeluForward<'_>, y: &mut Tensor, _: Scratch<'_>) {
        let (c, load) = (y.nhwc()[3].max(1), load(&x));
        typed!(y.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut::<X>());
            let pixels = y.len() / c;
            let (pieces, y) = (parallel::pieces(pixels, PIECES), Shared::new(y));
            self.run(|| parallel::for_each(pieces, |i| {
                let r = parallel::piece(pixels, pieces, i);
                let r = r.start * c..r.end * c;
                // SAFETY: pieces are disjoint.
                values(self.isa(), c, load, form, &x[r.clone()], unsafe { y.part(r) });
            }));
        });
    }
}

impl Kernel<GeluBackward<'_>> for Cpu {
    fn scratch(model: &Model, op: &GeluBackward<'_>) -> Option<usize> {
        Some(gradient_scratch(&op.x, model))
    }

    fn launch(&self, op: GeluBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let GeluBackward { x, form, dy, dx } = op;
        let ([n, _, _, c], load) = (x.tensor.nhwc(), load(&x));
        typed!(dy.dtype(), X => {
            let dy = dy.host::<X>();
            self.resampled(&x, dx, scratch, |i, raw: &[X], grad| {
                gradients(self.isa(), c.max(1), load, form, raw, image(dy, i, n), grad);
            });
        });
    }
}

/// Values that are computed together: whole vectors of any instruction set.
const GROUP: usize = 64;

kernel! {
    fn values<S, X>(c: usize, load: Load<'_>, form: Gelu, x: &[X], y: &mut [X]) {
        let _ = S::LANES;
        for (x, y) in x.chunks(c).zip(y.chunks_mut(c)) {
            for (i, (x, y)) in x.chunks(GROUP).zip(y.chunks_mut(GROUP)).enumerate() {
                let mut group = loaded(load, i * GROUP, x);
                match form {
                    Gelu::Exact => group.iter_mut().for_each(|x| *x *= Normal::at(*x).below),
                    Gelu::Tanh => group.iter_mut().for_each(|x| *x *= Logistic::at(*x).below),
                }
                narrow(&group[..y.len()], y);
            }
        }
    }
}

kernel! {
    /// Adds the gradient.
    fn gradients<S, X>(c: usize, load: Load<'_>, form: Gelu, x: &[X], dy: &[X], dx: &mut [f32]) {
        let _ = S::LANES;
        for ((x, dy), dx) in x.chunks(c).zip(dy.chunks(c)).zip(dx.chunks_mut(c)) {
            let groups = x.chunks(GROUP).zip(dy.chunks(GROUP)).zip(dx.chunks_mut(GROUP));
            for (i, ((x, dy), dx)) in groups.enumerate() {
                let mut group = loaded(load, i * GROUP, x);
                match form {
                    Gelu::Exact => group.iter_mut().for_each(|x| *x = Normal::at(*x).slope(*x)),
                    Gelu::Tanh => group.iter_mut().for_each(|x| *x = Logistic::at(*x).slope(*x)),
                }
                for ((dx, dy), slope) in dx.iter_mut().zip(dy).zip(&group) {
                    *dx += dy.wide() * slope;
                }
            }
        }
    }
}

/// Values of neighbouring channels, the first of them `first`.
#[inline(always)]
fn loaded(load: Load<'_>, first: usize, x: &[impl Value]) -> [f32; GROUP] {
    let mut group = [0.0; GROUP];
    widen(x, &mut group);
    if let Some((scale, shift)) = load.affine() {
        for ((x, a), b) in group.iter_mut().zip(&scale[first..]).zip(&shift[first..]) {
            *x = *x * a + b;
        }
    }
    if load.relu {
        for x in &mut group {
            *x = if *x <= 0.0 { 0.0 } else { *x };
        }
    }
    group
}

/// The normal distribution at `x`: the part below it, and the density.
struct Normal {
    below: f32,
    density: f32,
}

impl Normal {
    /// `below` to six units in the last place, far below 0 too. Up to |x| = 1.3 by a polynomial for the error function
    /// whose error is below one unit in the last place; beyond, Φ(-|x|) = exp(-x²/2) · t · P(t) with t = 1/(1 + 0.4 |x|), P
    /// fitted by weighted least squares to 2e-9 of it for |x| from 1.2 to 13.5 (erfcx, as SciPy has it).
    #[inline(always)]
    fn at(x: f32) -> Self {
        const NEAR: [f32; 6] =
            [-5.967_617e-4, 4.991_194_3e-3, -2.676_813_5e-2, 0.112_819_93, -0.376_125_34, 0.128_379_17];
        const FAR: [f32; 9] = [
            -0.061_916_493,
            0.207_195_36,
            -0.225_201_76,
            0.042_262_636,
            -0.001_668_330_7,
            0.086_228_77,
            0.133_754,
            0.159_588_37,
            0.159_576_88,
        ];
        let size = x.abs();
        let (z, square) = (size * std::f32::consts::FRAC_1_SQRT_2, 0.5 * size * size);
        let near = 0.5 * (NEAR[1..].iter().fold(NEAR[0], |p, c| p * square + c) * z + z);
        // The square of the upper half of the bits is exact.
        let upper = f32::from_bits(size.to_bits() & 0xffff_f000);
        let bell = exp_of_sum(-0.5 * upper * upper, -0.5 * ((size - upper) * (size + upper)));
        // Beyond, nothing is left that 32 bits could say.
        let bell = if size < 13.0 { bell } else { 0.0 };
        let t = 1.0 / (1.0 + 0.4 * size);
        let tail = bell * (t * FAR[1..].iter().fold(FAR[0], |p, c| p * t + c));
        let tail = if size < 1.3 { 0.5 - near } else { tail };
        let most = if size < 1.3 { 0.5 + near } else { 1.0 - tail };
        Normal { below: if x < 0.0 { tail } else { most }, density: bell * 0.398_942_3 }
    }

    /// d/dx of x · Φ(x).
    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        self.below + x * self.density
    }
}

/// What stands for the normal distribution in the form with tanh: (1 + tanh u) / 2 = 1 / (1 + exp(-2u)).
struct Logistic {
    below: f32,
    density: f32,
}

impl Logistic {
    #[inline(always)]
    fn at(x: f32) -> Self {
        /// 2 √(2/π).
        const FACTOR: f32 = 1.595_769_2;
        let size = x.abs();
        let twice = FACTOR * (size + 0.044_715 * size * size * size);
        let e = if twice < 87.0 { exp_below_zero(-twice) } else { 0.0 };
        let part = 1.0 / (1.0 + e);
        let inner = FACTOR * (1.0 + 3.0 * 0.044_715 * size * size);
        // Where nothing is left, the square may be more than 32 bits hold.
        let density = if twice < 87.0 { e * part * part * inner } else { 0.0 };
        Logistic { below: if x < 0.0 { e * part } else { part }, density }
    }

    #[inline(always)]
    fn slope(&self, x: f32) -> f32 {
        self.below + x * self.density
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn values_are_right_to_a_few_units_in_the_last_place_and_slopes_to_rounding() {
        for i in -130_000..=130_000 {
            let x = i as f32 / 10_000.0;
            let wide = [f64::from(x)];
            for (form, within) in [(Gelu::Exact, 4.5e-7), (Gelu::Tanh, 2e-5)] {
                let right = reference::gelu(&wide, form)[0];
                let (found, slope) = match form {
                    Gelu::Exact => (x * Normal::at(x).below, Normal::at(x).slope(x)),
                    Gelu::Tanh => (x * Logistic::at(x).below, Logistic::at(x).slope(x)),
                };
                let error = (f64::from(found) - right).abs();
                assert!(error <= within * right.abs() + 1e-36, "{form:?} of {x} is {right:e}, not {found:e}");
                let right = reference::gelu_backward(&wide, form, &[1.0])[0];
                assert!(
                    (f64::from(slope) - right).abs() < 3e-7,
                    "{form:?} at {x} rises by {right}, not {slope}"
                );
            }
        }
    }

    #[test]
    fn what_is_far_or_no_number_stays_so() {
        for (x, y, slope) in
            [(1e30, 1e30, 1.0), (-1e30, 0.0, 0.0), (-40.0, 0.0, 0.0), (f32::MAX, f32::MAX, 1.0)]
        {
            assert_eq!((x * Normal::at(x).below, Normal::at(x).slope(x)), (y, slope), "{x}");
            assert_eq!((x * Logistic::at(x).below, Logistic::at(x).slope(x)), (y, slope), "{x}");
        }
        let nan = f32::NAN;
        assert!((nan * Normal::at(nan).below).is_nan() && Normal::at(nan).slope(nan).is_nan());
        assert!((nan * Logistic::at(nan).below).is_nan() && Logistic::at(nan).slope(nan).is_nan());
    }
}
