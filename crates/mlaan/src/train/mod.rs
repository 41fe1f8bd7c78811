//! Training: the learning rate's schedule, and what a run writes into its folder.
pub mod checkpoint;
mod class_weights;
mod deadline;
mod epoch;
mod epoch_stats;
mod evaluate;
mod finish;
mod fitting;
mod foreign;
mod lock;
pub mod metrics;
mod peak;
mod progress;
mod reading;
mod recipe_file;
mod run;
mod schedule;
pub mod setup;
mod sizes;
mod state;
mod tensor_file;
mod tensor_writer;
pub mod tensorboard;
mod trained;
mod trainer;
mod training;
mod unsaved;

pub use crate::evaluation::Evaluation;
pub use epoch_stats::EpochStats;
pub use evaluate::{evaluate, evaluate_keeping};
pub use foreign::{Imported, import};
pub use lock::{LOCK, Lock};
pub use peak::PeakBytes;
pub use progress::{Outcome, Progress};
pub use recipe_file::RECIPE;
pub use schedule::{LearningRate, Rates};
pub use sizes::loading;
pub use state::restore;
pub(crate) use state::state_name;
pub use tensor_file::TensorFile;
pub use tensor_writer::{
    NamedTensor, Stamp, TensorSource, TensorView, Values, write_tensors, write_tensors_with,
};
pub use trained::Trained;
pub use trainer::Trainer;
pub use unsaved::{clear_unsaved, is_free, is_unsaved};
