//! Kinds of devices, as far as memory depends on them.

/// What computes: the processor or a GPU. How much scratch an operation takes is a matter of the kind alone, so a plan
/// ([`Device::dry`](crate::Device::dry)) needs neither the device nor its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor.
    Cpu {
        /// Threads to compute with, some of whose scratch is per thread; all cores when `None`.
        threads: Option<usize>,
    },
    /// An NVIDIA GPU. All of them need the same memory.
    Cuda,
}

impl DeviceKind {
    /// `cpu` or `cuda`.
    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu { .. } => "cpu",
            DeviceKind::Cuda => "cuda",
        }
    }

    /// Whether images are better kept on the device, as bytes, than brought there with every step: there is less to
    /// bring, and nothing to make beforehand.
    pub fn keeps_data(self) -> bool {
        self == DeviceKind::Cuda
    }

    /// Whether the device works beside the processor, so that whoever reads a value waits for all that was asked for before,
    /// and the device then for whoever asks next.
    pub fn runs_behind(self) -> bool {
        self == DeviceKind::Cuda
    }

    /// Whether the device has memory of its own, beside the process's.
    pub fn has_own_memory(self) -> bool {
        self == DeviceKind::Cuda
    }
}
