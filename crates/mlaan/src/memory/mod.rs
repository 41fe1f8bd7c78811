//! Memory in numbers: what a command needs, what the system allows it, and how amounts are written.

pub mod bytes;
pub mod limit;
mod needs;
pub mod shared;

pub use needs::Needs;
