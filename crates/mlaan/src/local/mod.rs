//! Local learning: how a network is cut into modules and each is taught (METHOD §3-6).
mod method;
pub use method::{Branch, Cascade, Head, Leap, Method, TaskLoss, Tie};
