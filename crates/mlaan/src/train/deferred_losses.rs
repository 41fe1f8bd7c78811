//! When the losses of steps are read.

use crate::data::{Batch, Loader};
use std::collections::VecDeque;
use std::sync::Arc;

/// Seconds of training between two readings: what is shown is no older, and who stops a run waits no longer.
const SECONDS: f64 = 1.0;

/// When losses are read.
#[derive(Debug, Default)]
pub(super) struct DeferredLosses {
    /// Steps until the next reading, where that is given.
    pub(super) fixed: Option<usize>,
    /// Else as many as seem to take [`SECONDS`]; 0 before the first is read.
    every: usize,
    /// Images of the steps that were not read.
    pub(super) images: Vec<usize>,
    /// Batches that stages may still have use of.
    pub(super) batches: VecDeque<Arc<Batch>>,
}

impl DeferredLosses {
    /// Whether it is time, where there is room for `most` steps.
    pub(super) fn is_due(&self, most: usize) -> bool {
        self.images.len() >= self.fixed.unwrap_or(self.every).clamp(1, most.max(1))
    }

    /// Gives batches back that no stage has use of any more.
    pub(super) fn recycle(&mut self, loader: &mut Loader) {
        while let Some(batch) = self.batches.pop_front() {
            match Arc::try_unwrap(batch) {
                Ok(batch) => loader.recycle(batch),
                Err(batch) => return self.batches.push_front(batch),
            }
        }
    }

    /// So many steps took so many seconds.
    pub(super) fn took(&mut self, steps: usize, seconds: f64) {
        self.every = (SECONDS * steps as f64 / seconds.max(1e-9)) as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_read_about_once_a_second() {
        let due = |deferred: &DeferredLosses, steps, most| {
            let (images, batches) = (vec![8; steps], VecDeque::new());
            let deferred = DeferredLosses { images, batches, fixed: deferred.fixed, every: deferred.every };
            deferred.is_due(most)
        };
        let mut deferred = DeferredLosses::default();
        assert!(!due(&deferred, 0, 32) && due(&deferred, 1, 32), "the first step at once");
        deferred.took(1, 40.0);
        assert!(due(&deferred, 1, 32), "slow steps one by one");
        deferred.took(1, 0.1);
        assert!(!due(&deferred, 9, 32) && due(&deferred, 10, 32));
        deferred.took(10, 0.0);
        assert!(!due(&deferred, 31, 32) && due(&deferred, 32, 32), "no more than there is room for");
        assert!(due(&deferred, 1, 1), "on the processor each");
        deferred.fixed = Some(5);
        assert!(!due(&deferred, 4, 32) && due(&deferred, 5, 32) && due(&deferred, 1, 1));
    }
}
