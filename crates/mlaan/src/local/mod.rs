//! Local learning: how a network is cut into modules and each is trained (METHOD §3-6).

mod about;
mod auxiliary;
mod average;
mod batch;
mod build;
mod clip;
mod command;
mod features;
mod forecast;
mod heads;
mod infer;
mod leap;
mod learner;
mod learning;
mod link;
mod losses;
mod meter;
mod method;
mod mirrors;
mod module;
mod obey;
mod objective;
mod offload;
mod options;
mod partition;
mod pipeline;
mod rank_link;
mod ranked;
mod relay;
mod schedule;
mod sections;
mod segments;
mod shadow;
mod shards;
mod shares;
mod sources;
mod stage;
mod step;
mod targets;
mod to_device;
mod verbs;
mod versions;
mod wire;

pub use auxiliary::Auxiliary;
pub(crate) use build::check_stages;
pub(crate) use command::Command;
pub use forecast::{Course, Forecast, ModuleSeconds, RankForecast};
pub use leap::{LeapChain, sources};
pub use learner::{Learner, ModuleSummary, Task};
pub(crate) use link::Rooms;
pub use losses::{BranchLoss, StepReport};
pub use meter::Meter;
pub use method::{
    Branch, Cascade, Head, Leap, LeapInit, LeapShare, LeapState, Method, Offload, Owner, Recompute, TaskLoss,
    Tie,
};
pub(crate) use obey::Logits;
pub use options::StepOptions;
pub use partition::Partition;
pub use sections::Averaged;
pub(crate) use sections::Section;
pub(crate) use shares::{shape, shared_stays, stage_starts};
pub(crate) use targets::no_mixtures;
pub use targets::{HeadLoss, LossOf, Supervision, Targets};
pub use to_device::{DatasetBatch, StageInput, ToDevice};
pub(crate) use wire::{Reader, Writer};
