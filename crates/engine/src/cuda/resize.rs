//! Bilinear resizing.

use super::plane::{self, ResamplingArgs, ResamplingGradientArgs};
use super::program::{Program, entry};
use super::{Cuda, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Kernel, Resize, ResizeBackward};

pub(super) static RESIZE: Program = Program {
    name: "resize.cu",
    source: include_str!("kernels/resize.cu"),
    defines: &[],
    entries: &[entry::<ResamplingArgs>("resize"), entry::<ResamplingGradientArgs>("resize_gradient")],
    shared: 0,
};

impl Kernel<Resize<'_>> for Cuda {
    fn launch(&self, op: Resize<'_>, y: &mut Tensor, _: Scratch<'_>) {
        plane::resample(self.driver(), (&RESIZE, "resize"), None, &op.x, y);
    }
}

impl Kernel<ResizeBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &ResizeBackward<'_>) -> Option<usize> {
        Some(plane::scratch(&op.x))
    }

    fn launch(&self, op: ResizeBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let ResizeBackward { x, dy, dx } = op;
        plane::gradient(self.driver(), (&RESIZE, "resize_gradient"), None, &x, dy, dx, scratch);
    }
}
