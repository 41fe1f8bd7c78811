//! How much a process grew, as the system sees it.

use crate::process::{Status, reset_mark};

/// Bytes that the process held when it was made.
pub(super) struct Watch {
    before: Option<Status>,
    /// Whether the system's high-water mark counts from then on.
    reset: bool,
}

impl Watch {
    pub(super) fn begin() -> Self {
        let reset = reset_mark();
        Watch { before: Status::read(), reset }
    }

    /// Bytes by which it grew at the most since; none where that cannot be known.
    pub(super) fn grown(&self) -> Option<u64> {
        let (before, after) = (self.before?, Status::read()?);
        // A mark from an earlier and larger moment says nothing.
        let known = self.reset || after.peak > before.peak;
        known.then(|| after.peak.saturating_sub(before.resident))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_seen_where_the_system_tells() {
        let watch = Watch::begin();
        let held = std::hint::black_box(vec![1u8; 64 << 20]);
        if let Some(grown) = watch.grown() {
            assert!(grown >= 32 << 20, "{grown} of {}", held.len());
        }
    }
}
