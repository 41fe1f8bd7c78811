//! Training: the learning rate's schedule, and what a run writes into its folder.
pub mod atomic;
pub mod checkpoint;
mod fault;
pub mod metrics;
mod schedule;
mod tensor_file;

pub use schedule::{LearningRate, Rates};
pub use tensor_file::{NamedTensor, Stamp, TensorFile, write_tensors};
