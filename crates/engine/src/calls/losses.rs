//! Losses.

use crate::ops::{
    ClassLoss, Contrastive, CrossEntropy, Labels, LossTarget, PixelScale, Reconstruction,
    WeightedCrossEntropy,
};
use crate::{Device, Result, Tensor};

impl Device {
    /// Softmax cross-entropy of logits `[n, 1, 1, classes]` against labels `[n]`, mean over the batch; also
    /// counts the samples whose largest logit (the first of equals) is not their label. Of a mixture of two classes it
    /// is the mixture of both cross-entropies.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn cross_entropy<'a>(
        &self,
        logits: &Tensor,
        labels: impl Into<Labels<'a>>,
        target: LossTarget<'_>,
    ) -> Result<()> {
        self.run(CrossEntropy { logits, labels: labels.into(), target })
    }

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

    /// Supervised contrastive loss (Khosla et al. 2020) of features `[n, 1, 1, f]`, normalised inside.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn contrastive(
        &self,
        features: &Tensor,
        labels: &Tensor,
        temperature: f32,
        target: LossTarget<'_>,
    ) -> Result<()> {
        self.run(Contrastive { features, labels, temperature, target })
    }

    /// Binary cross-entropy of sigmoid(`raw`) against pixels (InfoPro's reconstruction), mean over all
    /// values; the pixels are `images · std + mean`. The row's second column is not touched.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn reconstruction(
        &self,
        raw: &Tensor,
        images: &Tensor,
        scale: PixelScale,
        target: LossTarget<'_>,
    ) -> Result<()> {
        self.run(Reconstruction { raw, images, scale, target })
    }
}
