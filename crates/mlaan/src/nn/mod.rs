//! Networks as layers with an explicit forward and backward.
//!
//! There is no tape: a layer's `forward` keeps inside the layer what its `backward` needs, and a layer may go
//! back over one forward several times (with and without weight gradients), which is what cascades of modules
//! need. Values between layers are [`Activation`]s: a stored tensor and what is to be done while loading it.

mod activation;
mod block;
mod chain;
mod conv_bn_act;
mod fixed;
mod gelu;
mod image_shape;
mod init;
mod layer;
pub mod optim;
mod param;
mod simple;
mod zip;

pub use activation::{Activation, ActivationFunction, Grad, GradNorm, Pass};
pub use block::Residual;
pub use chain::{Chain, Sequence, Through};
pub use conv_bn_act::{ConvBnAct, ConvSpec};
pub use gelu::Gelu;
pub use image_shape::ImageShape;
pub use init::Builder;
pub use layer::{Layer, Mode};
pub use optim::Optimizer;
pub use param::{Learned, Origin, Param, Parameter, Role, Roles};
pub use simple::{AveragePool, MaxPool, Rectify, Resize};
pub use zip::zip;
