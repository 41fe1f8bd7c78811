//! Networks as layers with an explicit forward and backward.
//!
//! There is no tape: a layer's `forward` keeps inside the layer what its `backward` needs, and a layer may go
//! back over one forward several times (with and without weight gradients), which is what cascades of modules
//! need. Values between layers are [`Act`]s: a stored tensor and what is to be done while loading it.

mod act;
mod block;
mod chain;
mod conv_bn_act;
mod fixed;
mod gelu;
mod init;
mod layer;
pub mod optim;
mod param;
mod shape;
mod simple;
mod zip;

pub use act::{Act, Activation, Grad, GradNorm, Pass};
pub use block::Residual;
pub use chain::{Chain, Sequence};
pub use conv_bn_act::{ConvBnAct, ConvSpec};
pub use gelu::Gelu;
pub use init::Builder;
pub use layer::{Layer, Mode};
pub use optim::Optimizer;
pub use param::{Learned, Origin, Param, Parameter, Role, Roles};
pub use shape::Extent;
pub use simple::{AveragePool, MaxPool, Rectify, Resize};
pub use zip::zip;
