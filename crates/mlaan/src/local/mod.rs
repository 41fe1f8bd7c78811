//! Local learning: how a network is cut into modules and each is taught (METHOD §3-6).

mod auxiliary;
mod branch;
mod leap;
mod learner;
mod losses;
mod meter;
mod method;
mod partition;
mod segments;
mod step;

pub(crate) use branch::no_mixtures;
pub use branch::{Auxiliary, Lesson};
pub use leap::{LeapChain, sources};
pub use learner::{Learner, ModuleSummary, Task};
pub use losses::{BranchLoss, StepReport};
pub use meter::Meter;
pub use method::{Branch, Cascade, Head, Leap, Method, Recompute, TaskLoss, Tie};
pub use partition::Partition;
pub use step::StepOptions;
