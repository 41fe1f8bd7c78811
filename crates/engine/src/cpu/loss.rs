//! Losses with their gradients; values are summed per sample, in order.

use super::parallel::{self, Carver, PIECES, Shared, scratch_of};
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{self, Contrastive, CrossEntropy, Kernel, LossTarget, report};

impl Kernel<CrossEntropy<'_>> for Cpu {
    fn scratch(_: &Model, op: &CrossEntropy<'_>) -> Option<usize> {
        Some(scratch(op.labels.own.len(), 2))
    }

    fn launch(&self, op: CrossEntropy<'_>, (): &mut (), scratch: Scratch<'_>) {
        let (logits, target, scratch) = (op.logits.host(), Target::of(op.target), scratch.host());
        let labels = Labels::of(op.labels);
        self.run(|| cross_entropy(logits, labels, target, scratch));
    }
}

impl Kernel<Contrastive<'_>> for Cpu {
    fn scratch(_: &Model, op: &Contrastive<'_>) -> Option<usize> {
        Some(scratch(op.labels.len(), op.each()))
    }

    fn launch(&self, op: Contrastive<'_>, (): &mut (), scratch: Scratch<'_>) {
        let (features, labels, scratch) = (op.features.host(), op.labels.host(), scratch.host());
        let target = Target::of(op.target);
        self.run(|| contrastive(features, labels, op.temperature, target, scratch));
    }
}

/// Where a loss goes, as slices.
pub(crate) struct Target<'a> {
    pub weight: f32,
    pub grad: Option<&'a mut [f32]>,
    /// The row of the loss table, [`report::COLUMNS`] long.
    pub row: &'a mut [f32],
}

impl<'a> Target<'a> {
    pub(super) fn of(t: LossTarget<'a>) -> Self {
        let row = &mut t.values.host_mut::<f32>()[t.row * report::COLUMNS..(t.row + 1) * report::COLUMNS];
        Target { weight: t.weight, grad: t.grad.map(Tensor::host_mut), row }
    }
}

/// The classes of samples, as slices.
#[derive(Clone, Copy)]
pub(super) struct Labels<'a> {
    pub own: &'a [u32],
    /// The second ones, and the share of the first.
    pub mixed: Option<(&'a [u32], &'a [f32])>,
}

impl<'a> Labels<'a> {
    pub(super) fn of(labels: ops::Labels<'a>) -> Self {
        let mixed = labels.mixed.map(|m| (m.other.host(), m.share.host()));
        Labels { own: labels.own.host(), mixed }
    }

    /// The second class of sample `i`, and the shares of both.
    pub(super) fn second(&self, i: usize) -> (usize, [f64; 2]) {
        self.mixed.map_or((usize::MAX, [1.0, 0.0]), |(other, share)| {
            let own = f64::from(share[i]);
            (other[i] as usize, [own, 1.0 - own])
        })
    }
}

/// Bytes for `n` samples with `each` numbers.
pub(super) fn scratch(n: usize, each: usize) -> usize {
    scratch_of::<f64>(n * each) + 4 * crate::memory::ALIGN
}

/// Runs `f(sample)` over all samples in parallel.
pub(super) fn samples(n: usize, f: impl Fn(usize) + Sync + Send) {
    let pieces = parallel::pieces(n, PIECES);
    parallel::for_each(pieces, |i| parallel::piece(n, pieces, i).for_each(&f));
}

/// Softmax cross-entropy, mean over the batch.
fn cross_entropy(logits: &[f32], labels: Labels<'_>, target: Target<'_>, scratch: &mut [u8]) {
    let n = labels.own.len();
    let classes = logits.len() / n;
    let values = Carver::new(scratch).take::<f64>(2 * n);
    let factor = f64::from(target.weight) / n as f64;
    let (wants, grad) = (target.grad.is_some(), Shared::new(target.grad.unwrap_or_default()));
    let shared = Shared::new(values);
    samples(n, |i| {
        let row = &logits[i * classes..(i + 1) * classes];
        let (label, (other, share)) = (labels.own[i] as usize, labels.second(i));
        let (mut best, mut max) = (0, f32::NEG_INFINITY);
        for (k, &x) in row.iter().enumerate() {
            if x > max {
                (best, max) = (k, x);
            }
        }
        let sum: f64 = row.iter().map(|x| f64::from(x - max).exp()).sum();
        // A label outside of the classes has no probability; the loss says so.
        let of = |label: usize| row.get(label).map_or(f64::NEG_INFINITY, |&x| f64::from(x - max));
        let mixture = if share[0] == 1.0 { of(label) } else { share[0] * of(label) + share[1] * of(other) };
        // SAFETY: one pair of values and one row of the gradient per sample.
        unsafe {
            shared.part(2 * i..2 * i + 2).copy_from_slice(&[sum.ln() - mixture, f64::from(best != label)]);
            if wants {
                for (k, (g, &x)) in grad.part(i * classes..(i + 1) * classes).iter_mut().zip(row).enumerate()
                {
                    let p = f64::from(x - max).exp() / sum;
                    let wanted = share[0] * f64::from(k == label) + share[1] * f64::from(k == other);
                    *g = (factor * (p - wanted)) as f32;
                }
            }
        }
    });
    target.row[report::LOSS] = (values.iter().step_by(2).sum::<f64>() / n as f64) as f32;
    target.row[report::WRONG] = values.iter().skip(1).step_by(2).sum::<f64>() as f32;
}

