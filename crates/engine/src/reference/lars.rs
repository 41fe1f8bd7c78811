//! LARS.

use crate::ops::Lars;

/// One step of LARS: d = r · (g + wd · p); v = µ · v + d; p -= lr · v, or lr · (d + µ · v) with Nesterov, where
/// r = η · |p| / (|g| + wd · |p| + eps), or 1 where a norm is 0.
pub fn lars(parameter: &mut [f64], grad: &[f64], velocity: &mut [f64], options: Lars) {
    let Lars { lr, momentum, weight_decay, trust, eps, nesterov } = options;
    let [lr, momentum, decay, trust, eps] = [lr, momentum, weight_decay, trust, eps].map(f64::from);
    let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (size, slope) = (norm(parameter), norm(grad));
    let ratio = if size > 0.0 && slope > 0.0 { trust * size / (slope + decay * size + eps) } else { 1.0 };
    for ((p, &g), v) in parameter.iter_mut().zip(grad).zip(velocity) {
        let d = ratio * (g + decay * *p);
        *v = momentum * *v + d;
        *p -= lr * if nesterov { d + momentum * *v } else { *v };
    }
}
