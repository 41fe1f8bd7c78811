//! GELU and its gradient.

use super::plane::{self, ResamplingArgs, ResamplingGradientArgs};
use super::program::{Program, entry};
use super::{Cuda, Model};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Gelu, GeluBackward, GeluForward, Kernel};

pub(super) static ACTIVATION: Program = Program {
    name: "activation.cu",
    source: include_str!("kernels/activation.cu"),
    defines: &[],
    entries: &[
        entry::<ResamplingArgs>("gelu"),
        entry::<ResamplingArgs>("gelu_tanh"),
        entry::<ResamplingGradientArgs>("gelu_gradient"),
        entry::<ResamplingGradientArgs>("gelu_tanh_gradient"),
    ],
    shared: 0,
};

impl Kernel<GeluForward<'_>> for Cuda {
    fn launch(&self, op: GeluForward<'_>, y: &mut Tensor, _: Scratch<'_>) {
        let name = match op.form {
            Gelu::Exact => "gelu",
            Gelu::Tanh => "gelu_tanh",
        };
        plane::resample(self.driver(), (&ACTIVATION, name), None, &op.x, y);
    }
}

impl Kernel<GeluBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &GeluBackward<'_>) -> Option<usize> {
        Some(plane::scratch(&op.x))
    }

    fn launch(&self, op: GeluBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let name = match op.form {
            Gelu::Exact => "gelu_gradient",
            Gelu::Tanh => "gelu_tanh_gradient",
        };
        plane::gradient(self.driver(), (&ACTIVATION, name), None, &op.x, op.dy, op.dx, scratch);
    }
}
