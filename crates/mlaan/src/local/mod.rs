//! Local learning: how a network is cut into modules and each is taught (METHOD §3-6).

mod auxiliary;
mod average;
mod branch;
mod build;
mod feed;
mod infer;
mod leap;
mod learner;
mod link;
mod losses;
mod meter;
mod method;
mod module;
mod options;
mod partition;
mod pipeline;
mod schedule;
mod segments;
mod shards;
mod sources;
mod stage;
mod step;
mod targets;
mod verbs;

pub use branch::Auxiliary;
pub(crate) use build::check_stages;
pub use feed::{Feed, StageFeed, StageInput};
pub use leap::{LeapChain, sources};
pub use learner::{Averaged, Learner, ModuleSummary, Task};
pub use losses::{BranchLoss, StepReport};
pub use meter::Meter;
pub use method::{Branch, Cascade, Head, Leap, Method, Recompute, TaskLoss, Tie};
pub use options::StepOptions;
pub use partition::Partition;
pub(crate) use targets::no_mixtures;
pub use targets::{HeadLoss, Supervision, Targets};
