//! Cross-entropy with smoothed labels and weighted classes.

use super::checks::*;
use super::traffic::{of, size};
use super::{Label, Labels, LossTarget, Operation};
use crate::{Result, Tensor};

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

/// See [`Device::cross_entropy_with`](crate::Device::cross_entropy_with).
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
