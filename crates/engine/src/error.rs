//! The engine's error.

/// What a device can refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes, types or values that an operation does not take.
    #[error("{operation}: {message}")]
    Shape {
        /// The operation.
        operation: &'static str,
        /// What was given and what is needed.
        message: String,
    },
    /// The device has no room.
    #[error(
        "out of memory on {device}: {requested} bytes asked for, {in_use} in use; use a smaller batch, or more modules"
    )]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use.
        in_use: usize,
    },
    /// The device does not exist here or cannot be used.
    #[error("device {device}: {message}")]
    Unavailable {
        /// The device.
        device: String,
        /// Why, and what to do.
        message: String,
    },
    /// The device stopped working: what it computed since is lost.
    #[error("device {device} failed: {message}")]
    Failed {
        /// The device.
        device: String,
        /// What it said.
        message: String,
    },
}

/// The engine's result.
pub type Result<T> = std::result::Result<T, Error>;
