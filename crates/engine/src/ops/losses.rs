//! Losses.

use super::checks::*;
use super::traffic::{of, size};
use super::{Label, Operation, PixelScale};
use crate::{DType, Result, Tensor};

/// Columns of a row of the loss tensor `[rows, 2]`.
pub mod report {
    /// The loss, mean over the batch, before weighting.
    pub const LOSS: usize = 0;
    /// How many samples of the batch were classified wrongly.
    pub const WRONG: usize = 1;
    /// Columns.
    pub const COLUMNS: usize = 2;
}

/// The classes of a batch, which it is trained on.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    /// `[n]`: the classes; a sample that is taken for another one counts as wrong.
    pub own: &'a Tensor,
    /// What samples hold of second classes, if they are mixtures.
    pub mixed: Option<Mixed<'a>>,
}

/// The second classes of samples that are mixtures of two.
#[derive(Clone, Copy, Debug)]
pub struct Mixed<'a> {
    /// `[n]`: the second classes.
    pub other: &'a Tensor,
    /// `[n]`: the part of a sample that is of its own class, from 0 to 1; the rest is of the second.
    pub share: &'a Tensor,
}

impl Labels<'_> {
    /// Whether they are labels of these logits.
    pub(super) fn check(&self, op: &'static str, logits: &Tensor, target: &LossTarget<'_>) -> Result<()> {
        let n = check_loss(op, logits, Some(self.own), target)?;
        let Some(mixed) = self.mixed else { return Ok(()) };
        check_loss(op, logits, Some(mixed.other), target)?;
        f32_only(op, &[mixed.share])?;
        let shares = mixed.share.len();
        ensure(shares == n, op, || format!("{shares} shares for {n} samples"))
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        size(self.own) + self.mixed.map_or(0, |m| size(m.other) + size(m.share))
    }
}

impl<'a> From<&'a Tensor> for Labels<'a> {
    fn from(own: &'a Tensor) -> Self {
        Labels { own, mixed: None }
    }
}

/// A loss: by what its gradient is multiplied, and where its value goes.
#[derive(Debug)]
pub struct LossTarget<'a> {
    /// Factor of the gradient.
    pub weight: f32,
    /// Gradient with respect to the loss's input; none when only the value is wanted.
    pub grad: Option<&'a mut Tensor>,
    /// `[rows, 2]`, columns of [`report`].
    pub values: &'a mut Tensor,
    /// The row to write.
    pub row: usize,
}

impl LossTarget<'_> {
    /// Bytes of the gradient and the row that a loss writes.
    pub(super) fn bytes(&self) -> usize {
        of(self.grad.as_deref()) + size(self.values) / self.values.nhwc()[0].max(1)
    }
}

/// See [`Device::cross_entropy`](crate::Device::cross_entropy).
pub(crate) struct CrossEntropy<'a> {
    pub(crate) logits: &'a Tensor,
    pub(crate) labels: Labels<'a>,
    pub(crate) target: LossTarget<'a>,
}

impl Operation for CrossEntropy<'_> {
    const NAME: &'static str = "cross_entropy";

    type Made = ();

    fn check(&self) -> Result<()> {
        self.labels.check(Self::NAME, self.logits, &self.target)
    }

    fn bytes(&self) -> usize {
        size(self.logits) + self.labels.bytes() + self.target.bytes()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.logits.shape())
    }
}

/// See [`Device::contrastive`](crate::Device::contrastive).
pub(crate) struct Contrastive<'a> {
    pub(crate) features: &'a Tensor,
    pub(crate) labels: &'a Tensor,
    pub(crate) temperature: f32,
    pub(crate) target: LossTarget<'a>,
}

impl Contrastive<'_> {
    /// Numbers that kernels keep of each sample.
    pub(crate) fn each(&self) -> usize {
        self.labels.len() + 2 * self.features.nhwc()[3] + 4
    }
}

impl Operation for Contrastive<'_> {
    const NAME: &'static str = "contrastive";

    type Made = ();

    fn check(&self) -> Result<()> {
        check_loss(Self::NAME, self.features, Some(self.labels), &self.target).map(drop)
    }

    fn bytes(&self) -> usize {
        size(self.features) + size(self.labels) + self.target.bytes()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.features.shape())
    }
}

/// See [`Device::reconstruction`](crate::Device::reconstruction).
pub(crate) struct Reconstruction<'a> {
    pub(crate) raw: &'a Tensor,
    pub(crate) images: &'a Tensor,
    pub(crate) scale: PixelScale,
    pub(crate) target: LossTarget<'a>,
}

impl Operation for Reconstruction<'_> {
    const NAME: &'static str = "reconstruction";

    type Made = ();

    fn check(&self) -> Result<()> {
        check_loss(Self::NAME, self.raw, None, &self.target)?;
        same_shape(Self::NAME, self.raw, self.images)?;
        let channels = self.raw.nhwc()[3];
        ensure(channels == 3, Self::NAME, || format!("{channels} channels, need 3"))
    }

    fn bytes(&self) -> usize {
        size(self.raw) + size(self.images) + self.target.bytes()
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.raw.shape())
    }
}

/// How many samples there are.
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
