//! The definition of every operation, plainly, in f64, over slices; kernels are tested against it.
//!
//! Nothing here is fast. Activations are `[n, h, w, c]`, convolution weights `[out, in, k, k]`, and each
//! backward function takes the gradient of the output and returns the gradients of the inputs.

mod activations;
mod class_loss;
mod clipping;
mod contrastive;
mod convolution;
mod cross_entropy;
mod images;
mod lars;
mod normalisation;
mod operand;
mod pooling;
mod reconstruction;
mod resampling;
mod updates;

pub use activations::{gelu, gelu_backward};
pub use class_loss::cross_entropy_with;
pub use clipping::clip_coefficient;
pub use contrastive::contrastive;
pub use convolution::{ConvolutionGrad, convolve, convolve_backward};
pub use cross_entropy::{cross_entropy, mixed_cross_entropy};
pub use images::{images_from_bytes, images_from_set};
pub use lars::lars;
pub use normalisation::{NormSums, Normalisation, Statistics, mean_and_variance, running};
pub use operand::{add, add_backward, incoming, load, load_backward};
pub use pooling::{Maxima, max_pool, max_pool_backward};
pub use reconstruction::reconstruction;
pub use resampling::{average_pool, average_pool_backward, resize, resize_backward};
pub use updates::{adamw, ema, sgd};

/// Shape of activations: batch, height, width, channels.
pub type Extents = [usize; 4];

/// A loss: its value and its gradient with respect to its input.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Mean over the batch.
    pub value: f64,
    /// Samples classified wrongly; 0 for losses that classify nothing.
    pub wrong: usize,
    /// As long as the input.
    pub grad: Vec<f64>,
}

/// Where element `i` of a row-major array lies.
fn at(extents: Extents, i: Extents) -> usize {
    ((i[0] * extents[1] + i[1]) * extents[2] + i[2]) * extents[3] + i[3]
}

/// The input position under a tap of a window, or nothing when the tap lies on the border.
fn under(window: crate::ops::Conv2dParams, output: usize, tap: usize, extent: usize) -> Option<usize> {
    (output * window.stride + tap).checked_sub(window.pad).filter(|&i| i < extent)
}
