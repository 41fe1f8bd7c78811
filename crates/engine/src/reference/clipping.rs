//! Clipping of gradients.

/// min(1, max_norm / (norm + 1e-6)) with the norm of all `gradients` together; not a number where the norm is none.
pub fn clip_coefficient(gradients: &[&[f64]], max_norm: f64) -> f64 {
    let norm = gradients.iter().flat_map(|g| g.iter()).map(|x| x * x).sum::<f64>().sqrt();
    let coefficient = max_norm / (norm + 1e-6);
    if coefficient > 1.0 { 1.0 } else { coefficient }
}
