//! Supervised contrastive loss (Khosla et al. 2020, <https://arxiv.org/abs/2004.11362>, L_out).

use super::Loss;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Of features `[n, f]` against labels `[n]`, features scaled to length 1. For each sample that has
/// others of its label: the mean over these of -log softmax(similarity / temperature) among all others;
/// the loss is the mean over the batch, samples without a partner counting 0.
pub fn contrastive(features: &[f64], labels: &[usize], temperature: f64) -> Loss {
    let (n, f) = (labels.len(), features.len() / labels.len());
    let lengths: Vec<f64> = features.chunks_exact(f).map(|v| dot(v, v).sqrt().max(1e-12)).collect();
    let unit: Vec<f64> = features.iter().enumerate().map(|(i, v)| v / lengths[i / f]).collect();
    let row = |i: usize| &unit[i * f..(i + 1) * f];

    let mut value = 0.0;
    let mut unit_grad = vec![0.0; unit.len()];
    for i in 0..n {
        let others = || (0..n).filter(move |&j| j != i);
        let partners = others().filter(|&j| labels[j] == labels[i]).count() as f64;
        if partners == 0.0 {
            continue;
        }
        let similarity = |j| dot(row(i), row(j)) / temperature;
        let largest = others().map(similarity).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = others().map(|j| (similarity(j) - largest).exp()).sum();
        for j in others() {
            let log_softmax = similarity(j) - largest - sum.ln();
            let share = if labels[j] == labels[i] { 1.0 / partners } else { 0.0 };
            value -= share * log_softmax / n as f64;
            let grad = (log_softmax.exp() - share) / n as f64 / temperature;
            for k in 0..f {
                unit_grad[i * f + k] += grad * row(j)[k];
                unit_grad[j * f + k] += grad * row(i)[k];
            }
        }
    }
    // unit = v / |v|, so dv = (d_unit - unit · (unit · d_unit)) / |v|.
    let along: Vec<f64> =
        unit.chunks_exact(f).zip(unit_grad.chunks_exact(f)).map(|(u, g)| dot(u, g)).collect();
    let grad = (0..unit.len()).map(|i| (unit_grad[i] - unit[i] * along[i / f]) / lengths[i / f]).collect();
    Loss { value, wrong: 0, grad }
}
