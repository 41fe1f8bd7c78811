//! Shares of mixtures.

use crate::rng::Rng;

/// A draw from Beta(alpha, alpha).
pub(super) fn beta(alpha: f64, rng: &mut Rng) -> f64 {
    // x / (x + y) of two gamma variates, by their logarithms: for a small alpha they are smaller than any float.
    let (x, y) = (log_gamma_variate(alpha, rng), log_gamma_variate(alpha, rng));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a draw from Gamma(shape, 1): Marsaglia and Tsang (2000), one shape higher, then taken down.
fn log_gamma_variate(shape: f64, rng: &mut Rng) -> f64 {
    let d = shape + 1.0 - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let high = loop {
        let z = rng.normal();
        let v = (1.0 + c * z).powi(3);
        // From (0, 1], so that its logarithm is finite.
        let u = 1.0 - rng.uniform();
        if v > 0.0 && u.ln() < 0.5 * z * z + d - d * v + d * v.ln() {
            break (d * v).ln();
        }
    };
    high + (1.0 - rng.uniform()).ln() / shape
}
