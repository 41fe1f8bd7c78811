//! How a rank is doing, as its signs of life say.

use std::time::Duration;

/// How a rank is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankStatus {
    /// That its stage has worked in steps so far.
    pub busy: Duration,
    /// That it has waited in steps for other ranks.
    pub waited: Duration,
    /// Bytes that it holds, or has held at the most.
    pub memory: u64,
    /// Whether it could go on by itself.
    pub(super) goes_on: bool,
    /// Messages that it got.
    pub(super) delivered: u64,
}

impl RankStatus {
    pub(super) fn write(&self) -> Vec<u8> {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let numbers =
            [nanos(self.busy), nanos(self.waited), self.memory, self.goes_on.into(), self.delivered];
        numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        let [busy, waited, memory, goes_on, delivered] = numbers[..] else { return None };
        let [busy, waited] = [busy, waited].map(Duration::from_nanos);
        Some(RankStatus { busy, waited, memory, goes_on: goes_on > 0, delivered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_comes_as_it_was_sent() {
        let [busy, waited] = [7, 9].map(Duration::from_nanos);
        let status = RankStatus { busy, waited, memory: 5, goes_on: true, delivered: 3 };
        assert_eq!(RankStatus::read(&status.write()), Some(status));
        assert_eq!(RankStatus::read(&[1; 39]), None);
    }
}
