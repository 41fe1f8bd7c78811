//! The methods of [`Device`](crate::Device) that callers use, a file for each family of [`ops`](crate::ops).
//!
//! They stand above both: the device runs operations without knowing any, and operations know no device.

mod activations;
mod add;
mod clipping;
mod convolution;
mod images;
mod lars;
mod losses;
mod normalisation;
mod pooling;
mod resizing;
mod rounding;
mod updates;
mod values;
