//! Softmax cross-entropy.

use super::Loss;

/// Of logits `[n, classes]` against labels `[n]`: mean of `-log softmax(logits)[label]`. Wrong is a sample
/// whose largest logit, the first of equals, is not its label's.
pub fn cross_entropy(logits: &[f64], labels: &[usize]) -> Loss {
    mixed_cross_entropy(logits, labels, labels, &vec![1.0; labels.len()])
}

/// As [`cross_entropy`], of samples of which `share` is of their own label and the rest of `other`: the mixture of both
/// cross-entropies. Wrong is what is not taken for its own label.
pub fn mixed_cross_entropy(logits: &[f64], labels: &[usize], other: &[usize], share: &[f64]) -> Loss {
    let (n, classes) = (labels.len() as f64, logits.len() / labels.len());
    let mut loss = Loss { value: 0.0, wrong: 0, grad: Vec::with_capacity(logits.len()) };
    let second = other.iter().zip(share);
    for ((row, &label), (&other, share)) in logits.chunks_exact(classes).zip(labels).zip(second) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - largest).exp()).sum();
        loss.value += (sum.ln() + largest - share * row[label] - (1.0 - share) * row[other]) / n;
        loss.wrong += usize::from(row.iter().position(|&v| v == largest) != Some(label));
        let is = |c, label| f64::from(u8::from(c == label));
        let wanted = |c| share * is(c, label) + (1.0 - share) * is(c, other);
        loss.grad.extend(row.iter().enumerate().map(|(c, v)| ((v - largest).exp() / sum - wanted(c)) / n));
    }
    loss
}
