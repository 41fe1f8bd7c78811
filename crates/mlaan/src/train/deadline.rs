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
    /// An image of the last evaluation. None before one.
    pub(super) evaluated: Option<Duration>,
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

    /// Whether an evaluation of so many images is expected to end before it. One whose images were not timed begins in any
    /// case: else a run that only has its test left would never end.
    pub(super) fn leaves_a_test(&self, now: Instant, images: usize) -> bool {
        let left = self.at.map(|at| at.saturating_duration_since(now));
        let whole = |image: Duration| image.saturating_mul(u32::try_from(images).unwrap_or(u32::MAX));
        left.is_none_or(|left| self.evaluated.is_none_or(|image| whole(image) <= left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_begin_where_they_are_expected_to_end() {
        let (now, s) = (Instant::now(), Duration::from_secs);
        let of = |left: Option<u64>, epoch: Option<u64>| {
            let at = left.map(|n| now + s(n));
            Deadline { at, epoch: epoch.map(s), evaluated: None }.leaves_an_epoch(now)
        };
        assert!(of(None, None) && of(None, Some(1000)));
        assert!(of(Some(10), None) && of(Some(10), Some(10)));
        assert!(!of(Some(10), Some(11)) && !of(Some(0), None));
        assert!(!Deadline::default().is_over());
        let by = |at| Deadline { at: Some(at), ..Deadline::default() };
        assert!(by(now).is_over() && !by(now + s(1000)).is_over());
        let test = |left, image: Option<u64>| {
            let evaluated = image.map(Duration::from_millis);
            Deadline { evaluated, ..by(now + s(left)) }.leaves_a_test(now, 5000)
        };
        assert!(test(10, Some(2)) && !test(9, Some(2)) && test(0, None));
        assert!(Deadline { evaluated: Some(s(1)), ..Deadline::default() }.leaves_a_test(now, 5000));
    }
}
