//! Cross-entropy with smoothed labels and weighted classes.

use super::args::{at, extent};
use super::geometry::Geometry;
use super::loss::{Parts, THREADS, by_warps, number, total};
use super::program::{Program, entry};
use super::{Cuda, Model};
use crate::backend::Scratch;
use crate::ops::{Kernel, WeightedCrossEntropy};

pub(super) static CLASS_LOSS: Program = Program {
    name: "class_loss.cu",
    source: include_str!("kernels/class_loss.cu"),
    defines: &[],
    entries: &[entry::<Args>("class_loss_divisor"), entry::<Args>("class_loss")],
    shared: 0,
};

/// `struct ClassLoss` of `kernels/class_loss.cu`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Args {
    logits: u64,
    labels: u64,
    other: u64,
    share: u64,
    weights: u64,
    grad: u64,
    losses: u64,
    wrong: u64,
    divisor: u64,
    samples: u32,
    classes: u32,
    weight: f32,
    smoothing: f32,
}

impl Kernel<WeightedCrossEntropy<'_>> for Cuda {
    /// The divisor, and of every sample its loss and whether it is wrong.
    fn scratch(_: &Model, op: &WeightedCrossEntropy<'_>) -> Option<usize> {
        Some(size_of::<f64>() + 2 * op.labels.own.len() * size_of::<f32>())
    }

    fn launch(&self, op: WeightedCrossEntropy<'_>, (): &mut (), scratch: Scratch<'_>) {
        let weighted = op.divisor().is_some();
        let WeightedCrossEntropy { logits, labels, options, target } = op;
        let (driver, divisor) = (self.driver(), scratch.device_address());
        let (n, classes) = (labels.own.len(), logits.nhwc()[3]);
        let losses = divisor + size_of::<f64>() as u64;
        let wrong = number(losses, n);
        let args = Args {
            logits: logits.device_address(),
            labels: labels.own.device_address(),
            other: at(labels.mixed.map(|m| m.other)),
            share: at(labels.mixed.map(|m| m.share)),
            weights: at(options.weights),
            grad: at(target.grad.as_deref()),
            losses,
            wrong,
            divisor: if weighted { divisor } else { 0 },
            samples: extent(n),
            classes: extent(classes),
            weight: target.weight,
            smoothing: options.smoothing,
        };
        if weighted {
            let geometry = Geometry { grid: [1; 3], threads: THREADS, shared: 0 };
            driver.launch(&CLASS_LOSS, "class_loss_divisor", geometry, &args);
        }
        driver.launch(&CLASS_LOSS, "class_loss", by_warps(n), &args);
        let parts = Parts { losses, wrong, samples: n, divisor: n, both: true };
        total(driver, &parts, target.values, target.row);
    }
}
