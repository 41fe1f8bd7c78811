//! What each operation of a device costs: a backend that times the calls of another.

mod traffic;

use crate::backend::{Backend, Scratch, Work};
use crate::ops::{
    Incoming, Labels, LossTarget, NormConstants, NormGrad, Operand, Outgoing, Padding, PixelScale, Sgd,
    WeightGrad, Weights, Window,
};
use crate::{Bf16, Error, Kind, Shape, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use traffic::{joined, joined_back, loss, of, operand, outgoing, size};

/// An operation of one kind and shape, over all its calls.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationCost {
    /// Kind and shape, as `convolve 3x3 16→16 32x32` (sides are the input's, `/2` a stride).
    pub name: String,
    /// How often it ran.
    pub calls: u64,
    /// Wall time of the calls.
    pub seconds: f64,
    /// Floating-point operations as [`Device::flops`](crate::Device::flops) counts them; 0 for all but convolutions.
    pub flops: u64,
    /// Bytes that must be read or written at the least: every operand once.
    pub bytes: u64,
}

/// What calls are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    operation: &'static str,
    /// Kernel and stride.
    window: Option<(usize, usize)>,
    /// Input, or the one tensor that says how large the operation is.
    from: Shape,
    /// Output channels, where there is a window.
    channels: usize,
}

/// Sums of a key's calls.
#[derive(Clone, Copy, Default)]
struct Sum {
    calls: u64,
    seconds: f64,
    flops: u64,
    bytes: u64,
}

/// What was recorded so far.
#[derive(Default)]
pub(crate) struct Records(Mutex<HashMap<Key, Sum>>);

impl Records {
    fn sums(&self) -> MutexGuard<'_, HashMap<Key, Sum>> {
        // A panic elsewhere leaves the sums whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything, the slowest first.
    pub(crate) fn costs(&self) -> Vec<OperationCost> {
        let cost = |(key, sum): (&Key, &Sum)| OperationCost {
            name: key.name(),
            calls: sum.calls,
            seconds: sum.seconds,
            flops: sum.flops,
            bytes: sum.bytes,
        };
        let mut costs: Vec<_> = self.sums().iter().map(cost).collect();
        costs.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.name.cmp(&b.name)));
        costs
    }

    pub(crate) fn clear(&self) {
        self.sums().clear();
    }
}

impl Key {
    fn name(&self) -> String {
        let [_, h, w, c] = self.from.nhwc();
        let Some((kernel, stride)) = self.window else {
            let dims: Vec<String> = self.from.dims().iter().map(ToString::to_string).collect();
            return format!("{} {}", self.operation, dims.join("x"));
        };
        let stride = if stride == 1 { String::new() } else { format!("/{stride}") };
        format!("{} {kernel}x{kernel}{stride} {c}→{} {h}x{w}", self.operation, self.channels)
    }
}

/// Times the calls of `inner` and changes nothing.
pub(crate) struct Profiled {
    inner: Arc<dyn Backend>,
    records: Arc<Records>,
    kind: Kind,
}

impl Profiled {
    pub(crate) fn new(inner: Arc<dyn Backend>, records: Arc<Records>, kind: Kind) -> Self {
        Profiled { inner, records, kind }
    }

    fn time(&self, key: Key, flops: u64, bytes: usize, f: impl FnOnce(&dyn Backend)) {
        // A device that works beside the processor may still be at what was asked for before.
        self.inner.synchronize();
        let begin = Instant::now();
        f(self.inner.as_ref());
        self.inner.synchronize();
        let seconds = begin.elapsed().as_secs_f64();
        let mut sums = self.records.sums();
        let sum = sums.entry(key).or_default();
        sum.calls += 1;
        sum.seconds += seconds;
        sum.flops += flops;
        sum.bytes += bytes as u64;
    }

    /// An operation without a window.
    fn plain(&self, operation: &'static str, shape: Shape, bytes: usize, f: impl FnOnce(&dyn Backend)) {
        self.time(Key { operation, window: None, from: shape, channels: 0 }, 0, bytes, f);
    }

    /// An operation with a window.
    fn windowed(
        &self,
        (operation, window, channels): (&'static str, Window, usize),
        x: &Operand<'_>,
        (flops, bytes): (u64, usize),
        f: impl FnOnce(&dyn Backend),
    ) {
        let window = Some((window.kernel, window.stride));
        self.time(Key { operation, window, from: x.tensor.shape(), channels }, flops, bytes, f);
    }
}

impl Backend for Profiled {
    fn scratch(&self, work: &Work) -> usize {
        self.inner.scratch(work)
    }

    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        match self.kind {
            Kind::Cpu { .. } => self.inner.scope(f),
            // A scope's operations go to a GPU together: each would be a recording of its own when it is waited for.
            Kind::Cuda => f(),
        }
    }

