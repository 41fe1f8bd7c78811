//! What each operation of a device costs.

use crate::backend::Backend;
use crate::operation::Label;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// An operation of one kind and shape, over all its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationCost {
    /// Kind and shape, as `convolve 3x3 16→16 32x32` (sides are the input's, `/2` a stride).
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Wall time of the calls.
    pub seconds: f64,
    /// Floating-point operations as [`Device::flops`](crate::Device::flops) counts them; 0 for all but convolutions.
    pub flops: u64,
    /// Bytes that must be read or written at the least: every operand once.
    pub bytes: u64,
}

/// Sums of a label's calls.
#[derive(Clone, Copy, Default)]
struct Sum {
    calls: u64,
    seconds: f64,
    flops: u64,
    bytes: u64,
}

/// What was recorded so far.
#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<Label, Sum>>);

impl Records {
    fn sums(&self) -> MutexGuard<'_, HashMap<Label, Sum>> {
        // A panic elsewhere leaves the sums whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, the slowest first.
    pub(crate) fn costs(&self) -> Vec<OperationCost> {
        let cost = |(label, sum): (&Label, &Sum)| OperationCost {
            name: label.to_string(),
            calls: sum.calls,
            seconds: sum.seconds,
            flops: sum.flops,
            bytes: sum.bytes,
        };
        let mut costs: Vec<_> = self.sums().iter().map(cost).collect();
        costs.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
        costs
    }

    /// Runs `f`, which asks `backend` for an operation, and adds what it took to the sums of its label.
    pub(crate) fn time(
        &self,
        backend: &dyn Backend,
        (label, flops, bytes): (Label, u64, usize),
        f: impl FnOnce(),
    ) {
        // A device that works beside the processor may still be at what was asked for before.
        backend.synchronize();
        let begin = Instant::now();
        f();
        backend.synchronize();
        let seconds = begin.elapsed().as_secs_f64();
        let mut sums = self.sums();
        let sum = sums.entry(label).or_default();
        sum.calls += 1;
        sum.seconds += seconds;
        sum.flops += flops;
        sum.bytes += bytes as u64;
    }

    pub(crate) fn clear(&self) {
        self.sums().clear();
    }
}
