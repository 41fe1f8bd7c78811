//! What moves parameters.

use crate::ops::{AdamW, Sgd};

/// One step of SGD in PyTorch's form: g += wd · p; v = µ · v + g; p -= lr · (g + µ · v), or lr · v
/// without Nesterov.
pub fn sgd(parameter: &mut [f64], grad: &[f64], velocity: &mut [f64], options: Sgd) {
    let [lr, momentum, decay] = [options.lr, options.momentum, options.weight_decay].map(f64::from);
    for ((p, &g), v) in parameter.iter_mut().zip(grad).zip(velocity) {
        let g = g + decay * *p;
        *v = momentum * *v + g;
        *p -= lr * if options.nesterov { g + momentum * *v } else { *v };
    }
}

/// One step of AdamW in PyTorch's form: p -= lr · wd · p; m = β1 · m + (1 - β1) · g; v = β2 · v + (1 - β2) · g²;
/// p -= lr · m / (1 - β1^t) / (√(v / (1 - β2^t)) + eps).
pub fn adamw(parameter: &mut [f64], grad: &[f64], first: &mut [f64], second: &mut [f64], options: AdamW) {
    let [lr, eps, decay] = [options.lr, options.eps, options.weight_decay].map(f64::from);
    let [b1, b2] = options.betas;
    let [c1, c2] = options.betas.map(|b| 1.0 - b.powf(f64::from(options.step)));
    for (((p, &g), m), v) in parameter.iter_mut().zip(grad).zip(first).zip(second) {
        *p -= lr * decay * *p;
        *m = b1 * *m + (1.0 - b1) * g;
        *v = b2 * *v + (1.0 - b2) * g * g;
        *p -= lr * (*m / c1) / ((*v / c2).sqrt() + eps);
    }
}

/// target = m · target + (1 - m) · source.
pub fn ema(target: &mut [f64], source: &[f64], m: f64) {
    for (t, s) in target.iter_mut().zip(source) {
        *t = m * *t + (1.0 - m) * s;
    }
}
