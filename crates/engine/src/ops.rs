//! What operations take: values with what is to be done while loading them, and places for gradients.
//!
//! One rule holds everywhere. A forward operation reads an [`Operand`]: a stored tensor, optionally
//! normalised and rectified while loading. Its backward operation writes, through an [`Outgoing`], the
//! gradient with respect to the operand's value *before* the rectifier and *after* the normalisation,
//! and at the same pass the sums that the normalisation's own backward needs. Who reads that gradient
//! next applies the normalisation's backward while loading ([`Incoming`]). So a convolution, its
//! BatchNorm and its ReLU keep one activation (the convolution's raw output) and make one pass each way.

use crate::Tensor;

/// Rows of a normalisation tensor `[4, channels]`.
pub mod norm {
    /// Factor: weight / sqrt(variance + eps).
    pub const SCALE: usize = 0;
    /// Offset: bias - mean · scale.
    pub const SHIFT: usize = 1;
    /// Batch (or running) mean.
    pub const MEAN: usize = 2;
    /// 1 / sqrt(variance + eps); between a convolution and `normalise_train`, the biased variance.
    pub const INV_STD: usize = 3;
    /// Rows.
    pub const ROWS: usize = 4;
    /// Rows of the backward coefficients `[3, channels]`: gradient · a + raw · b + c.
    pub const COEFFICIENTS: usize = 3;
}

/// A tensor and what is done to it while loading: `relu(tensor · scale + shift)`.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// `[n, h, w, c]`.
    pub tensor: &'a Tensor,
    /// `[4, c]`, rows of [`norm`].
    pub norm: Option<&'a Tensor>,
    /// Whether negative values become 0.
    pub relu: bool,
}

impl<'a> Operand<'a> {
    /// The tensor as it is.
    pub fn plain(tensor: &'a Tensor) -> Self {
        Operand { tensor, norm: None, relu: false }
    }
}

/// The weights of a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// `[out, in, k, k]`, as they learn. A device arranges them for itself in every convolution.
    Plain(&'a Tensor),
    /// Arranged once, by [`Device::arrange`](crate::Device::arrange): for many convolutions with the same weights.
    Arranged(&'a Arranged),
}

impl<'a> Weights<'a> {
    /// What is stored of them.
    pub(crate) fn values(self) -> &'a Tensor {
        match self {
            Weights::Plain(w) => w,
            Weights::Arranged(w) => &w.values,
        }
    }
}

impl<'a> From<&'a Tensor> for Weights<'a> {
    fn from(w: &'a Tensor) -> Self {
        Weights::Plain(w)
    }
}

impl<'a> From<&'a Arranged> for Weights<'a> {
    fn from(w: &'a Arranged) -> Self {
        Weights::Arranged(w)
    }
}

/// Weights in the order, and transformed as, a device's convolution of images of one size reads them.
#[derive(Debug)]
pub struct Arranged {
    /// As many values as the way of computing needs, in an order of the device's own.
    pub(crate) values: Tensor,
    /// `[out, in, k, k]` of the weights.
    pub(crate) shape: [usize; 4],
    /// The convolution that they are for.
    pub(crate) window: Window,
    /// Which order it is, of those that a device of this kind may have.
    pub(crate) order: usize,
}

/// The gradient that reaches an operation's output, with the backward of the normalisation behind it:
/// `grad · a + raw · b + c`.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Gradient with respect to the normalised output (or the output itself).
    pub grad: &'a Tensor,
    /// The operation's raw output and the coefficients `[3, c]`.
    pub norm: Option<(&'a Tensor, &'a Tensor)>,
}

/// Where a normalisation's gradients go.
#[derive(Debug)]
pub struct NormGrad<'a> {
    /// `[3, c]`: coefficients for [`Incoming`].
    pub coefficients: &'a mut Tensor,
    /// Gradient of the normalisation's weight, `[c]`.
    pub weight: Option<&'a mut Tensor>,
    /// Gradient of the normalisation's bias, `[c]`.
    pub bias: Option<&'a mut Tensor>,
}

/// Where the gradient of an [`Operand`] goes.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Shape of the operand's tensor.
    pub grad: &'a mut Tensor,
    /// Whether to add to what is there. The operand's rectifier and the sums of its normalisation then apply to
    /// the total, so that the last of several readers of a value finishes its gradient.
    pub accumulate: bool,
    /// Sums for the operand's normalisation; needs the operand to have one.
    pub norm: Option<NormGrad<'a>>,
}

/// Where the gradients of a convolution's parameters go.
#[derive(Debug)]
pub struct WeightGrad<'a> {
    /// `[out, in, k, k]`.
    pub weight: &'a mut Tensor,
    /// `[out]`.
    pub bias: Option<&'a mut Tensor>,
}

/// A square window: convolution or pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border added on each side.
    pub pad: usize,
}

impl Window {
    /// A window that keeps (stride 1) or divides (stride 2…) the size: border (kernel - 1) / 2.
    pub fn same(kernel: usize, stride: usize) -> Self {
        Window { kernel, stride, pad: (kernel - 1) / 2 }
    }

    /// Extent of the output for an input extent; 0 when the window does not fit.
    pub fn output(&self, input: usize) -> usize {
        let padded = self.pad.checked_mul(2).and_then(|p| p.checked_add(input));
        match padded.and_then(|p| p.checked_sub(self.kernel)) {
            Some(room) if self.stride > 0 => room / self.stride + 1,
            _ => 0,
        }
    }
}

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

/// One step of SGD in PyTorch's form: g += wd·p; v = µ·v + g; p -= lr·(g + µ·v), or lr·v without Nesterov.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum µ.
    pub momentum: f32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Nesterov's form.
    pub nesterov: bool,
}

/// Columns of a row of the loss tensor `[rows, 2]`.
pub mod report {
    /// The loss, mean over the batch, before weighting.
    pub const LOSS: usize = 0;
    /// How many samples of the batch were classified wrongly.
    pub const WRONG: usize = 1;
    /// Columns.
    pub const COLUMNS: usize = 2;
}

/// The classes that a batch is taught.
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

/// Columns of draws `[n, 4]`: which part of which image of a set an image is.
pub mod draw {
    /// The image's place in the set.
    pub const INDEX: usize = 0;
    /// Rows between the top of the padded image and that of the part, at most twice the border.
    pub const TOP: usize = 1;
    /// Columns between the left of the padded image and that of the part, at most twice the border.
    pub const LEFT: usize = 2;
    /// Whether the part is mirrored left to right: 0 or 1.
    pub const FLIP: usize = 3;
    /// Columns.
    pub const COLUMNS: usize = 4;
}

/// What lies around a padded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// The mirrored image, without repeating its edge.
    Reflect,
    /// Byte 0.
    Zero,
}

/// A border around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// Its width on every side.
    pub pixels: usize,
    /// What is there.
    pub border: Border,
}

impl Padding {
    /// No border.
    pub const NONE: Padding = Padding { pixels: 0, border: Border::Zero };
}

/// Pixel value = normalised value · std + mean, per channel, in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelScale {
    /// Per-channel mean, of 1.
    pub mean: [f32; 3],
    /// Per-channel standard deviation, of 1.
    pub std: [f32; 3],
}

impl PixelScale {
    /// What makes a normalised value of a byte: value = byte · factor + offset.
    pub(crate) fn of_bytes(&self) -> ([f32; 3], [f32; 3]) {
        let offset = std::array::from_fn(|c| -self.mean[c] / self.std[c]);
        (self.std.map(|s| 1.0 / (255.0 * s)), offset)
    }
}
