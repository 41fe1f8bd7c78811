//! What a command needs, in numbers.

use mlaan_engine::Usage;

/// The memory that a command needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Tensors and images, as the accountant of the device counts them.
    pub usage: Usage,
    /// Bytes that the process needs beside them; none of them on a device with memory of its own, where they are not what
    /// limits.
    pub process: usize,
    /// Bytes of messages between stages or ranks in host memory, on a device with memory of its own; elsewhere none, as `process` has
    /// them.
    pub messages: usize,
}

impl Needs {
    /// Bytes at the most: of the whole process, or on a device with memory of its own, there and for the images.
    pub fn memory(&self) -> usize {
        self.usage.footprint + self.process
    }

    /// Bytes of host memory of a run on a device with memory of its own: images, what is kept there of the device's tensors, and
    /// messages.
    pub fn host(&self) -> usize {
        self.images() + self.usage.host + self.messages
    }

    /// Bytes that do not lie with the tensors on a device with memory of its own.
    pub(super) fn images(&self) -> usize {
        self.usage.footprint.saturating_sub(self.usage.held)
    }

    /// Bytes in the host's memory alone, for what computes on a device with memory of its own or not.
    pub fn on_host(&self, own_memory: bool) -> usize {
        if own_memory { self.host() } else { self.memory() }
    }

    /// The same needs where loading the images takes `bytes` at one moment, before there is any tensor.
    pub fn loading(self, bytes: usize) -> Self {
        Needs { process: self.process + bytes.saturating_sub(self.usage.footprint), ..self }
    }
}
