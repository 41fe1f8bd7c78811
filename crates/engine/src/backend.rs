//! What a kind of device implements. Arguments were checked by [`Device`](crate::Device).

use crate::memory::Block;
use crate::ops::{
    Incoming, Labels, LossTarget, NormConstants, NormGrad, Operand, Outgoing, Padding, PixelScale, Sgd,
    WeightGrad, Weights, Window,
};
use crate::{Bf16, DType, Element, Error, Tensor};

/// Scratch of one operation, allocated by the device to the size that the backend asked for.
pub struct Scratch<'a> {
    block: &'a mut Block,
    bytes: usize,
}

impl<'a> Scratch<'a> {
    pub(crate) fn new(block: &'a mut Block, bytes: usize) -> Self {
        Scratch { block, bytes }
    }

    /// As host memory; empty where there is none.
    pub(crate) fn host(self) -> &'a mut [u8] {
        if self.block.host_address().is_null() {
            return &mut [];
        }
        // SAFETY: the block holds at least `bytes` initialised bytes and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.block.host_address(), self.bytes) }
    }

    /// Where it lies in the device's memory.
    pub(crate) fn device_address(&self) -> u64 {
        self.block.device_address()
    }
}

/// An operation and the extents that decide how much scratch it needs.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// `Backend::convolve`.
    Convolve {
        /// Input `[n, h, w, c]`.
        x: [usize; 4],
        /// Output channels.
        out: usize,
        /// Window.
        window: Window,
    },
    /// `Backend::convolve_backward`.
    ConvolveBackward {
        /// Input `[n, h, w, c]`.
        x: [usize; 4],
        /// Output channels.
        out: usize,
        /// Window.
        window: Window,
        /// Whether the input's gradient is wanted.
        dx: bool,
        /// Whether the weights' gradient is wanted.
        dw: bool,
    },
    /// Anything with per-channel sums over `[n, h, w, c]`.
    ChannelSums {
        /// Extents.
        x: [usize; 4],
        /// How many sums a channel.
        sums: usize,
    },
    /// The gradient of an operand that pooling or resizing reads, `[n, h, w, c]`.
    ImageGradient {
        /// Extents.
        x: [usize; 4],
        /// The operand's type.
        dtype: DType,
    },
    /// Anything with one number per sample.
    PerSample {
        /// Samples.
        n: usize,
        /// Numbers.
        each: usize,
    },
}

impl Work {
    /// Floating-point operations of a convolution as it is defined (a multiply-add is two), whatever way a backend
    /// computes it; 0 for anything else.
    pub fn flops(&self) -> u64 {
        let (x, out, window, parts) = match *self {
            Work::Convolve { x, out, window } => (x, out, window, 1),
            Work::ConvolveBackward { x, out, window, dx, dw } => {
                (x, out, window, usize::from(dx) + usize::from(dw))
            }
            _ => return 0,
        };
        let [n, h, w, c] = x;
        let outputs = n * window.output(h) * window.output(w) * out;
        (2 * parts * outputs * c * window.kernel * window.kernel) as u64
    }
}

/// The operations of a kind of device, about twenty, coarse and fused.
pub trait Backend: Send + Sync {
    /// Bytes of scratch that an operation needs.
    fn scratch(&self, work: &Work) -> usize;

