//! Multinomial logistic regression with an L2 penalty, as scikit-learn's `LogisticRegression` defines it, on features
//! standardised with their own mean and standard deviation.
//!
//! Least is `mean cross-entropy + |W|² / (2 C n)`; intercepts are free. Of two classes scikit-learn has one vector of weights,
//! their difference, which makes the penalty twice as strong; so it is here. The function is smooth and convex, so any solver
//! that converges finds the same value. Pooled features are correlated, so L-BFGS starts not from the identity but from
//! Böhning's bound of the Hessian, `½ XᵀX / n + λ`, factored once, which costs one product of the features with themselves;
//! ResNet-20's features of 2,000 images took 39 to 148 iterations. It is written out here because it is short and needs this
//! start. All sums are in 64 bits, over pieces cut by shapes alone and added in their order: the same bits for any
//! number of threads.

use rayon::prelude::*;
use std::collections::VecDeque;

/// Converged when no element of the gradient is larger.
const FLAT: f64 = 1e-8;
/// Iterations at most.
const ITERATIONS: usize = 2_000;
/// Steps that L-BFGS remembers.
const MEMORY: usize = 20;
/// Parts of the images whose sums are added in order.
const PIECES: usize = 16;
/// Rows standardised at a time.
const BLOCK: usize = 128;

/// Features of images and their labels.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Features of an image.
    pub width: usize,
    /// Row by row.
    pub values: &'a [f32],
    /// One a row, each below the number of classes.
    pub labels: &'a [u32],
}

/// A fitted classifier.
#[derive(Clone, Debug)]
pub struct Fit {
    classes: usize,
    scale: Scale,
    /// `[width + 1, classes]` over standardised features; the last row holds the intercepts.
    pub weights: Vec<f64>,
    /// What was least: mean cross-entropy and penalty.
    pub loss: f64,
    /// Iterations taken.
    pub iterations: usize,
    /// Whether the gradient vanished.
    pub converged: bool,
}

/// Mean and inverse standard deviation of every feature; those that never vary keep their unit.
#[derive(Clone, Debug)]
struct Scale {
    mean: Vec<f64>,
    inverse: Vec<f64>,
}

impl Rows<'_> {
    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    fn len(&self) -> usize {
        self.labels.len()
    }
}

impl Scale {
    fn of(rows: Rows<'_>) -> Self {
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; rows.width];
        for i in 0..rows.len() {
            mean.iter_mut().zip(rows.row(i)).for_each(|(m, &x)| *m += f64::from(x));
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut inverse = vec![0.0; rows.width];
        for i in 0..rows.len() {
            let row = rows.row(i).iter().zip(&mean);
            inverse.iter_mut().zip(row).for_each(|(v, (&x, m))| *v += (f64::from(x) - m).powi(2));
        }
        for (v, m) in inverse.iter_mut().zip(&mean) {
            let variance = *v / n;
            // A constant's computed deviation is rounding.
            *v = if variance <= (1e-12 * m).powi(2) { 1.0 } else { variance.sqrt().recip() };
        }
        Scale { mean, inverse }
    }

    /// Row `i`, standardised, and a 1 for the intercept.
    fn standardise(&self, rows: Rows<'_>, i: usize, out: &mut [f64]) {
        let own = rows.row(i).iter().zip(self.mean.iter().zip(&self.inverse));
        out.iter_mut().zip(own).for_each(|(o, (&x, (m, s)))| *o = (f64::from(x) - m) * s);
        out[rows.width] = 1.0;
    }
}

/// What is minimised.
struct Objective<'a> {
    rows: Rows<'a>,
    scale: &'a Scale,
    classes: usize,
    /// 1 / (C n), twice that for two classes.
    penalty: f64,
}

/// Bytes that [`fit`] takes over `width` features beside its rows: the factor of the bound and a block of rows, the
/// weights, steps and gradients of the solver, and a gradient of every piece.
pub(super) fn bytes(width: usize, classes: usize) -> usize {
    let (side, size) = (width + 1, (width + 1) * classes);
    (side * side + BLOCK * side + (2 * MEMORY + 8 + PIECES) * size) * size_of::<f64>()
}

/// Fits `classes` classes with penalty 1 / C, on the current threads.
pub fn fit(rows: Rows<'_>, classes: usize, c: f64) -> Fit {
    let scale = Scale::of(rows);
    // The difference of two opposite vectors is twice one of them: its square is twice the sum of both squares.
    let strength = if classes == 2 { 2.0 } else { 1.0 };
    let penalty = strength / (c * rows.len().max(1) as f64);
    let objective = Objective { rows, scale: &scale, classes, penalty };
    let (weights, loss, iterations, converged) = minimise(&objective);
    Fit { classes, scale, weights, loss, iterations, converged }
}

