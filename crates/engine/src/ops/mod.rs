//! What operations take: values with what is to be done while loading them, and places for gradients.
//!
//! One rule holds everywhere. A forward operation reads an [`Operand`]: a stored tensor, optionally
//! normalised and rectified while loading. Its backward operation writes, through an [`Outgoing`], the
//! gradient with respect to the operand's value *before* the rectifier and *after* the normalisation,
//! and at the same pass the sums that the normalisation's own backward needs. Who reads that gradient
//! next applies the normalisation's backward while loading ([`Incoming`]). So a convolution, its
//! BatchNorm and its ReLU keep one activation (the convolution's raw output) and make one pass each way.
//!
//! An operation is a value, an `Operation`: each file here defines a family of them, what they
//! demand and cost. The methods of [`Device`](crate::Device) that run them are in `calls`.

mod activations;
mod add;
mod checks;
mod class_loss;
mod clipping;
mod convolution;
mod images;
mod lars;
mod losses;
mod normalisation;
mod operand;
mod pooling;
mod resizing;
mod rounding;
mod traffic;
mod updates;
mod values;

pub use activations::*;
pub(crate) use add::*;
pub use class_loss::*;
pub use clipping::*;
pub use convolution::*;
pub use images::*;
pub use lars::*;
pub use losses::*;
pub use normalisation::*;
pub use operand::*;
pub(crate) use pooling::*;
pub(crate) use resizing::*;
pub(crate) use rounding::*;
pub use updates::*;
pub(crate) use values::*;

pub use crate::conv2d_params::Conv2dParams;

pub(crate) use crate::operation::{Kernel, Label, Operation};
