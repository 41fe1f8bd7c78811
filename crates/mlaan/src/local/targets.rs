//! What the losses of a batch are computed against.

use super::TaskLoss;
use crate::data::Classes;
use crate::{Error, Result};
use mlaan_engine::ops::{Labels, LossTarget, PixelScale};
use mlaan_engine::{Device, Tensor};

/// What a network's outputs are compared with: classes today. Another task is another implementation.
pub trait Targets: Sync {
    /// The loss `loss` of a head's or the network's `output`: writes it, and its gradient, where `target` says.
    ///
    /// # Errors
    /// From the device; a loss that has no meaning for such targets.
    fn loss(&self, device: &Device, loss: HeadLoss, output: &Tensor, target: LossTarget<'_>) -> Result<()>;
}

/// The loss behind a head, with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadLoss {
    /// Which.
    pub kind: TaskLoss,
    /// Of the contrastive loss.
    pub temperature: f32,
}

impl HeadLoss {
    /// That of the network's own classifier.
    pub const CLASSIFIER: HeadLoss = HeadLoss { kind: TaskLoss::CrossEntropy, temperature: 1.0 };
}

impl Targets for Labels<'_> {
    fn loss(&self, device: &Device, loss: HeadLoss, output: &Tensor, target: LossTarget<'_>) -> Result<()> {
        match loss.kind {
            TaskLoss::CrossEntropy => Ok(device.cross_entropy(output, *self, target)?),
            TaskLoss::Contrastive if self.mixed.is_some() => Err(no_mixtures()),
            TaskLoss::Contrastive => Ok(device.contrastive(output, self.own, loss.temperature, target)?),
        }
    }
}

impl Targets for Classes {
    fn loss(&self, device: &Device, loss: HeadLoss, output: &Tensor, target: LossTarget<'_>) -> Result<()> {
        Labels::from(self).loss(device, loss, output, target)
    }
}

/// Whether two samples are of one class has no answer for mixtures.
pub(crate) fn no_mixtures() -> Error {
    let message = "local.loss is \"contrastive\", which has no meaning for mixtures of two classes; write \"cross_entropy\" there, or remove this key";
    Error::recipe("data.mixup", message)
}

/// What a batch gives to a local loss.
#[derive(Clone, Copy)]
pub struct Supervision<'a> {
    /// For the task loss.
    pub targets: &'a dyn Targets,
    /// Normalised images `[n, h, w, 3]`, for a decoder.
    pub images: Option<&'a Tensor>,
    /// From normalised values back to pixels.
    pub pixels: PixelScale,
    /// Part of the step's batch that this is, by which gradients count: 1 of all of it.
    pub share: f32,
}
