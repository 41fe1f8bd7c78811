//! A device: memory and operations, with every argument checked before a kernel sees it.

use crate::backend::{Backend, Work};
use crate::memory::{Block, Pool, Purpose, Usage};
use crate::ops::{
    Incoming, LossTarget, NormConstants, NormGrad, Operand, Outgoing, PixelScale, Sgd, WeightGrad, Window,
    norm, report,
};
use crate::{DType, Element, Error, Result, Shape, Tensor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A handle to a device; clones share its memory and threads.
#[derive(Clone)]
pub struct Device(Arc<Inner>);

struct Inner {
    name: String,
    pool: Arc<Pool>,
    backend: Box<dyn Backend>,
    flops: AtomicU64,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("name", &self.0.name).finish()
    }
}

/// Checks one condition on arguments; the message is only built when it fails.
fn ensure(holds: bool, operation: &'static str, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Shape { operation, message: message() }) }
}

fn same_shape(operation: &'static str, a: &Tensor, b: &Tensor) -> Result<()> {
    ensure(a.shape() == b.shape() && a.dtype() == b.dtype(), operation, || {
        format!("{:?} and {:?} must have the same extents", a.shape().dims(), b.shape().dims())
    })
}

fn f32_only(operation: &'static str, tensors: &[&Tensor]) -> Result<()> {
    let wrong = tensors.iter().find(|t| t.dtype() != DType::F32);
    ensure(wrong.is_none(), operation, || format!("takes 32-bit floats, not {:?}", wrong.map(|t| t.dtype())))
}

fn rows(operation: &'static str, t: &Tensor, rows: usize, channels: usize) -> Result<()> {
    ensure(t.shape().dims() == [rows, channels] && t.dtype() == DType::F32, operation, || {
        format!("per-channel values of extents {:?}, need [{rows}, {channels}]", t.shape().dims())
    })
}

fn vector(operation: &'static str, t: &Tensor, channels: usize) -> Result<()> {
    ensure(t.shape().dims() == [channels] && t.dtype() == DType::F32, operation, || {
        format!("a vector of extents {:?}, need [{channels}]", t.shape().dims())
    })
}

fn operand(operation: &'static str, x: &Operand<'_>) -> Result<()> {
    f32_only(operation, &[x.tensor])?;
    match x.norm {
        Some(n) => rows(operation, n, norm::ROWS, x.tensor.nhwc()[3]),
        None => Ok(()),
    }
}

fn norm_grad(operation: &'static str, x: &Operand<'_>, grad: &NormGrad<'_>) -> Result<()> {
    let c = x.tensor.nhwc()[3];
    ensure(x.norm.is_some(), operation, || "sums for a normalisation that the operand does not have".into())?;
    rows(operation, grad.coefficients, norm::COEFFICIENTS, c)?;
    for t in [&grad.weight, &grad.bias].into_iter().flatten() {
        vector(operation, t, c)?;
    }
    Ok(())
}

fn outgoing(operation: &'static str, x: &Operand<'_>, out: &Outgoing<'_>) -> Result<()> {
    same_shape(operation, x.tensor, out.grad)?;
    out.norm.as_ref().map_or(Ok(()), |n| norm_grad(operation, x, n))
}

impl Device {
    /// The processor, with `threads` threads (all cores when `None`).
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the threads cannot be started.
    pub fn cpu(threads: Option<usize>) -> Result<Self> {
        let backend = crate::cpu::Cpu::new(threads)?;
        Ok(Self::with_backend("cpu", Pool::host("cpu"), Box::new(backend)))
    }

    /// The processor with a given instruction set, for tests and comparisons.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when this machine does not have it.
    pub fn cpu_with(threads: Option<usize>, isa: crate::Isa) -> Result<Self> {
        let backend = crate::cpu::Cpu::with_isa(threads, isa)?;
        Ok(Self::with_backend("cpu", Pool::host("cpu"), Box::new(backend)))
    }

    /// A device that computes nothing and counts every byte and operation as `cpu` would use them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as [`Device::cpu`].
    pub fn dry(threads: Option<usize>) -> Result<Self> {
        let backend = crate::dry::Dry::new(threads)?;
        Ok(Self::with_backend("dry", Pool::virtual_memory("dry"), Box::new(backend)))
    }

    fn with_backend(name: &str, pool: Arc<Pool>, backend: Box<dyn Backend>) -> Self {
        Device(Arc::new(Inner { name: name.into(), pool, backend, flops: AtomicU64::new(0) }))
    }

