//! Cross-entropy with smoothed labels and weighted classes; values are summed per sample, in order.

use super::loss::{Labels, Target, samples, scratch};
use super::parallel::{Carver, Shared};
use super::{Cpu, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Kernel, WeightedCrossEntropy, report};

impl Kernel<WeightedCrossEntropy<'_>> for Cpu {
    fn scratch(_: &Model, op: &WeightedCrossEntropy<'_>) -> Option<usize> {
        Some(scratch(op.labels.own.len(), 2))
    }

    fn launch(&self, op: WeightedCrossEntropy<'_>, (): &mut (), scratch: Scratch<'_>) {
        let labels = Labels::of(op.labels);
        let options =
            Options { smoothing: op.options.smoothing, weights: op.options.weights.map(Tensor::host) };
        let (logits, target, scratch) = (op.logits.host(), Target::of(op.target), scratch.host());
        self.run(|| cross_entropy(logits, labels, options, target, scratch));
    }
}

/// [`ClassLoss`](crate::ops::ClassLoss), its weights as a slice.
#[derive(Clone, Copy)]
struct Options<'a> {
    smoothing: f32,
    weights: Option<&'a [f32]>,
}

impl Options<'_> {
    /// The weight of a class; a label outside of the classes has none.
    fn weight(&self, class: usize) -> f64 {
        self.weights.map_or(1.0, |w| w.get(class).map_or(0.0, |&w| f64::from(w)))
    }
}

fn cross_entropy(
    logits: &[f32],
    labels: Labels<'_>,
    options: Options<'_>,
    target: Target<'_>,
    scratch: &mut [u8],
) {
    let n = labels.own.len();
    let classes = logits.len() / n;
    let values = Carver::new(scratch).take::<f64>(2 * n);
    let divisor = match labels.mixed {
        None => labels.own.iter().map(|&label| options.weight(label as usize)).sum(),
        Some(_) => n as f64,
    };
    let smoothing = f64::from(options.smoothing);
    let (kept, spread) = (1.0 - smoothing, smoothing / classes as f64);
    let factor = f64::from(target.weight) / divisor;
    let (wants, grad) = (target.grad.is_some(), Shared::new(target.grad.unwrap_or_default()));
    let shared = Shared::new(values);
    samples(n, |i| {
        let row = &logits[i * classes..(i + 1) * classes];
        let (label, (other, share)) = (labels.own[i] as usize, labels.second(i));
        let wanted = |k: usize| {
            let own = share[0] * f64::from(k == label) + share[1] * f64::from(k == other);
            options.weight(k) * (kept * own + spread)
        };
        let (mut best, mut max) = (0, f32::NEG_INFINITY);
        for (k, &x) in row.iter().enumerate() {
            if x > max {
                (best, max) = (k, x);
            }
        }
        let (mut sum, mut all, mut mixture) = (0.0, 0.0, 0.0);
        for (k, x) in row.iter().enumerate() {
            let (shifted, wanted) = (f64::from(x - max), wanted(k));
            sum += shifted.exp();
            all += wanted;
            // What is not asked for may have no probability.
            mixture += if wanted == 0.0 { 0.0 } else { wanted * shifted };
        }
        // A label outside of the classes has no probability; the loss says so.
        let lost = |label: usize, share: f64| share > 0.0 && label >= classes;
        let outside = lost(label, share[0]) || lost(other, share[1]);
        let value = if outside { f64::INFINITY } else { all * sum.ln() - mixture };
        // SAFETY: one pair of values and one row of the gradient per sample.
        unsafe {
            shared.part(2 * i..2 * i + 2).copy_from_slice(&[value, f64::from(best != label)]);
            if wants {
                for (k, (g, &x)) in grad.part(i * classes..(i + 1) * classes).iter_mut().zip(row).enumerate()
                {
                    let p = f64::from(x - max).exp() / sum;
                    *g = (factor * (all * p - wanted(k))) as f32;
                }
            }
        }
    });
    target.row[report::LOSS] = (values.iter().step_by(2).sum::<f64>() / divisor) as f32;
    target.row[report::WRONG] = values.iter().skip(1).step_by(2).sum::<f64>() as f32;
}
