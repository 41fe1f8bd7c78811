//! What a step costs, module by module; read on a dry device, for plans.

use super::Method;
use mlaan_engine::{Device, MemoryCategory};
use std::time::Instant;

/// What one module costs in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    /// Floating-point operations of its forward pass.
    pub forward: u64,
    /// Of its auxiliary networks (the last module: of the classifier), forward and backward.
    pub auxiliary: u64,
    /// Of the passes back through it.
    pub backward: u64,
    /// Bytes that the operations of the three had to read or write, every operand once.
    pub accessed: u64,
    /// Bytes that its auxiliary networks take at the most, beside what is there before.
    pub auxiliary_bytes: usize,
    /// Bytes that its forward pass keeps.
    pub activations: usize,
    /// Most bytes in use on the device at any moment of work on it.
    pub peak: usize,
    /// Nanoseconds of the three, on a processor that computes.
    pub nanos: [u64; 3],
}

/// Which cost a piece of work adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Forward,
    Auxiliary,
    Backward,
}

/// What a device had done and held before a piece of work.
pub(super) struct Before {
    flops: u64,
    accessed: u64,
    activations: usize,
    bytes: usize,
    began: Instant,
}

impl Before {
    /// From here on the device's peak is that of the work.
    pub fn on(device: &Device) -> Self {
        device.pool().reset_peak();
        Before {
            flops: device.flops(),
            accessed: device.bytes_accessed(),
            activations: kept(device),
            bytes: device.usage().current,
            began: Instant::now(),
        }
    }
}

fn kept(device: &Device) -> usize {
    device.usage().by_category[MemoryCategory::Activations as usize]
}

impl Meter {
    /// What a step costs in the mean, of what the first step of a period and the others do; memory is the most of either.
    pub(crate) fn mean(first: &Meter, other: &Meter, method: &Method) -> Meter {
        let mean = |part: fn(&Meter) -> u64| method.mean(part(first), part(other));
        let most = |part: fn(&Meter) -> usize| part(first).max(part(other));
        Meter {
            forward: mean(|m| m.forward),
            auxiliary: mean(|m| m.auxiliary),
            backward: mean(|m| m.backward),
            accessed: mean(|m| m.accessed),
            auxiliary_bytes: most(|m| m.auxiliary_bytes),
            activations: most(|m| m.activations),
            peak: most(|m| m.peak),
            nanos: [mean(|m| m.nanos[0]), mean(|m| m.nanos[1]), mean(|m| m.nanos[2])],
        }
    }

    /// Adds a piece of work that is done.
    pub(super) fn add(&mut self, part: Part, device: &Device, before: &Before) {
        let flops = device.flops() - before.flops;
        let peak = device.usage().peak;
        self.peak = self.peak.max(peak);
        self.accessed += device.bytes_accessed() - before.accessed;
        if device.computes() {
            let nanos = u64::try_from(before.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.nanos[part as usize] = self.nanos[part as usize].saturating_add(nanos);
        }
        match part {
            Part::Forward => {
                self.forward += flops;
                // Of several shards the largest: one is there at a time.
                self.activations = self.activations.max(kept(device).saturating_sub(before.activations));
            }
            Part::Auxiliary => {
                self.auxiliary += flops;
                self.auxiliary_bytes = self.auxiliary_bytes.max(peak.saturating_sub(before.bytes));
            }
            Part::Backward => self.backward += flops,
        }
    }
}
