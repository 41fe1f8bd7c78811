//! Convolutions with kernels of their own: everything is a constant when a kernel is compiled, but the number of images.
//!
//! NVRTC compiles on the machine at hand, so a network's few dozen shapes each get a kernel without divisions by what is
//! known only at run time and without branches on types. How work is cut, and so the result to the bit, depends on
//! sizes and on how much shared memory devices of a kind have.

mod convolution;
mod loaded;
mod shape;
mod weight_gradient;

pub(super) use convolution::{backward, backward_scratch, fits, forward, forward_scratch};
pub(super) use weight_gradient::{
    fits as fits_weight_gradient, run as weight_gradient, scratch as weight_gradient_scratch,
};

/// Some programs of every source, for tests of these.
#[cfg(test)]
pub(super) fn programs() -> Vec<&'static super::program::Program> {
    [convolution::programs(), weight_gradient::programs()].concat()
}
