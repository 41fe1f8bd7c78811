//! The device that computes nothing: a run on it is the memory plan.

use crate::backend::{Backend, Scratch, Work};
use crate::cpu::Cpu;
use crate::ops::{
    Incoming, Labels, LossTarget, NormConstants, NormGrad, Operand, Outgoing, Padding, PixelScale, Sgd,
    WeightGrad, Weights, Window,
};
use crate::{Kind, Tensor, cuda};

/// Takes the scratch sizes of the device it stands for; every operation is empty.
pub(crate) struct Dry {
    model: Model,
    /// What the device is said to have failed with.
    #[cfg(test)]
    pub(crate) failed: Option<&'static str>,
}

enum Model {
    Cpu(Cpu),
    Cuda,
}

impl Dry {
    pub(crate) fn new(kind: Kind) -> Self {
        let model = match kind {
            Kind::Cpu { threads } => Model::Cpu(Cpu::without_threads(threads)),
            Kind::Cuda => Model::Cuda,
        };
        Dry {
            model,
            #[cfg(test)]
            failed: None,
        }
    }
}

impl Backend for Dry {
    fn scratch(&self, work: &Work) -> usize {
        match &self.model {
            Model::Cpu(cpu) => cpu.scratch(work),
            Model::Cuda => cuda::scratch(work),
        }
    }

    fn arranged(&self, window: Window, x: [usize; 4], out: usize) -> usize {
        match &self.model {
            Model::Cpu(cpu) => cpu.arranged(window, x, out),
            Model::Cuda => 0,
        }
    }

    fn order(&self) -> usize {
        match &self.model {
            Model::Cpu(cpu) => cpu.order(),
            Model::Cuda => 0,
        }
    }

    fn threads(&self) -> usize {
        match &self.model {
            Model::Cpu(cpu) => cpu.threads(),
            Model::Cuda => crate::cpu::cores(),
        }
    }

    #[cfg(test)]
    fn fault(&self) -> Option<crate::Error> {
        self.failed.map(|m| crate::Error::Failed { device: "dry".into(), message: m.into() })
    }

    fn computes(&self) -> bool {
        false
    }

    fn convolve(
        &self,
        _: Window,
        _: &Operand<'_>,
        _: Weights<'_>,
        _: Option<&Tensor>,
        _: &mut Tensor,
        _: Option<&mut Tensor>,
        _: Scratch<'_>,
    ) {
    }

    fn convolve_backward(
        &self,
        _: Window,
        _: &Operand<'_>,
        _: &Tensor,
        _: &Incoming<'_>,
        _: Option<Outgoing<'_>>,
        _: Option<WeightGrad<'_>>,
        _: Scratch<'_>,
    ) {
    }

    fn normalise_train(
        &self,
        _: &mut Tensor,
        _: &Tensor,
        _: &Tensor,
        _: (&mut Tensor, &mut Tensor),
        _: usize,
        _: NormConstants,
    ) {
    }

    fn normalise_eval(
        &self,
        _: &mut Tensor,
        _: &Tensor,
        _: &Tensor,
        _: (&Tensor, &Tensor),
        _: NormConstants,
    ) {
    }

    fn join(&self, _: &Operand<'_>, _: Option<&Operand<'_>>, _: bool, _: &mut Tensor) {}

    fn join_backward(
        &self,
        _: &mut Tensor,
        _: Option<&Tensor>,
        _: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
        _: Scratch<'_>,
    ) {
    }

    fn max_pool(&self, _: Window, _: &Operand<'_>, _: &mut Tensor) {}

    fn max_pool_backward(&self, _: Window, _: &Operand<'_>, _: &Tensor, _: Outgoing<'_>, _: Scratch<'_>) {}

    fn average_pool(&self, _: &Operand<'_>, _: &mut Tensor) {}

    fn average_pool_backward(&self, _: &Operand<'_>, _: &Tensor, _: Outgoing<'_>, _: Scratch<'_>) {}

    fn resize(&self, _: &Operand<'_>, _: &mut Tensor) {}

    fn resize_backward(&self, _: &Operand<'_>, _: &Tensor, _: Outgoing<'_>, _: Scratch<'_>) {}

    fn cross_entropy(&self, _: &Tensor, _: Labels<'_>, _: LossTarget<'_>, _: Scratch<'_>) {}

    fn contrastive(&self, _: &Tensor, _: &Tensor, _: f32, _: LossTarget<'_>, _: Scratch<'_>) {}

    fn reconstruction(&self, _: &Tensor, _: &Tensor, _: PixelScale, _: LossTarget<'_>, _: Scratch<'_>) {}

    fn sgd(&self, _: &mut Tensor, _: &Tensor, _: &mut Tensor, _: Sgd) {}

    fn ema(&self, _: &mut Tensor, _: &Tensor, _: f32) {}

    fn add(&self, _: &mut Tensor, _: &Tensor) {}

    fn images_from_bytes(&self, _: &Tensor, _: PixelScale, _: &mut Tensor) {}

    fn images_from_set(&self, _: &Tensor, _: &Tensor, _: Padding, _: PixelScale, _: &mut Tensor) {}

    fn fill(&self, _: &mut Tensor, _: f32) {}

    fn copy(&self, _: &mut Tensor, _: &Tensor) {}
}
