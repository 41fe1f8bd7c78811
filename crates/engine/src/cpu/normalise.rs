//! BatchNorm: from statistics to scale and shift.

use super::Cpu;
use crate::backend::Scratch;
use crate::ops::{Kernel, NormConstants, NormaliseEval, NormaliseTrain, norm};

impl Kernel<NormaliseTrain<'_>> for Cpu {
    fn launch(&self, op: NormaliseTrain<'_>, (): &mut (), _: Scratch<'_>) {
        let running = (op.running.0.host_mut(), op.running.1.host_mut());
        train(op.norm.host_mut(), op.weight.host(), op.bias.host(), running, op.count, op.constants);
    }
}

impl Kernel<NormaliseEval<'_>> for Cpu {
    fn launch(&self, op: NormaliseEval<'_>, (): &mut (), _: Scratch<'_>) {
        let running = (op.running.0.host(), op.running.1.host());
        eval(op.norm.host_mut(), op.weight.host(), op.bias.host(), running, op.constants);
    }
}

fn train(
    rows: &mut [f32],
    weight: &[f32],
    bias: &[f32],
    running: (&mut [f32], &mut [f32]),
    count: usize,
    constants: NormConstants,
) {
    let c = weight.len();
    let m = f64::from(constants.momentum);
    // One value has no unbiased variance; the batch's own is the best there is.
    let unbiased = if count > 1 { count as f64 / (count as f64 - 1.0) } else { 1.0 };
    for i in 0..c {
        let mean = f64::from(rows[norm::MEAN * c + i]);
        let variance = f64::from(rows[norm::INV_STD * c + i]);
        let inv_std = 1.0 / (variance + f64::from(constants.eps)).sqrt();
        let scale = f64::from(weight[i]) * inv_std;
        rows[norm::SCALE * c + i] = scale as f32;
        rows[norm::SHIFT * c + i] = (f64::from(bias[i]) - mean * scale) as f32;
        rows[norm::INV_STD * c + i] = inv_std as f32;
        running.0[i] = ((1.0 - m) * f64::from(running.0[i]) + m * mean) as f32;
        running.1[i] = ((1.0 - m) * f64::from(running.1[i]) + m * variance * unbiased) as f32;
    }
}

fn eval(rows: &mut [f32], weight: &[f32], bias: &[f32], running: (&[f32], &[f32]), constants: NormConstants) {
    let c = weight.len();
    for i in 0..c {
        let (mean, variance) = (f64::from(running.0[i]), f64::from(running.1[i]));
        let inv_std = 1.0 / (variance + f64::from(constants.eps)).sqrt();
        let scale = f64::from(weight[i]) * inv_std;
        rows[norm::SCALE * c + i] = scale as f32;
        rows[norm::SHIFT * c + i] = (f64::from(bias[i]) - mean * scale) as f32;
        rows[norm::MEAN * c + i] = mean as f32;
        rows[norm::INV_STD * c + i] = inv_std as f32;
    }
}
