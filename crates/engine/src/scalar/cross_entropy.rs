//! Softmax cross-entropy.

use super::Loss;

/// Of logits `[n, classes]` against labels `[n]`: mean of `-log softmax(logits)[label]`. Wrong is a sample
/// whose largest logit, the first of equals, is not its label's.
pub fn cross_entropy(logits: &[f64], labels: &[usize]) -> Loss {
    let (n, classes) = (labels.len() as f64, logits.len() / labels.len());
    let mut loss = Loss { value: 0.0, wrong: 0, grad: Vec::with_capacity(logits.len()) };
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|v| (v - largest).exp()).sum();
        loss.value += (sum.ln() + largest - row[label]) / n;
        loss.wrong += usize::from(row.iter().position(|&v| v == largest) != Some(label));
        let one_hot = |c| f64::from(u8::from(c == label));
        loss.grad.extend(row.iter().enumerate().map(|(c, v)| ((v - largest).exp() / sum - one_hot(c)) / n));
    }
    loss
}