/// `f` normalised, `[n][d]` and transposed, and the lengths.
struct Unit<'a> {
    rows: &'a mut [f32],
    columns: &'a mut [f32],
    length: &'a mut [f32],
}

impl Unit<'_> {
    fn fill(&mut self, f: &[f32], n: usize, d: usize) {
        for i in 0..n {
            let row = &f[i * d..(i + 1) * d];
            let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
            self.length[i] = length as f32;
            for (k, x) in row.iter().enumerate() {
                let x = (f64::from(*x) / length) as f32;
                self.rows[i * d + k] = x;
                self.columns[k * n + i] = x;
            }
        }
    }
}

/// Supervised contrastive loss (Khosla et al. 2020, L_out), mean over the batch.
fn contrastive(features: &[f32], labels: &[u32], temperature: f32, target: Target<'_>, scratch: &mut [u8]) {
    let n = labels.len();
    let d = features.len() / n;
    let mut carver = Carver::new(scratch);
    let mut unit = Unit { rows: carver.take(n * d), columns: carver.take(n * d), length: carver.take(n) };
    let pairs = carver.take::<f32>(n * n);
    let values = carver.take::<f64>(n);
    unit.fill(features, n, d);
    {
        let (values, pairs) = (Shared::new(values), Shared::new(&mut *pairs));
        samples(n, |i| {
            // SAFETY: one row of pairs and one value per sample.
            let (row, value) = unsafe { (pairs.part(i * n..(i + 1) * n), values.part(i..i + 1)) };
            value[0] = anchor(i, &unit, labels, temperature, row);
        });
    }
    target.row[report::LOSS] = (values.iter().sum::<f64>() / n as f64) as f32;
    target.row[report::WRONG] = 0.0;
    if let Some(grad) = target.grad {
        let factor = target.weight / (n as f32 * temperature);
        let grad = Shared::new(grad);
        samples(n, |i| {
            // SAFETY: one row per sample.
            let out = unsafe { grad.part(i * d..(i + 1) * d) };
            through_length(i, &unit, pairs, factor, out);
        });
    }
}

/// The loss of one anchor; `row` becomes its derivatives with respect to the similarities (over temperature).
fn anchor(i: usize, unit: &Unit<'_>, labels: &[u32], temperature: f32, row: &mut [f32]) -> f64 {
    let n = labels.len();
    let d = unit.rows.len() / n;
    row.fill(0.0);
    for k in 0..d {
        let x = unit.rows[i * d + k] / temperature;
        for (s, y) in row.iter_mut().zip(&unit.columns[k * n..(k + 1) * n]) {
            *s += x * y;
        }
    }
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let others = |j: &usize| *j != i;
    let sum: f64 = (0..n).filter(others).map(|j| f64::from(row[j] - max).exp()).sum();
    let same = |j: usize| j != i && labels[j] == labels[i];
    let count = (0..n).filter(|&j| same(j)).count();
    let share = 1.0 / count.max(1) as f64;
    let mut loss = 0.0;
    for (j, value) in row.iter_mut().enumerate() {
        let shifted = f64::from(*value - max);
        if same(j) {
            loss -= (shifted - sum.ln()) * share;
        }
        *value = if j == i {
            0.0
        } else {
            (count as f64 * share * shifted.exp() / sum - if same(j) { share } else { 0.0 }) as f32
        };
    }
    loss
}

/// The gradient of sample `i`'s features, through their normalisation.
fn through_length(i: usize, unit: &Unit<'_>, pairs: &[f32], factor: f32, out: &mut [f32]) {
    let (n, d) = (unit.length.len(), out.len());
    out.fill(0.0);
    for j in 0..n {
        let w = pairs[i * n + j] + pairs[j * n + i];
        for (o, y) in out.iter_mut().zip(&unit.rows[j * d..(j + 1) * d]) {
            *o += w * y;
        }
    }
    let own = &unit.rows[i * d..(i + 1) * d];
    let along: f32 = out.iter().zip(own).map(|(g, x)| g * x).sum();
    for (o, x) in out.iter_mut().zip(own) {
        *o = factor * (*o - along * x) / unit.length[i];
    }
}
