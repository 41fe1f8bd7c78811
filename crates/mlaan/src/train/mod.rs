//! Training: the learning rate's schedule, and what a run writes into its folder.
pub mod atomic;
pub mod checkpoint;
mod evaluate;
mod fault;
mod feed;
mod lock;
pub mod metrics;
mod schedule;
pub mod setup;
mod state;
mod tally;
mod tensor_file;
pub mod tensorboard;
mod trained;
mod trainer;
mod within;

pub(crate) use evaluate::rank;
pub use evaluate::{ClassError, Evaluation, evaluate};
pub use feed::{Classes, Fed, Kept, Source};
pub use lock::{LOCK, Lock};
pub use schedule::{LearningRate, Rates};
pub use state::{capture, restore};
pub use tally::Tally;
pub(crate) use tensor_file::{Header, read_tensor_header};
pub use tensor_file::{NamedTensor, Stamp, TensorFile, write_tensors, write_tensors_with};
pub use trained::Trained;
pub use trainer::{Outcome, Progress, RECIPE, Trainer};