impl Fit {
    /// Images that it classifies wrongly, on the current threads.
    pub fn wrong(&self, rows: Rows<'_>) -> usize {
        let wrong = |i: usize| {
            let (mut x, mut z) = (vec![0.0; rows.width + 1], vec![0.0; self.classes]);
            self.scale.standardise(rows, i, &mut x);
            logits(&x, &self.weights, &mut z);
            let own = z.get(rows.labels[i] as usize).copied().unwrap_or(f64::NAN);
            // The first of equals wins.
            let better = |(k, &v): (usize, &f64)| v > own || (v == own && (k as u32) < rows.labels[i]);
            own.is_nan() || z.iter().enumerate().any(better)
        };
        (0..rows.len()).into_par_iter().filter(|&i| wrong(i)).count()
    }
}

/// `z = Wᵀ x`.
fn logits(x: &[f64], weights: &[f64], z: &mut [f64]) {
    z.fill(0.0);
    for (x, w) in x.iter().zip(weights.chunks_exact(z.len())) {
        z.iter_mut().zip(w).for_each(|(z, w)| *z += x * w);
    }
}

/// Logits become `softmax - target`; returns the cross-entropy.
fn residual(z: &mut [f64], label: usize) -> f64 {
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = z[label] - most;
    z.iter_mut().for_each(|v| *v = (*v - most).exp());
    let sum: f64 = z.iter().sum();
    z.iter_mut().for_each(|v| *v /= sum);
    z[label] -= 1.0;
    sum.ln() - own
}

impl Objective<'_> {
    /// The value at `weights`, and its gradient.
    fn at(&self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        let n = self.rows.len().max(1);
        let piece = n.div_ceil(PIECES);
        let parts: Vec<(f64, Vec<f64>)> = (0..PIECES)
            .into_par_iter()
            .map(|p| self.part(weights, p * piece..((p + 1) * piece).min(self.rows.len())))
            .collect();
        gradient.fill(0.0);
        let mut loss = 0.0;
        for (l, g) in &parts {
            loss += l;
            gradient.iter_mut().zip(g).for_each(|(a, b)| *a += b);
        }
        gradient.iter_mut().for_each(|g| *g /= n as f64);
        let own = self.rows.width * self.classes;
        gradient[..own].iter_mut().zip(weights).for_each(|(g, w)| *g += self.penalty * w);
        loss / n as f64 + 0.5 * self.penalty * dot(&weights[..own], &weights[..own])
    }

    /// Sums over some images.
    fn part(&self, weights: &[f64], range: std::ops::Range<usize>) -> (f64, Vec<f64>) {
        let (mut x, mut z) = (vec![0.0; self.rows.width + 1], vec![0.0; self.classes]);
        let (mut loss, mut gradient) = (0.0, vec![0.0; weights.len()]);
        for i in range {
            self.scale.standardise(self.rows, i, &mut x);
            logits(&x, weights, &mut z);
            loss += residual(&mut z, self.rows.labels[i] as usize);
            for (x, g) in x.iter().zip(gradient.chunks_exact_mut(self.classes)) {
                g.iter_mut().zip(&z).for_each(|(g, z)| *g += x * z);
            }
        }
        (loss, gradient)
    }

    /// The Cholesky factor of `½ XᵀX / n + λ`, row by row, the same for every class.
    fn bound(&self) -> Vec<f64> {
        let (side, n) = (self.rows.width + 1, self.rows.len());
        let mut bound = vec![0.0; side * side];
        let mut block = vec![0.0; BLOCK * side];
        for start in (0..n).step_by(BLOCK) {
            let taken = BLOCK.min(n - start);
            for (r, x) in block.chunks_exact_mut(side).take(taken).enumerate() {
                self.scale.standardise(self.rows, start + r, x);
            }
            let rows = &block[..taken * side];
            bound.par_chunks_exact_mut(side).enumerate().for_each(|(j, out)| {
                for x in rows.chunks_exact(side) {
                    out[..=j].iter_mut().zip(x).for_each(|(o, v)| *o += x[j] * v);
                }
            });
        }
        let half = 0.5 / n.max(1) as f64;
        bound.iter_mut().for_each(|v| *v *= half);
        (0..side).for_each(|j| bound[j * side + j] += self.penalty);
        factor(&mut bound, side);
        bound
    }
}

