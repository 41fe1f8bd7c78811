//! What is on its way between stages, in numbers.

/// Bytes of a rank's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankMessages {
    /// Of those that wait for it at the most ([`World::peak_bytes`](crate::ranks::World::peak_bytes)).
    pub waiting: usize,
    /// Of all, with those that it sends and the batches that it was given.
    pub all: usize,
}

/// Batches of the host that so many stages hold beside the one that the first takes.
pub fn in_flight(stages: usize) -> usize {
    if stages > 1 { stages + 1 } else { 0 }
}
