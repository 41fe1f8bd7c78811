//! Training: the learning rate's schedule, and what a run writes into its folder.
pub mod checkpoint;
mod class_weights;
mod epoch;
mod evaluate;
mod foreign;
mod lock;
pub mod metrics;
mod progress;
mod run;
mod schedule;
pub mod setup;
mod state;
mod tally;
mod tensor_file;
mod tensor_writer;
pub mod tensorboard;
mod trained;
mod trainer;
mod unsaved;
mod within;

pub(crate) use evaluate::rank;
pub use evaluate::{ClassError, Evaluation, evaluate};
pub use foreign::{Imported, import};
pub use lock::{LOCK, Lock};
pub use progress::{Outcome, PeakBytes, Progress};
pub use run::RECIPE;
pub use schedule::{LearningRate, Rates};
pub use state::restore;
pub(crate) use state::state_name;
pub use tally::Tally;
pub use tensor_file::TensorFile;
pub use tensor_writer::{
    NamedTensor, Stamp, TensorSource, TensorView, Values, write_tensors, write_tensors_with,
};
pub use trained::Trained;
pub use trainer::Trainer;
pub use unsaved::{clear_unsaved, is_free, is_unsaved};
pub use within::loading;
