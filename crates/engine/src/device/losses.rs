//! Losses.

use super::Device;
use super::checks::*;
use crate::backend::Work;
use crate::ops::{Labels, LossTarget, PixelScale, report};
use crate::{DType, Result, Tensor};

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
        const OP: &str = "cross_entropy";
        let labels = labels.into();
        let n = check_loss(OP, logits, Some(labels.own), &target)?;
        if let Some(mixed) = labels.mixed {
            check_loss(OP, logits, Some(mixed.other), &target)?;
            f32_only(OP, &[mixed.share])?;
            let shares = mixed.share.len();
            ensure(shares == n, OP, || format!("{shares} shares for {n} samples"))?;
        }
        let mut scratch = self.scratch(&Work::PerSample { n, each: 2 })?;
        self.0.backend.cross_entropy(logits, labels, target, scratch.bytes());
        Ok(())
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
        const OP: &str = "contrastive";
        let n = check_loss(OP, features, Some(labels), &target)?;
        let each = n + 2 * features.nhwc()[3] + 4;
        let mut scratch = self.scratch(&Work::PerSample { n, each })?;
        self.0.backend.contrastive(features, labels, temperature, target, scratch.bytes());
        Ok(())
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
        const OP: &str = "reconstruction";
        let n = check_loss(OP, raw, None, &target)?;
        same_shape(OP, raw, images)?;
        ensure(raw.nhwc()[3] == 3, OP, || format!("{} channels, need 3", raw.nhwc()[3]))?;
        let mut scratch = self.scratch(&Work::PerSample { n, each: 1 })?;
        self.0.backend.reconstruction(raw, images, scale, target, scratch.bytes());
        Ok(())
    }
}

fn check_loss(
    op: &'static str,
    x: &Tensor,
    labels: Option<&Tensor>,
    target: &LossTarget<'_>,
) -> Result<usize> {
    f32_only(op, &[x, target.values])?;
    let [n, h, w, _] = x.nhwc();
    ensure(!x.is_empty(), op, || "an empty batch".into())?;
    if let Some(labels) = labels {
        of_type(op, DType::U32, labels)?;
        ensure(labels.len() == n && h == 1 && w == 1, op, || {
            format!("{} labels for {:?}", labels.len(), x.shape().dims())
        })?;
    }
    if let Some(g) = &target.grad {
        same_shape(op, x, g)?;
    }
    let table = target.values.shape();
    ensure(matches!(table.dims(), [r, report::COLUMNS] if target.row < *r), op, || {
        format!("row {} of a loss table {:?}", target.row, table.dims())
    })?;
    Ok(n)
}
