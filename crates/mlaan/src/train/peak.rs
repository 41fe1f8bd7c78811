//! The most memory that a run took.

/// Memory at the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeakBytes {
    /// Of the process; none where the system does not tell, and on a device with memory of its own.
    pub memory: Option<u64>,
    /// Of tensors and images, as the accountant counts them.
    pub allocated: u64,
}

impl PeakBytes {
    /// What is called peak memory: the process's, or what is known of it.
    pub fn most(self) -> u64 {
        self.memory.unwrap_or(self.allocated)
    }

    /// The larger of each.
    pub(super) fn max(self, other: Self) -> Self {
        PeakBytes { memory: self.memory.max(other.memory), allocated: self.allocated.max(other.allocated) }
    }
}