    /// Runs `f` where the device's threads are, so that the operations in it start at once.
    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        f();
    }

    /// Threads of the processor that operations use, or that are for what is done beside the device.
    fn threads(&self) -> usize;

    /// What is not as it could be, and stops nothing.
    fn warning(&self) -> Option<&str> {
        None
    }

    /// Which set of kernels convolutions run, where there is more than one.
    fn kernels(&self) -> Option<&'static str> {
        None
    }

    /// Waits until all that was asked for is done.
    fn synchronize(&self) {}

    /// What went wrong on the device since it was opened: a device that works beside the processor says so late.
    fn fault(&self) -> Option<Error> {
        None
    }

    /// Bytes of the device's own memory that nobody has taken; nothing where it has none of its own.
    fn free_memory(&self) -> Option<usize> {
        None
    }

    /// Whether tensors hold values.
    fn computes(&self) -> bool {
        true
    }

    /// Does multiply-adds in registers, on every thread, in number proportional to `rounds`: the most that the
    /// device's arithmetic can do. Returns how many floating-point operations they were; 0 where nothing is computed.
    fn multiply_adds(&self, _rounds: usize) -> u64 {
        0
    }

    /// How many values the weights of such a convolution have when they are arranged for it; 0 where that is of no use.
    fn arranged(&self, _window: Window, _x: [usize; 4], _out: usize) -> usize {
        0
    }

    /// What tells orders apart that have as many values: it differs where kernels do.
    fn order(&self) -> usize {
        0
    }

    /// Arranges the weights `w` into `to`, which has [`Backend::arranged`] values.
    fn arrange(&self, _window: Window, _x: [usize; 4], _w: &Tensor, _to: &mut Tensor) {}

    /// y = convolution of `x` with `w` (+ bias); with `norm`, also mean and biased variance of y.
    #[allow(clippy::too_many_arguments)] // An operation's operands, each of another kind.
    fn convolve(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: Weights<'_>,
        bias: Option<&Tensor>,
        y: &mut Tensor,
        norm: Option<&mut Tensor>,
        scratch: Scratch<'_>,
    );

    /// The gradients of `convolve`.
    #[allow(clippy::too_many_arguments)]
    fn convolve_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        dy: &Incoming<'_>,
        dx: Option<Outgoing<'_>>,
        dw: Option<WeightGrad<'_>>,
        scratch: Scratch<'_>,
    );

    /// From mean and variance to scale and shift; moves the running statistics. `count`: values per channel.
    fn normalise_train(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&mut Tensor, &mut Tensor),
        count: usize,
        constants: NormConstants,
    );

    /// Scale and shift from running statistics.
    fn normalise_eval(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    );

    /// out = a + b, rectified if asked.
    fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool, out: &mut Tensor);

    /// grad becomes the gradient with respect to the sum (0 where `out` was rectified); sums for the
    /// normalisations of the joined operands.
    fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
        scratch: Scratch<'_>,
    );

    /// Maximum over windows.
    fn max_pool(&self, window: Window, x: &Operand<'_>, y: &mut Tensor);

    /// The gradient of `max_pool`; the first maximum of a window takes all.
    fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
    );

    /// Adaptive average pooling to the extents of y (1x1: global).
    fn average_pool(&self, x: &Operand<'_>, y: &mut Tensor);

    /// The gradient of `average_pool`.
    fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>);

    /// Bilinear resizing with aligned corners to the extents of y.
    fn resize(&self, x: &Operand<'_>, y: &mut Tensor);

    /// The gradient of `resize`.
    fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>);

    /// Softmax cross-entropy of `[n, 1, 1, classes]`.
    fn cross_entropy(
        &self,
        logits: &Tensor,
        labels: Labels<'_>,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    );

    /// Supervised contrastive loss of `[n, 1, 1, features]`.
    fn contrastive(
        &self,
        features: &Tensor,
        labels: &Tensor,
        temperature: f32,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    );

    /// Binary cross-entropy of sigmoid(`raw`) against the pixels of `images`.
    fn reconstruction(
        &self,
        raw: &Tensor,
        images: &Tensor,
        scale: PixelScale,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    );

    /// One SGD step of one parameter.
    fn sgd(&self, parameter: &mut Tensor, grad: &Tensor, velocity: &mut Tensor, options: Sgd);

    /// target = m · target + (1 - m) · source.
    fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32);

    /// target += source.
    fn add(&self, target: &mut Tensor, source: &Tensor);

    /// images = (bytes / 255 - mean) / std.
    fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor);

    /// images = parts of padded images of `set`, as `draws` say, normalised.
    fn images_from_set(
        &self,
        set: &Tensor,
        draws: &Tensor,
        padding: Padding,
        scale: PixelScale,
        images: &mut Tensor,
    );

    /// Every element becomes `value`.
    fn fill(&self, tensor: &mut Tensor, value: f32);

    /// target = source.
    fn copy(&self, target: &mut Tensor, source: &Tensor);

    /// From host values, as long as the tensor.
    fn upload_f32(&self, tensor: &mut Tensor, values: &[f32]) {
        copy_in(tensor, values);
    }

    /// From host values, as long as the tensor.
    fn upload_u32(&self, tensor: &mut Tensor, values: &[u32]) {
        copy_in(tensor, values);
    }

    /// From host values, as long as the tensor.
    fn upload_u8(&self, tensor: &mut Tensor, values: &[u8]) {
        copy_in(tensor, values);
    }

    /// From host values, as long as the tensor.
    fn upload_bf16(&self, tensor: &mut Tensor, values: &[Bf16]) {
        copy_in(tensor, values);
    }

    /// From host bytes, as many as the tensor has, as another device of the same kind gave them.
    fn upload_bytes(&self, tensor: &mut Tensor, bytes: &[u8]) {
        let host = tensor.host_bytes_mut();
        if host.len() == bytes.len() {
            host.copy_from_slice(bytes);
        }
    }

    /// To host bytes, as many as the tensor has.
    fn download_bytes(&self, tensor: &Tensor, bytes: &mut [u8]) {
        let host = tensor.host_bytes();
        if host.len() == bytes.len() {
            bytes.copy_from_slice(host);
        }
    }

    /// To host values, as long as the tensor, which holds activations of any type.
    fn download_f32(&self, tensor: &Tensor, values: &mut [f32]) {
        for (v, x) in values.iter_mut().zip(tensor.host::<Bf16>()) {
            *v = x.to_f32();
        }
        if tensor.host::<f32>().len() == values.len() {
            values.copy_from_slice(tensor.host());
        }
    }
}

fn copy_in<T: Element>(tensor: &mut Tensor, values: &[T]) {
    if tensor.host::<T>().len() == values.len() {
        tensor.host_mut().copy_from_slice(values);
    }
}
