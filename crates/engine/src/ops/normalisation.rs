//! BatchNorm: from statistics to scale and shift.

use super::checks::{rows, vector};
use super::traffic::size;
use super::{Label, Operation, norm};
use crate::{Result, Tensor};

/// Constants of BatchNorm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormConstants {
    /// Added to the variance.
    pub eps: f32,
    /// Part of the batch's statistics in the new running statistics.
    pub momentum: f32,
}

impl Default for NormConstants {
    /// PyTorch's: 1e-5 and 0.1.
    fn default() -> Self {
        NormConstants { eps: 1e-5, momentum: 0.1 }
    }
}

/// See [`Device::normalise_train`](crate::Device::normalise_train).
pub(crate) struct NormaliseTrain<'a> {
    pub(crate) norm: &'a mut Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    pub(crate) running: (&'a mut Tensor, &'a mut Tensor),
    pub(crate) count: usize,
    pub(crate) constants: NormConstants,
}

impl Operation for NormaliseTrain<'_> {
    const NAME: &'static str = "normalise_train";

    type Made = ();

    fn check(&self) -> Result<()> {
        let vectors = [self.weight, self.bias, &*self.running.0, &*self.running.1];
        check_rows(Self::NAME, self.norm, vectors)
    }

    fn bytes(&self) -> usize {
        // Two of four rows are read and all written; running statistics are read and written.
        let running = size(self.running.0) + size(self.running.1);
        size(self.norm) * 3 / 2 + size(self.weight) + size(self.bias) + 2 * running
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.weight.shape())
    }
}

/// See [`Device::normalise_eval`](crate::Device::normalise_eval).
pub(crate) struct NormaliseEval<'a> {
    pub(crate) norm: &'a mut Tensor,
    pub(crate) weight: &'a Tensor,
    pub(crate) bias: &'a Tensor,
    pub(crate) running: (&'a Tensor, &'a Tensor),
    pub(crate) constants: NormConstants,
}

impl Operation for NormaliseEval<'_> {
    const NAME: &'static str = "normalise_eval";

    type Made = ();

    fn check(&self) -> Result<()> {
        check_rows(Self::NAME, self.norm, [self.weight, self.bias, self.running.0, self.running.1])
    }

    fn bytes(&self) -> usize {
        [&*self.norm, self.weight, self.bias, self.running.0, self.running.1].map(size).iter().sum()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.weight.shape())
    }
}

/// The rows of a normalisation and what is known of each channel, the weight first.
fn check_rows(op: &'static str, norm_rows: &Tensor, vectors: [&Tensor; 4]) -> Result<()> {
    let channels = vectors[0].len();
    rows(op, norm_rows, norm::ROWS, channels)?;
    vectors.iter().try_for_each(|t| vector(op, t, channels))
}
