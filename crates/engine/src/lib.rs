//! Tensors, memory and the operations of a device. Knows nothing of networks or learning.
mod error;
pub use error::{Error, Result};
