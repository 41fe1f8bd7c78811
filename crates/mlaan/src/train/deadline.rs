//! Runs that end in time.

use std::time::{Duration, Instant};

/// When a run has to end, and how long an epoch of it takes here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadline {
    /// None: whenever it likes.
    pub(super) at: Option<Instant>,
    /// Of the last epoch that this process finished, its test and its checkpoint included. None before: a first epoch begins in
    /// any case, else a run whose epochs are longer than its time would never move.
    pub(super) epoch: Option<Duration>,
}

impl Deadline {
    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// Whether another epoch is expected to end before it, from `now` on.
    pub(super) fn leaves_an_epoch(&self, now: Instant) -> bool {
        let left = self.at.map(|at| at.saturating_duration_since(now));
        left.is_none_or(|left| !left.is_zero() && self.epoch.is_none_or(|epoch| epoch <= left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_begin_where_they_are_expected_to_end() {
        let (now, s) = (Instant::now(), Duration::from_secs);
        let of = |left: Option<u64>, epoch: Option<u64>| {
            Deadline { at: left.map(|n| now + s(n)), epoch: epoch.map(s) }.leaves_an_epoch(now)
        };
        assert!(of(None, None) && of(None, Some(1000)));
        assert!(of(Some(10), None) && of(Some(10), Some(10)));
        assert!(!of(Some(10), Some(11)) && !of(Some(0), None));
        assert!(!Deadline::default().is_over());
        assert!(Deadline { at: Some(now), epoch: None }.is_over());
        assert!(!Deadline { at: Some(now + s(1000)), epoch: None }.is_over());
    }
}
