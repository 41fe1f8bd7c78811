//! What an operation is: a value with its operands, which knows what it is called, what it demands, makes and costs. A
//! kernel of it for one kind of device is a [`Kernel`]; [`Device::run`](crate::Device::run) is all that stands between.

use crate::backend::{Backend, Scratch};
use crate::conv2d_params::Conv2dParams;
use crate::{DType, Result, Shape, Tensor};

/// An operation with its operands. Tensors that it changes are among them; what it makes new, the device allocates.
pub(crate) trait Operation {
    /// What it is called in errors and profiles.
    const NAME: &'static str;

    /// What it makes new: a [`Tensor`], or nothing.
    type Made: Made;

    /// Demands of the operands all that kernels rely on; says what the new tensor is to be.
    fn check(&self) -> Result<<Self::Made as Made>::Extents>;

    /// Bytes that must be read or written at the least, but for what it makes new: every operand once, a tensor that
    /// is changed twice.
    fn bytes(&self) -> usize;

    /// What a profile tells its calls apart by.
    fn label(&self) -> Label;

    /// Floating-point operations as it is defined (a multiply-add is two), whatever way a kernel computes it. Only
    /// convolutions count theirs.
    fn flops(&self) -> u64 {
        0
    }
}

/// How one kind of device computes an operation. Operands were checked.
pub(crate) trait Kernel<O: Operation>: Planned {
    /// Bytes of scratch; nothing where it needs none.
    fn scratch(_model: &Self::Model, _operation: &O) -> Option<usize> {
        None
    }

    /// Computes it, or asks the device to.
    fn launch(&self, operation: O, made: &mut O::Made, scratch: Scratch<'_>);
}

/// A kind of device whose needs can be planned without one.
pub(crate) trait Planned: Backend {
    /// All that scratch depends on beside the operation.
    type Model;

    fn model(&self) -> &Self::Model;
}

/// What an operation makes new.
pub(crate) trait Made: Sized {
    /// What is to be allocated.
    type Extents;

    /// `tensor` allocates one.
    fn allocate(tensor: impl FnOnce(Shape, DType) -> Result<Tensor>, extents: Self::Extents) -> Result<Self>;

    /// Bytes that are written of it.
    fn bytes(&self) -> usize;
}

impl Made for () {
    type Extents = ();

    fn allocate(_: impl FnOnce(Shape, DType) -> Result<Tensor>, (): ()) -> Result<()> {
        Ok(())
    }

    fn bytes(&self) -> usize {
        0
    }
}

impl Made for Tensor {
    type Extents = (Shape, DType);

    fn allocate(
        tensor: impl FnOnce(Shape, DType) -> Result<Tensor>,
        (shape, dtype): (Shape, DType),
    ) -> Result<Self> {
        tensor(shape, dtype)
    }

    fn bytes(&self) -> usize {
        self.len() * self.dtype().bytes()
    }
}

/// Kind and shape of a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Label {
    operation: &'static str,
    /// Kernel and stride.
    window: Option<(usize, usize)>,
    /// Input, or the one tensor that says how large the operation is.
    from: Shape,
    /// Output channels, where there is a window.
    channels: usize,
}

impl Label {
    /// By the sizes `from`.
    pub(crate) fn new(operation: &'static str, from: impl Into<Shape>) -> Self {
        Label { operation, window: None, from: from.into(), channels: 0 }
    }

    /// Over windows of an input `from`, to so many channels.
    pub(crate) fn windowed(
        operation: &'static str,
        window: Conv2dParams,
        from: Shape,
        channels: usize,
    ) -> Self {
        Label { operation, window: Some((window.kernel, window.stride)), from, channels }
    }
}

/// As `convolve 3x3/2 16→32 32x32` or `sgd 64x64x3x3`.
impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [_, h, w, c] = self.from.nhwc();
        let Some((kernel, stride)) = self.window else {
            let dims: Vec<String> = self.from.dims().iter().map(ToString::to_string).collect();
            return write!(f, "{} {}", self.operation, dims.join("x"));
        };
        let stride = if stride == 1 { String::new() } else { format!("/{stride}") };
        write!(f, "{} {kernel}x{kernel}{stride} {c}→{} {h}x{w}", self.operation, self.channels)
    }
}
