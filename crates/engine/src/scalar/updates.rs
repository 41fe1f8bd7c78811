//! What moves parameters.

use crate::ops::Sgd;

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

/// target = m · target + (1 - m) · source.
pub fn ema(target: &mut [f64], source: &[f64], m: f64) {
    for (t, s) in target.iter_mut().zip(source) {
        *t = m * *t + (1.0 - m) * s;
    }
}
