//! What operations read and write: values with what is to be done while loading them, and places for gradients.

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
