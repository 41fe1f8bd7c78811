//! Cross-entropy with smoothed labels and weighted classes.

use super::checks::*;
use super::traffic::{of, size};
use super::{Label, Labels, LossTarget, Operation};
use crate::{Device, Result, Tensor};

/// What `torch.nn.CrossEntropyLoss` calls `label_smoothing` and `weight`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClassLoss<'a> {
    /// ε, from 0 to less than 1: the part of every target that is spread evenly over all classes.
    pub smoothing: f32,
    /// `[classes]`: by what each class counts, above 0; all alike where there are none.
    pub weights: Option<&'a Tensor>,
}

impl ClassLoss<'_> {
    /// Whether it is plain cross-entropy.
    pub fn is_plain(&self) -> bool {
        self.smoothing == 0.0 && self.weights.is_none()
    }
}

/// See [`Device::cross_entropy_with`].
pub(crate) struct WeightedCrossEntropy<'a> {
    pub(crate) logits: &'a Tensor,
    pub(crate) labels: Labels<'a>,
    pub(crate) options: ClassLoss<'a>,
    pub(crate) target: LossTarget<'a>,
}

impl WeightedCrossEntropy<'_> {
    /// The weights by whose sum over the batch's labels the mean is taken; none where it is taken by the number of samples.
    pub(crate) fn divisor(&self) -> Option<&Tensor> {
        self.options.weights.filter(|_| self.labels.mixed.is_none())
    }
}

impl Operation for WeightedCrossEntropy<'_> {
    const NAME: &'static str = "cross_entropy_with";

    type Made = ();

    fn check(&self) -> Result<()> {
        let Self { logits, labels, options: ClassLoss { smoothing, weights }, target } = self;
        labels.check(Self::NAME, logits, target)?;
        ensure((0.0..1.0).contains(smoothing), Self::NAME, || {
            format!("a label smoothing of {smoothing}, need from 0 to less than 1")
        })?;
        weights.map_or(Ok(()), |w| vector(Self::NAME, w, logits.nhwc()[3]))
    }

    fn bytes(&self) -> usize {
        size(self.logits) + self.labels.bytes() + of(self.options.weights) + self.target.bytes()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.logits.shape())
    }
}

impl Device {
    /// As [`Device::cross_entropy`], against targets (1 - ε) t + ε / classes, class c counting w_c times: the loss of a sample is
    /// -Σ w_c target_c log softmax_c.
    ///
    /// The mean is PyTorch's: over the sum of the samples' class weights where each has one label, and over the number of
    /// samples where they are mixtures, whose labels PyTorch would be given as class probabilities.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn cross_entropy_with<'a>(
        &self,
        logits: &Tensor,
        labels: impl Into<Labels<'a>>,
        options: ClassLoss<'_>,
        target: LossTarget<'_>,
    ) -> Result<()> {
        self.run(WeightedCrossEntropy { logits, labels: labels.into(), options, target })
    }
}