    fn threads(&self) -> usize {
        self.inner.threads()
    }

    fn warning(&self) -> Option<&str> {
        self.inner.warning()
    }

    fn kernels(&self) -> Option<&'static str> {
        self.inner.kernels()
    }

    fn synchronize(&self) {
        self.inner.synchronize();
    }

    fn fault(&self) -> Option<Error> {
        self.inner.fault()
    }

    fn free_memory(&self) -> Option<usize> {
        self.inner.free_memory()
    }

    fn computes(&self) -> bool {
        self.inner.computes()
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        self.inner.multiply_adds(rounds)
    }

    fn arranged(&self, window: Window, x: [usize; 4], out: usize) -> usize {
        self.inner.arranged(window, x, out)
    }

    fn order(&self) -> usize {
        self.inner.order()
    }

    fn arrange(&self, window: Window, x: [usize; 4], w: &Tensor, to: &mut Tensor) {
        self.inner.arrange(window, x, w, to);
    }

    fn convolve(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: Weights<'_>,
        bias: Option<&Tensor>,
        y: &mut Tensor,
        norm: Option<&mut Tensor>,
        scratch: Scratch<'_>,
    ) {
        let out = y.nhwc()[3];
        let flops = Work::Convolve { x: x.tensor.nhwc(), out, window }.flops();
        let bytes = operand(x) + size(w.values()) + of(bias) + size(y) + of(norm.as_deref()) / 2;
        self.windowed(("convolve", window, out), x, (flops, bytes), |b| {
            b.convolve(window, x, w, bias, y, norm, scratch);
        });
    }

    fn convolve_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        w: &Tensor,
        dy: &Incoming<'_>,
        dx: Option<Outgoing<'_>>,
        dw: Option<WeightGrad<'_>>,
        scratch: Scratch<'_>,
    ) {
        let name = match (&dx, &dw) {
            (Some(_), Some(_)) => "convolve_backward dx+dw",
            (Some(_), None) => "convolve_backward dx",
            _ => "convolve_backward dw",
        };
        let out = dy.grad.nhwc()[3];
        let (wants_dx, wants_dw) = (dx.is_some(), dw.is_some());
        let work = Work::ConvolveBackward { x: x.tensor.nhwc(), out, window, dx: wants_dx, dw: wants_dw };
        let bytes = traffic::convolve_backward(x, w, dy, dx.as_ref(), dw.as_ref());
        self.windowed((name, window, out), x, (work.flops(), bytes), |b| {
            b.convolve_backward(window, x, w, dy, dx, dw, scratch);
        });
    }

    fn normalise_train(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&mut Tensor, &mut Tensor),
        count: usize,
        constants: NormConstants,
    ) {
        // Two of four rows are read and all written; running statistics are read and written.
        let bytes = size(norm) * 3 / 2 + size(weight) + size(bias) + 2 * (size(running.0) + size(running.1));
        self.plain("normalise_train", weight.shape(), bytes, |b| {
            b.normalise_train(norm, weight, bias, running, count, constants);
        });
    }

    fn normalise_eval(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) {
        let bytes = size(norm) + size(weight) + size(bias) + size(running.0) + size(running.1);
        self.plain("normalise_eval", weight.shape(), bytes, |b| {
            b.normalise_eval(norm, weight, bias, running, constants);
        });
    }

    fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool, out: &mut Tensor) {
        let bytes = joined(a, b, out);
        self.plain("join", out.shape(), bytes, |d| d.join(a, b, relu, out));
    }

    fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
        scratch: Scratch<'_>,
    ) {
        let bytes = joined_back(grad, out, &parts);
        self.plain("join_backward", grad.shape(), bytes, |b| b.join_backward(grad, out, parts, scratch));
    }

    fn max_pool(&self, window: Window, x: &Operand<'_>, y: &mut Tensor) {
        let bytes = operand(x) + size(y);
        self.windowed(("max_pool", window, y.nhwc()[3]), x, (0, bytes), |b| b.max_pool(window, x, y));
    }

    fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
    ) {
        let bytes = operand(x) + size(dy) + outgoing(&dx);
        self.windowed(("max_pool_backward", window, dy.nhwc()[3]), x, (0, bytes), |b| {
            b.max_pool_backward(window, x, dy, dx, scratch);
        });
    }

    fn average_pool(&self, x: &Operand<'_>, y: &mut Tensor) {
        self.plain("average_pool", x.tensor.shape(), operand(x) + size(y), |b| b.average_pool(x, y));
    }

    fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        let bytes = traffic::resampled_back(x, dy, &dx);
        self.plain("average_pool_backward", x.tensor.shape(), bytes, |b| {
            b.average_pool_backward(x, dy, dx, scratch);
        });
    }

    fn resize(&self, x: &Operand<'_>, y: &mut Tensor) {
        self.plain("resize", y.shape(), operand(x) + size(y), |b| b.resize(x, y));
    }

    fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        let bytes = traffic::resampled_back(x, dy, &dx);
        self.plain("resize_backward", dy.shape(), bytes, |b| b.resize_backward(x, dy, dx, scratch));
    }

    fn cross_entropy(
        &self,
        logits: &Tensor,
        labels: Labels<'_>,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let mixed = labels.mixed.map_or(0, |m| size(m.other) + size(m.share));
        let bytes = size(logits) + size(labels.own) + mixed + loss(&target);
        self.plain("cross_entropy", logits.shape(), bytes, |b| {
            b.cross_entropy(logits, labels, target, scratch);
        });
    }

    fn contrastive(
        &self,
        features: &Tensor,
        labels: &Tensor,
        temperature: f32,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let bytes = size(features) + size(labels) + loss(&target);
        self.plain("contrastive", features.shape(), bytes, |b| {
            b.contrastive(features, labels, temperature, target, scratch);
        });
    }

    fn reconstruction(
        &self,
        raw: &Tensor,
        images: &Tensor,
        scale: PixelScale,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let bytes = size(raw) + size(images) + loss(&target);
        self.plain("reconstruction", raw.shape(), bytes, |b| {
            b.reconstruction(raw, images, scale, target, scratch);
        });
    }

    fn sgd(&self, parameter: &mut Tensor, grad: &Tensor, velocity: &mut Tensor, options: Sgd) {
        let bytes = 2 * size(parameter) + size(grad) + 2 * size(velocity);
        self.plain("sgd", grad.shape(), bytes, |b| b.sgd(parameter, grad, velocity, options));
    }

    fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) {
        let bytes = 2 * size(target) + size(source);
        self.plain("ema", source.shape(), bytes, |b| b.ema(target, source, m));
    }

    fn add(&self, target: &mut Tensor, source: &Tensor) {
        let bytes = 2 * size(target) + size(source);
        self.plain("add", source.shape(), bytes, |b| b.add(target, source));
    }

    fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) {
        let moved = size(bytes) + size(images);
        self.plain("images_from_bytes", bytes.shape(), moved, |b| b.images_from_bytes(bytes, scale, images));
    }

    fn images_from_set(
        &self,
        set: &Tensor,
        draws: &Tensor,
        padding: Padding,
        scale: PixelScale,
        images: &mut Tensor,
    ) {
        // Of the set as many bytes as there are values.
        let moved = images.len() + size(draws) + size(images);
        self.plain("images_from_set", images.shape(), moved, |b| {
            b.images_from_set(set, draws, padding, scale, images);
        });
    }

    fn fill(&self, tensor: &mut Tensor, value: f32) {
        self.plain("fill", tensor.shape(), size(tensor), |b| b.fill(tensor, value));
    }

    fn copy(&self, target: &mut Tensor, source: &Tensor) {
        self.plain("copy", source.shape(), size(target) + size(source), |b| b.copy(target, source));
    }

    fn upload_f32(&self, tensor: &mut Tensor, values: &[f32]) {
        self.plain("upload", tensor.shape(), 2 * size(tensor), |b| b.upload_f32(tensor, values));
    }

    fn upload_u32(&self, tensor: &mut Tensor, values: &[u32]) {
        self.plain("upload", tensor.shape(), 2 * size(tensor), |b| b.upload_u32(tensor, values));
    }

    fn upload_u8(&self, tensor: &mut Tensor, values: &[u8]) {
        self.plain("upload", tensor.shape(), 2 * size(tensor), |b| b.upload_u8(tensor, values));
    }

    fn upload_bf16(&self, tensor: &mut Tensor, values: &[Bf16]) {
        self.plain("upload", tensor.shape(), 2 * size(tensor), |b| b.upload_bf16(tensor, values));
    }

    fn upload_bytes(&self, tensor: &mut Tensor, bytes: &[u8]) {
        self.plain("upload", tensor.shape(), 2 * size(tensor), |b| b.upload_bytes(tensor, bytes));
    }

    fn download_bytes(&self, tensor: &Tensor, bytes: &mut [u8]) {
        self.plain("download", tensor.shape(), 2 * size(tensor), |b| b.download_bytes(tensor, bytes));
    }

    fn download_f32(&self, tensor: &Tensor, values: &mut [f32]) {
        self.plain("download", tensor.shape(), 2 * size(tensor), |b| b.download_f32(tensor, values));
    }
}