/// Cholesky, in place, of the lower triangle of a positive definite matrix.
fn factor(a: &mut [f64], side: usize) {
    for j in 0..side {
        for k in 0..=j {
            let (above, row) = a.split_at_mut(j * side);
            let other = if k < j { &above[k * side..k * side + k] } else { &[][..] };
            let sum = if k < j { dot(&row[..k], other) } else { dot(&row[..k], &row[..k]) };
            row[k] = if k < j {
                (row[k] - sum) / above[k * side + k]
            } else {
                (row[k] - sum).max(f64::MIN_POSITIVE).sqrt()
            };
        }
    }
}

/// Solves `L Lᵀ y = x` in place for all columns of `x`.
fn solve(factor: &[f64], side: usize, x: &mut [f64]) {
    let columns = x.len() / side;
    for j in 0..side {
        let (done, rest) = x.split_at_mut(j * columns);
        let row = &mut rest[..columns];
        for (l, above) in factor[j * side..j * side + j].iter().zip(done.chunks_exact(columns)) {
            row.iter_mut().zip(above).for_each(|(r, a)| *r -= l * a);
        }
        row.iter_mut().for_each(|r| *r /= factor[j * side + j]);
    }
    for j in (0..side).rev() {
        let (above, rest) = x.split_at_mut(j * columns);
        let row = &mut rest[..columns];
        row.iter_mut().for_each(|r| *r /= factor[j * side + j]);
        for (l, a) in factor[j * side..j * side + j].iter().zip(above.chunks_exact_mut(columns)) {
            a.iter_mut().zip(&*row).for_each(|(a, r)| *a -= l * r);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A step that L-BFGS remembers: the move, the change of the gradient, and 1 / their product.
struct Step {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// L-BFGS from 0: the least weights, their value, the iterations, and whether the gradient vanished.
fn minimise(objective: &Objective<'_>) -> (Vec<f64>, f64, usize, bool) {
    let side = objective.rows.width + 1;
    let size = side * objective.classes;
    let bound = objective.bound();
    let (mut w, mut g) = (vec![0.0; size], vec![0.0; size]);
    let mut value = objective.at(&w, &mut g);
    let mut steps: VecDeque<Step> = VecDeque::new();
    for iteration in 0..ITERATIONS {
        if g.iter().all(|g| g.abs() <= FLAT) {
            return (w, value, iteration, true);
        }
        let d = direction(&g, &steps, |x| solve(&bound, side, x));
        let Some((next, gradient, v)) = search(objective, (&w, &g, value), &d) else {
            return (w, value, iteration, false);
        };
        let s: Vec<f64> = next.iter().zip(&w).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = gradient.iter().zip(&g).map(|(a, b)| a - b).collect();
        let product = dot(&s, &y);
        if product > 0.0 {
            steps.push_back(Step { s, y, rho: 1.0 / product });
            if steps.len() > MEMORY {
                steps.pop_front();
            }
        }
        (w, g, value) = (next, gradient, v);
    }
    (w, value, ITERATIONS, false)
}

/// The two-loop recursion; `solve` applies the inverse of what the Hessian is taken for at first.
fn direction(g: &[f64], steps: &VecDeque<Step>, solve: impl Fn(&mut [f64])) -> Vec<f64> {
    let mut q: Vec<f64> = g.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(steps.len());
    for Step { s, y, rho } in steps.iter().rev() {
        let alpha = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    // The bound overestimates curvature; the last step says by how much.
    let stretch = steps.back().map_or(1.0, |last| {
        let mut y = last.y.clone();
        solve(&mut y);
        1.0 / (last.rho * dot(&last.y, &y))
    });
    solve(&mut q);
    q.iter_mut().for_each(|q| *q *= stretch);
    for (Step { s, y, rho }, alpha) in steps.iter().zip(alphas.iter().rev()) {
        let beta = rho * dot(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

/// Halves the step along `d` until the value falls enough; within rounding of the least value, until the slope does.
/// None where no step helps.
fn search(
    objective: &Objective<'_>,
    (w, g, value): (&[f64], &[f64], f64),
    d: &[f64],
) -> Option<(Vec<f64>, Vec<f64>, f64)> {
    let slope = dot(g, d);
    let mut gradient = vec![0.0; g.len()];
    let mut t = 1.0;
    for _ in 0..40 {
        let next: Vec<f64> = w.iter().zip(d).map(|(w, d)| w + t * d).collect();
        let v = objective.at(&next, &mut gradient);
        let falls = v <= value + 1e-4 * t * slope;
        let level = v <= value + 1e-12 * value.abs() && dot(&gradient, d).abs() <= 0.9 * slope.abs();
        if falls || level {
            return Some((next, gradient, v));
        }
        t *= 0.5;
    }
    None
}

#[cfg(test)]
mod tests;
