//! What the losses of a batch are computed against.

use super::{Branch, TaskLoss};
use crate::data::Classes;
use crate::{Error, Result};
use mlaan_engine::ops::{ClassLoss, Labels, LossTarget, PixelScale};
use mlaan_engine::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// What a network's outputs are compared with: classes today. Another task is another implementation.
pub trait Targets: Sync {
    /// The loss `loss` of a head's or the network's `output`: writes it, and its gradient, where `target` says.
    ///
    /// # Errors
    /// From the device; a loss that has no meaning for such targets.
    fn loss(
        &self,
        device: &Device,
        loss: HeadLoss<'_>,
        output: &Tensor,
        target: LossTarget<'_>,
    ) -> Result<()>;
}

/// One of a network's losses. At the last module there is one for both branches, the classifier's, which counts as independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossOf {
    /// The module that it stands behind.
    pub module: usize,
    /// Its branch.
    pub branch: Branch,
}

/// The loss behind a head, with its settings.
#[derive(Clone, Copy, Debug)]
pub struct HeadLoss<'a> {
    /// Of which module and branch; none where it stands behind no module.
    pub of: Option<LossOf>,
    /// Which.
    pub kind: TaskLoss,
    /// Of the contrastive loss.
    pub temperature: f32,
    /// Of cross-entropy: smoothing, and weights of classes.
    pub classes: ClassLoss<'a>,
}

impl<'a> HeadLoss<'a> {
    /// That of the network's own classifier, behind module `module`.
    pub fn classifier(module: usize, classes: ClassLoss<'a>) -> Self {
        let of = Some(LossOf { module, branch: Branch::Independent });
        HeadLoss { of, kind: TaskLoss::CrossEntropy, temperature: 1.0, classes }
    }
}

impl Targets for Labels<'_> {
    fn loss(
        &self,
        device: &Device,
        loss: HeadLoss<'_>,
        output: &Tensor,
        target: LossTarget<'_>,
    ) -> Result<()> {
        match loss.kind {
            TaskLoss::CrossEntropy if loss.classes.is_plain() => {
                Ok(device.cross_entropy(output, *self, target)?)
            }
            TaskLoss::CrossEntropy => Ok(device.cross_entropy_with(output, *self, loss.classes, target)?),
            TaskLoss::Contrastive if self.mixed.is_some() => Err(no_mixtures("data.mixup")),
            TaskLoss::Contrastive => Ok(device.contrastive(output, self.own, loss.temperature, target)?),
        }
    }
}

impl Targets for Classes {
    fn loss(
        &self,
        device: &Device,
        loss: HeadLoss<'_>,
        output: &Tensor,
        target: LossTarget<'_>,
    ) -> Result<()> {
        Labels::from(self).loss(device, loss, output, target)
    }
}

/// Whether two samples are of one class has no answer for mixtures.
pub(crate) fn no_mixtures(key: &str) -> Error {
    let message = "local.loss is \"contrastive\", which has no meaning for mixtures of two classes; write \"cross_entropy\" there, or remove this key";
    Error::recipe(key, message)
}

/// What a batch gives to a local loss.
#[derive(Clone, Copy)]
pub struct Supervision<'a> {
    /// For the task loss.
    pub targets: &'a dyn Targets,
    /// What cross-entropies make of them.
    pub classes: ClassLoss<'a>,
    /// Normalised images `[n, h, w, 3]`, for a decoder.
    pub images: Option<&'a Tensor>,
    /// From normalised values back to pixels.
    pub pixels: PixelScale,
    /// Part of the step's batch that this is, by which gradients count: 1 of all of it.
    pub share: f32,
}