    /// `cpu` or `dry`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Threads that operations use.
    pub fn threads(&self) -> usize {
        self.0.backend.threads()
    }

    /// Whether tensors hold values (not on `dry`).
    pub fn computes(&self) -> bool {
        self.0.backend.computes()
    }

    /// Bytes in use, now and at the most.
    pub fn usage(&self) -> Usage {
        self.0.pool.usage()
    }

    /// The device's memory.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// Floating-point operations of convolutions and linear layers so far (a multiply-add is two).
    pub fn flops(&self) -> u64 {
        self.0.flops.load(Ordering::Relaxed)
    }

    /// Runs `f` where the device's threads are: operations inside start without a hand-over each.
    pub fn scope<R: Send>(&self, f: impl FnOnce() -> R + Send) -> Option<R> {
        let (mut f, mut result) = (Some(f), None);
        self.0.backend.scope(&mut || {
            if let Some(f) = f.take() {
                result = Some(f());
            }
        });
        result
    }

    /// A new tensor; its values are whatever lay there before.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn alloc(&self, shape: impl Into<Shape>, dtype: DType, purpose: Purpose) -> Result<Tensor> {
        let shape = shape.into();
        let bytes = shape
            .dims()
            .iter()
            .try_fold(dtype.bytes(), |n, &d| n.checked_mul(d))
            .filter(|&n| n < isize::MAX as usize / 2);
        let bytes = bytes.ok_or_else(|| Error::OutOfMemory {
            device: self.0.name.clone(),
            requested: usize::MAX,
            in_use: self.usage().current,
        })?;
        Ok(Tensor::new(shape, dtype, self.0.pool.take(bytes, purpose)?))
    }

    /// A new tensor of 32-bit floats, all `value`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn full(&self, shape: impl Into<Shape>, value: f32, purpose: Purpose) -> Result<Tensor> {
        let mut t = self.alloc(shape, DType::F32, purpose)?;
        self.0.backend.fill(&mut t, value);
        Ok(t)
    }

    fn scratch(&self, work: &Work) -> Result<ScratchBlock> {
        let bytes = self.0.backend.scratch(work);
        let block = self.0.pool.take(bytes, Purpose::Workspace)?;
        Ok(ScratchBlock { block, bytes })
    }

    fn count(&self, flops: usize) {
        self.0.flops.fetch_add(flops as u64, Ordering::Relaxed);
    }

    // ------------------------------------------------------------ values

    /// Copies host values into a tensor of the same type and length.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn upload<T: Element>(&self, tensor: &mut Tensor, values: &[T]) -> Result<()> {
        ensure(tensor.len() == values.len() && tensor.dtype() == T::DTYPE, "upload", || {
            format!(
                "{} values of {:?} for {:?} {:?}",
                values.len(),
                T::DTYPE,
                tensor.dtype(),
                tensor.shape().dims()
            )
        })?;
        // The match is on a constant; the casts are from a type to itself.
        match T::DTYPE {
            DType::F32 => self.0.backend.upload_f32(tensor, cast(values)),
            DType::U32 => self.0.backend.upload_u32(tensor, cast(values)),
            DType::U8 => self.0.backend.upload_u8(tensor, cast(values)),
            DType::F64 => {
                return Err(Error::Shape { operation: "upload", message: "64-bit sums stay inside".into() });
            }
        }
        Ok(())
    }

    /// Copies a tensor of 32-bit floats to the host; zeros on `dry`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn download(&self, tensor: &Tensor) -> Result<Vec<f32>> {
        let mut values = vec![0.0; tensor.len()];
        self.download_into(tensor, &mut values)?;
        Ok(values)
    }

    /// As [`Device::download`], into an existing slice.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn download_into(&self, tensor: &Tensor, values: &mut [f32]) -> Result<()> {
        f32_only("download", &[tensor])?;
        ensure(tensor.len() == values.len(), "download", || {
            format!("{} places for {:?}", values.len(), tensor.shape().dims())
        })?;
        self.0.backend.download_f32(tensor, values);
        Ok(())
    }

    /// Every element of a tensor of 32-bit floats becomes `value`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn fill(&self, tensor: &mut Tensor, value: f32) -> Result<()> {
        f32_only("fill", &[tensor])?;
        self.0.backend.fill(tensor, value);
        Ok(())
    }

    /// target = source.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn copy(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        same_shape("copy", target, source)?;
        f32_only("copy", &[source])?;
        self.0.backend.copy(target, source);
        Ok(())
    }

    /// target += source.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn add(&self, target: &mut Tensor, source: &Tensor) -> Result<()> {
        same_shape("add", target, source)?;
        f32_only("add", &[source])?;
        self.0.backend.add(target, source);
        Ok(())
    }

    // ------------------------------------------------------------ convolution

    /// Convolution of `x` `[n, h, w, in]` with `w` `[out, in, k, k]`; a linear layer is a 1x1 convolution
    /// of `[n, 1, 1, in]`. With `norm` (`[4, out]`), its rows MEAN and INV_STD receive mean and biased
    /// variance of the result, for [`Device::normalise_train`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn convolve(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        bias: Option<&Tensor>,
        norm_rows: Option<&mut Tensor>,
    ) -> Result<Tensor> {
        const OP: &str = "convolve";
        let (input, out) = self.check_convolution(OP, window, x, w)?;
        let [n, h, wd, c] = input;
        if let Some(b) = bias {
            vector(OP, b, out)?;
        }
        if let Some(t) = &norm_rows {
            rows(OP, t, norm::ROWS, out)?;
        }
        let (oh, ow) = (window.output(h), window.output(wd));
        let mut y = self.alloc([n, oh, ow, out], DType::F32, Purpose::Activations)?;
        let mut scratch = self.scratch(&Work::Convolve { x: input, out, window })?;
        self.count(2 * n * oh * ow * out * c * window.kernel * window.kernel);
        self.0.backend.convolve(window, x, w, bias, &mut y, norm_rows, scratch.bytes());
        Ok(y)
    }

    fn check_convolution(
        &self,
        op: &'static str,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
    ) -> Result<([usize; 4], usize)> {
        operand(op, x)?;
        f32_only(op, &[w])?;
        let input = x.tensor.nhwc();
        let out = w.shape().dims().first().copied().unwrap_or(0);
        let k = window.kernel;
        ensure(out > 0 && k > 0 && window.stride > 0 && w.len() == out * input[3] * k * k, op, || {
            format!("weights {:?} for {} channels and a {k}x{k} window", w.shape().dims(), input[3])
        })?;
        ensure(window.pad < k.max(1), op, || format!("a border of {} for a {k}x{k} window", window.pad))?;
        ensure(
            !input.contains(&0) && window.output(input[1]) > 0 && window.output(input[2]) > 0,
            op,
            || format!("a {k}x{k} window does not fit into {}x{}", input[1], input[2]),
        )?;
        Ok((input, out))
    }

    /// The gradients of [`Device::convolve`]: of its input (under the rule of [`crate::ops`]) and of its parameters.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn convolve_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        dy: &Incoming<'_>,
        dx: Option<Outgoing<'_>>,
        dw: Option<WeightGrad<'_>>,
    ) -> Result<()> {
        const OP: &str = "convolve_backward";
        let (input, out) = self.check_convolution(OP, window, x, w)?;
        let [n, h, wd, c] = input;
        let (oh, ow) = (window.output(h), window.output(wd));
        ensure(dy.grad.nhwc() == [n, oh, ow, out] && dy.grad.dtype() == DType::F32, OP, || {
            format!("gradient {:?}, need {:?}", dy.grad.shape().dims(), [n, oh, ow, out])
        })?;
        if let Some((raw, coefficients)) = dy.norm {
            same_shape(OP, dy.grad, raw)?;
            rows(OP, coefficients, norm::COEFFICIENTS, out)?;
        }
        if let Some(o) = &dx {
            outgoing(OP, x, o)?;
        }
        if let Some(g) = &dw {
            same_shape(OP, w, g.weight)?;
            if let Some(b) = &g.bias {
                vector(OP, b, out)?;
            }
        }
        let work = Work::ConvolveBackward { x: input, out, window, dx: dx.is_some(), dw: dw.is_some() };
        let mut scratch = self.scratch(&work)?;
        let parts = usize::from(dx.is_some()) + usize::from(dw.is_some());
        self.count(2 * parts * n * oh * ow * out * c * window.kernel * window.kernel);
        self.0.backend.convolve_backward(window, x, w, dy, dx, dw, scratch.bytes());
        Ok(())
    }

    // ------------------------------------------------------------ normalisation

    /// Turns mean and variance of a batch into scale and shift and moves the running statistics
    /// (unbiased variance). `count`: values per channel.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn normalise_train(
        &self,
        norm_rows: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&mut Tensor, &mut Tensor),
        count: usize,
        constants: NormConstants,
    ) -> Result<()> {
        const OP: &str = "normalise_train";
        rows(OP, norm_rows, norm::ROWS, weight.len())?;
        for t in [weight, bias, running.0, running.1] {
            vector(OP, t, weight.len())?;
        }
        self.0.backend.normalise_train(norm_rows, weight, bias, running, count, constants);
        Ok(())
    }

    /// Scale and shift from running statistics, for evaluation.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn normalise_eval(
        &self,
        norm_rows: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) -> Result<()> {
        const OP: &str = "normalise_eval";
        rows(OP, norm_rows, norm::ROWS, weight.len())?;
        for t in [weight, bias, running.0, running.1] {
            vector(OP, t, weight.len())?;
        }
        self.0.backend.normalise_eval(norm_rows, weight, bias, running, constants);
        Ok(())
    }

    // ------------------------------------------------------------ joins and pools

    /// a + b (or a alone), rectified if asked: the end of a residual block.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool) -> Result<Tensor> {
        const OP: &str = "join";
        operand(OP, a)?;
        if let Some(b) = b {
            operand(OP, b)?;
            same_shape(OP, a.tensor, b.tensor)?;
        }
        let mut out = self.alloc(a.tensor.shape(), DType::F32, Purpose::Activations)?;
        self.0.backend.join(a, b, relu, &mut out);
        Ok(out)
    }

    /// The gradient of [`Device::join`], in place: `grad` becomes the gradient with respect to the sum
    /// (`out` given: 0 where it was rectified); `parts` receive the sums of their normalisations. Operands
    /// that were themselves rectified must not be among `parts`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
    ) -> Result<()> {
        const OP: &str = "join_backward";
        f32_only(OP, &[grad])?;
        if let Some(out) = out {
            same_shape(OP, grad, out)?;
        }
        for (x, g) in parts.iter().flatten() {
            operand(OP, x)?;
            same_shape(OP, grad, x.tensor)?;
            norm_grad(OP, x, g)?;
            ensure(!x.relu, OP, || "a part was rectified before the join".into())?;
        }
        let mut scratch = self.scratch(&Work::ChannelSums { x: grad.nhwc(), sums: 4 })?;
        self.0.backend.join_backward(grad, out, parts, scratch.bytes());
        Ok(())
    }

    /// Maximum over windows; the border does not take part.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn max_pool(&self, window: Window, x: &Operand<'_>) -> Result<Tensor> {
        operand("max_pool", x)?;
        let [n, oh, ow, c] = check_pool("max_pool", window, x)?;
        let mut y = self.alloc([n, oh, ow, c], DType::F32, Purpose::Activations)?;
        self.0.backend.max_pool(window, x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::max_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
    ) -> Result<()> {
        const OP: &str = "max_pool_backward";
        operand(OP, x)?;
        outgoing(OP, x, &dx)?;
        f32_only(OP, &[dy])?;
        let need = check_pool(OP, window, x)?;
        ensure(dy.nhwc() == need, OP, || format!("gradient {:?}, need {need:?}", dy.shape().dims()))?;
        let mut scratch = self.scratch(&Work::ChannelSums { x: x.tensor.nhwc(), sums: 2 })?;
        self.0.backend.max_pool_backward(window, x, dy, dx, scratch.bytes());
        Ok(())
    }

    /// Adaptive average pooling to `height x width`, as PyTorch's; 1x1 is global.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn average_pool(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        operand("average_pool", x)?;
        let [n, _, _, c] = x.tensor.nhwc();
        ensure(height > 0 && width > 0 && !x.tensor.is_empty(), "average_pool", || "nothing to pool".into())?;
        let mut y = self.alloc([n, height, width, c], DType::F32, Purpose::Activations)?;
        self.0.backend.average_pool(x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::average_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        const OP: &str = "average_pool_backward";
        self.check_resampled(OP, x, dy, &dx)?;
        let mut scratch = self.scratch(&Work::ChannelSums { x: x.tensor.nhwc(), sums: 2 })?;
        self.0.backend.average_pool_backward(x, dy, dx, scratch.bytes());
        Ok(())
    }

    /// Bilinear resizing to `height x width`, corners aligned.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn resize(&self, x: &Operand<'_>, height: usize, width: usize) -> Result<Tensor> {
        operand("resize", x)?;
        let [n, _, _, c] = x.tensor.nhwc();
        ensure(height > 0 && width > 0 && !x.tensor.is_empty(), "resize", || "nothing to resize".into())?;
        let mut y = self.alloc([n, height, width, c], DType::F32, Purpose::Activations)?;
        self.0.backend.resize(x, &mut y);
        Ok(y)
    }

    /// The gradient of [`Device::resize`].
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>) -> Result<()> {
        const OP: &str = "resize_backward";
        self.check_resampled(OP, x, dy, &dx)?;
        let mut scratch = self.scratch(&Work::ChannelSums { x: x.tensor.nhwc(), sums: 2 })?;
        self.0.backend.resize_backward(x, dy, dx, scratch.bytes());
        Ok(())
    }

    fn check_resampled(
        &self,
        op: &'static str,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: &Outgoing<'_>,
    ) -> Result<()> {
        operand(op, x)?;
        outgoing(op, x, dx)?;
        f32_only(op, &[dy])?;
        let ([n, _, _, c], [m, h, w, d]) = (x.tensor.nhwc(), dy.nhwc());
        ensure(n == m && c == d && h > 0 && w > 0 && !x.tensor.is_empty(), op, || {
            format!("gradient {:?} for an input of {:?}", dy.shape().dims(), x.tensor.shape().dims())
        })
    }

    // ------------------------------------------------------------ losses

    /// Softmax cross-entropy of logits `[n, 1, 1, classes]` against labels `[n]`, mean over the batch; also
    /// counts the samples whose largest logit (the first of equals) is not their label.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
    pub fn cross_entropy(&self, logits: &Tensor, labels: &Tensor, target: LossTarget<'_>) -> Result<()> {
        const OP: &str = "cross_entropy";
        let n = check_loss(OP, logits, Some(labels), &target)?;
        let mut scratch = self.scratch(&Work::PerSample { n, each: 2 })?;
        self.0.backend.cross_entropy(logits, labels, target, scratch.bytes());
        Ok(())
    }

    /// Supervised contrastive loss (Khosla et al. 2020) of features `[n, 1, 1, f]`, normalised inside.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::OutOfMemory`].
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
    /// [`Error::Shape`], [`Error::OutOfMemory`].
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

    // ------------------------------------------------------------ updates

    /// One SGD step.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn sgd(
        &self,
        parameter: &mut Tensor,
        grad: &Tensor,
        velocity: &mut Tensor,
        options: Sgd,
    ) -> Result<()> {
        same_shape("sgd", parameter, grad)?;
        same_shape("sgd", parameter, velocity)?;
        f32_only("sgd", &[parameter])?;
        self.0.backend.sgd(parameter, grad, velocity, options);
        Ok(())
    }

    /// target = m · target + (1 - m) · source.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) -> Result<()> {
        same_shape("ema", target, source)?;
        f32_only("ema", &[target])?;
        self.0.backend.ema(target, source, m);
        Ok(())
    }

    /// images `[n, h, w, 3]` = (bytes / 255 - mean) / std.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) -> Result<()> {
        const OP: &str = "images_from_bytes";
        f32_only(OP, &[images])?;
        let fits = bytes.dtype() == DType::U8 && bytes.shape() == images.shape() && images.nhwc()[3] == 3;
        ensure(fits, OP, || {
            format!("{:?} {:?} for images {:?}", bytes.dtype(), bytes.shape().dims(), images.shape().dims())
        })?;
        self.0.backend.images_from_bytes(bytes, scale, images);
        Ok(())
    }
}

