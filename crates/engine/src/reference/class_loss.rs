//! Softmax cross-entropy with smoothed labels and weighted classes.

use super::Loss;

/// Of logits `[n, classes]` against labels `[n]`, or against mixtures of which `share` is of their own label and the rest of
/// `other`: targets are (1 - smoothing) t + smoothing / classes, the loss of a sample is -Σ w_c target_c log softmax_c, and
/// the mean is taken by the sum of the labels' weights, of mixtures by their number.
pub fn cross_entropy_with(
    logits: &[f64],
    labels: &[usize],
    mixed: Option<(&[usize], &[f64])>,
    (smoothing, weights): (f64, &[f64]),
) -> Loss {
    let classes = weights.len();
    let divisor: f64 = match mixed {
        None => labels.iter().map(|&label| weights[label]).sum(),
        Some(_) => labels.len() as f64,
    };
    let mut loss = Loss { value: 0.0, wrong: 0, grad: Vec::with_capacity(logits.len()) };
    for (i, (row, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        let (other, share) = mixed.map_or((label, 1.0), |(other, share)| (other[i], share[i]));
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - largest).exp()).sum();
        let is = |c, label| f64::from(u8::from(c == label));
        let target = |c| share * is(c, label) + (1.0 - share) * is(c, other);
        let wanted = |c: usize| weights[c] * ((1.0 - smoothing) * target(c) + smoothing / classes as f64);
        let all: f64 = (0..classes).map(wanted).sum();
        let log = |v: f64| v - largest - sum.ln();
        loss.value -= row.iter().enumerate().map(|(c, &v)| wanted(c) * log(v)).sum::<f64>() / divisor;
        loss.wrong += usize::from(row.iter().position(|&v| v == largest) != Some(label));
        loss.grad.extend(row.iter().enumerate().map(|(c, &v)| (all * log(v).exp() - wanted(c)) / divisor));
    }
    loss
}