fn check_pool(op: &'static str, window: Window, x: &Operand<'_>) -> Result<[usize; 4]> {
    let [n, h, w, c] = x.tensor.nhwc();
    let fits = window.kernel > 0 && window.pad <= window.kernel / 2 && !x.tensor.is_empty();
    let (oh, ow) = (window.output(h), window.output(w));
    ensure(fits && oh > 0 && ow > 0, op, || format!("a window of {window:?} does not fit into {h}x{w}"))?;
    Ok([n, oh, ow, c])
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
        ensure(labels.dtype() == DType::U32 && labels.len() == n && h == 1 && w == 1, op, || {
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

/// A scratch block as bytes.
struct ScratchBlock {
    block: Block,
    bytes: usize,
}

impl ScratchBlock {
    fn bytes(&mut self) -> &mut [u8] {
        if self.block.address().is_null() {
            return &mut [];
        }
        // SAFETY: the block holds at least `bytes` initialised bytes and is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.block.address(), self.bytes) }
    }
}

/// A slice of `T` as a slice of the same type under another name.
fn cast<T: Element, U: Element>(values: &[T]) -> &[U] {
    if T::DTYPE != U::DTYPE {
        return &[];
    }
    // SAFETY: `DTYPE` names each element type once, so T and U are the same type.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<U>(), values.len()) }
}
