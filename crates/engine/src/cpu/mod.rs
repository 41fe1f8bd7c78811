//! The processor: kernels for every instruction set, pieces of work over a pool of threads.

mod blocks;
mod channel;
mod conv;
mod images;
mod join;
mod load;
mod loss;
mod parallel;
mod peak;
mod pool;
mod reconstruction;
mod resize;
mod simd;
mod update;
mod value;

pub use simd::Isa;

use crate::backend::{Backend, Scratch, Work};
use crate::ops::{
    Incoming, Labels, LossTarget, NormConstants, NormGrad, Operand, Outgoing, Padding, PixelScale, Sgd,
    WeightGrad, Weights, Window, report,
};
use crate::{DType, Error, Result, Tensor};
use channel::{ImageSink, SinkNorm};
use conv::{Backward, DxOut, Forward};
use load::Load;
use parallel::ChannelSums;
use pool::Plane;
use value::{Value, typed};

/// See the module.
pub(crate) struct Cpu {
    threads: usize,
    isa: Isa,
    pool: Option<rayon::ThreadPool>,
}

impl Cpu {
    pub(crate) fn new(threads: Option<usize>) -> Result<Self> {
        Self::with_isa(threads, Isa::best())
    }

    pub(crate) fn with_isa(threads: Option<usize>, isa: Isa) -> Result<Self> {
        let unavailable = |message: String| Error::Unavailable { device: "cpu".into(), message };
        let mut cpu = Self::without_threads(threads);
        cpu.isa = isa;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cpu.threads)
            .thread_name(|i| format!("mlaan-{i}"))
            .build()
            .map_err(|e| {
                unavailable(format!("{} threads could not be started ({e}); ask for fewer", cpu.threads))
            })?;
        cpu.pool = Some(pool);
        Ok(cpu)
    }

    /// Knows its extents but cannot compute in parallel: for plans.
    pub(crate) fn without_threads(threads: Option<usize>) -> Self {
        Cpu { threads: threads.unwrap_or_else(cores).max(1), isa: Isa::best(), pool: None }
    }

    /// Scratch slots, one a thread; rounded up, so that few threads more or less do not change a plan.
    fn slots(&self) -> usize {
        self.threads.next_multiple_of(8)
    }

    fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn load<'a>(x: &Operand<'a>) -> Load<'a> {
    Load::new(x.norm.map(Tensor::host), x.relu, x.tensor.nhwc()[3])
}

fn sink_norm(n: NormGrad<'_>) -> SinkNorm<'_> {
    SinkNorm {
        coefficients: n.coefficients.host_mut(),
        weight: n.weight.map(Tensor::host_mut),
        bias: n.bias.map(Tensor::host_mut),
    }
}

fn plane(x: &Tensor, y: &Tensor) -> Plane {
    let ([_, h, w, c], [_, oh, ow, _]) = (x.nhwc(), y.nhwc());
    Plane { h, w, oh, ow, c }
}

fn loss_target(t: LossTarget<'_>) -> loss::Target<'_> {
    let row = &mut t.values.host_mut::<f32>()[t.row * report::COLUMNS..(t.row + 1) * report::COLUMNS];
    loss::Target { weight: t.weight, grad: t.grad.map(Tensor::host_mut), row }
}

impl Cpu {
    /// The common end of pooling and resizing backward: fill every image's gradient, then finish it.
    fn resampled<X: Value>(
        &self,
        x: &Operand<'_>,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
        f: impl Fn(usize, &[X], &mut [f32]) + Sync + Send,
    ) {
        let [n, h, w, c] = x.tensor.nhwc();
        let rows = x.norm.map(Tensor::host);
        let sums = dx.norm.as_ref().and(rows);
        let raw = x.tensor.host();
        let sink = ImageSink::new(dx.grad.host_mut(), dx.accumulate, raw, load(x), sums, h * w * c, c);
        let norm = rows.zip(dx.norm.map(sink_norm));
        self.run(|| {
            let scratch = (self.slots(), scratch.host());
            pool::each_gradient(self.isa, (n, h * w, c), &sink, norm, scratch, |n, grad| {
                f(n, sink.raw(n), grad)
            });
        });
    }
}

/// The part of image `n` of `images`.
fn image<X>(values: &[X], n: usize, images: usize) -> &[X] {
    let len = values.len() / images.max(1);
    &values[n * len..(n + 1) * len]
}

impl Backend for Cpu {
    fn scratch(&self, work: &Work) -> usize {
        match *work {
            Work::Convolve { x, out, window } => conv::forward_scratch(x, out, window, self.slots()),
            Work::ConvolveBackward { x, out, window, dx, dw } => {
                conv::backward_scratch((x, out, window), self.slots(), dx, dw)
            }
            Work::ChannelSums { x: [n, h, w, c], sums } => {
                let pieces = parallel::pieces(n * h * w, parallel::PIECES);
                ChannelSums::scratch(pieces, sums, c)
            }
            Work::ImageGradient { x, dtype } => pool::gradient_scratch(x, dtype != DType::F32, self.slots()),
            Work::PerSample { n, each } => loss::scratch(n, each),
        }
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        self.run(f);
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        let Some(pool) = &self.pool else { return 0 };
        pool.broadcast(|_| peak::work(self.isa, rounds));
        peak::operations(self.isa, rounds) * self.threads as u64
    }

    fn arranged(&self, window: Window, x: [usize; 4], out: usize) -> usize {
        conv::arranged(x, out, window)
    }

    fn order(&self) -> usize {
        self.isa.lanes()
    }

    fn arrange(&self, window: Window, x: [usize; 4], w: &Tensor, to: &mut Tensor) {
        let extents = (x, w.shape().dims().first().copied().unwrap_or(0), window);
        self.run(|| conv::arrange(self.isa, extents, w.host(), to.host_mut()));
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
        let (extents, scratch) = ((x.tensor.nhwc(), y.nhwc()[3], window), scratch.host());
        typed!(x.tensor.dtype(), X => typed!(y.dtype(), Y => {
            let op = Forward::<X, Y> {
                x: x.tensor.host(),
                load: load(x),
                w: match w {
                    Weights::Plain(w) => conv::Weights::Plain(w.host()),
                    Weights::Arranged(w) => conv::Weights::Arranged(w.values.host()),
                },
                bias: bias.map(Tensor::host),
                y: y.host_mut(),
                norm: norm.map(Tensor::host_mut),
            };
            self.run(|| conv::forward(self.isa, extents, op, self.slots(), scratch));
        }));
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
        let (extents, scratch) = ((x.tensor.nhwc(), dy.grad.nhwc()[3], window), scratch.host());
        typed!(x.tensor.dtype(), X => typed!(dy.grad.dtype(), Y => {
            let op = Backward::<X, Y> {
                x: x.tensor.host(),
                load: load(x),
                w: w.host(),
                grad: dy.grad.host(),
                grad_norm: dy.norm.map(|(raw, k)| (raw.host(), k.host())),
                dx: dx.map(|d| DxOut {
                    grad: d.grad.host_mut(),
                    accumulate: d.accumulate,
                    operand_norm: x.norm.map(Tensor::host),
                    norm: d.norm.map(sink_norm),
                }),
                dw: dw.map(|d| (d.weight.host_mut(), d.bias.map(Tensor::host_mut))),
            };
            self.run(|| conv::backward(self.isa, extents, op, self.slots(), scratch));
        }));
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
        let running = (running.0.host_mut(), running.1.host_mut());
        channel::normalise_train(norm.host_mut(), weight.host(), bias.host(), running, count, constants);
    }

    fn normalise_eval(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) {
        let running = (running.0.host(), running.1.host());
        channel::normalise_eval(norm.host_mut(), weight.host(), bias.host(), running, constants);
    }

    fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool, out: &mut Tensor) {
        let c = out.nhwc()[3];
        typed!(out.dtype(), X => {
            let first = join::Part::<X> { x: a.tensor.host(), load: load(a) };
            let second = b.map(|b| join::Part { x: b.tensor.host(), load: load(b) });
            let out = out.host_mut();
            self.run(|| join::forward(self.isa, c, first, second, relu, out));
        });
    }

    fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
        scratch: Scratch<'_>,
    ) {
        let c = grad.nhwc()[3];
        let scratch = scratch.host();
        typed!(grad.dtype(), X => {
            let parts = parts.map(|p| {
                let (x, n) = p?;
                Some(join::BackPart::<X> { x: x.tensor.host(), rows: x.norm?.host(), out: sink_norm(n) })
            });
            let (grad, out) = (grad.host_mut(), out.map(Tensor::host));
            self.run(|| join::backward(self.isa, c, grad, out, parts, scratch));
        });
    }

    fn max_pool(&self, window: Window, x: &Operand<'_>, y: &mut Tensor) {
        let (n, plane, load) = (x.tensor.nhwc()[0], plane(x.tensor, y), load(x));
        typed!(y.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| {
                pool::each_image(n, y, |i, y| pool::max_image(self.isa, plane, window, load, image(x, i, n), y))
            });
        });
    }

    fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
    ) {
        let (n, plane, load) = (x.tensor.nhwc()[0], plane(x.tensor, dy), load(x));
        typed!(dy.dtype(), X => {
            let dy = dy.host::<X>();
            self.resampled(x, dx, scratch, |i, raw, grad| {
                pool::max_image_backward(self.isa, plane, window, load, raw, image(dy, i, n), grad);
            });
        });
    }

    fn average_pool(&self, x: &Operand<'_>, y: &mut Tensor) {
        let (n, plane, load) = (x.tensor.nhwc()[0], plane(x.tensor, y), load(x));
        typed!(x.tensor.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| {
                pool::each_image(n, y, |i, y| pool::average_image(self.isa, plane, load, image(x, i, n), y))
            });
        });
    }

    fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        let (n, plane) = (x.tensor.nhwc()[0], plane(x.tensor, dy));
        let dy = dy.host();
        typed!(x.tensor.dtype(), X => self.resampled(x, dx, scratch, |i, _: &[X], grad| {
            pool::average_image_backward(self.isa, plane, image(dy, i, n), grad);
        }));
    }

    fn resize(&self, x: &Operand<'_>, y: &mut Tensor) {
        let (n, plane, load) = (x.tensor.nhwc()[0], plane(x.tensor, y), load(x));
        typed!(y.dtype(), X => {
            let (x, y) = (x.tensor.host::<X>(), y.host_mut());
            self.run(|| {
                pool::each_image(n, y, |i, y| resize::resize_image(self.isa, plane, load, image(x, i, n), y))
            });
        });
    }

    fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        let (n, plane) = (x.tensor.nhwc()[0], plane(x.tensor, dy));
        typed!(dy.dtype(), X => {
            let dy = dy.host::<X>();
            self.resampled(x, dx, scratch, |i, _: &[X], grad| {
                resize::resize_image_backward(self.isa, plane, image(dy, i, n), grad);
            });
        });
    }

    fn cross_entropy(
        &self,
        logits: &Tensor,
        labels: Labels<'_>,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let (logits, target, scratch) = (logits.host(), loss_target(target), scratch.host());
        let mixed = labels.mixed.map(|m| (m.other.host(), m.share.host()));
        let labels = loss::Labels { own: labels.own.host(), mixed };
        self.run(|| loss::cross_entropy(logits, labels, target, scratch));
    }

    fn contrastive(
        &self,
        features: &Tensor,
        labels: &Tensor,
        temperature: f32,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let (features, labels, target) = (features.host(), labels.host(), loss_target(target));
        let scratch = scratch.host();
        self.run(|| loss::contrastive(features, labels, temperature, target, scratch));
    }

    fn reconstruction(
        &self,
        raw: &Tensor,
        images: &Tensor,
        scale: PixelScale,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let (n, target) = (raw.nhwc()[0], loss_target(target));
        let (raw, images, scratch) = (raw.host(), images.host(), scratch.host());
        self.run(|| reconstruction::reconstruction(self.isa, (raw, images), n, scale, target, scratch));
    }

    fn sgd(&self, parameter: &mut Tensor, grad: &Tensor, velocity: &mut Tensor, options: Sgd) {
        let (p, g, v) = (parameter.host_mut(), grad.host(), velocity.host_mut());
        self.run(|| update::sgd(self.isa, p, g, v, options));
    }

    fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) {
        let (t, s) = (target.host_mut(), source.host());
        self.run(|| update::ema(self.isa, t, s, m));
    }

    fn add(&self, target: &mut Tensor, source: &Tensor) {
        typed!(target.dtype(), X => {
            let (t, s) = (target.host_mut::<X>(), source.host());
            self.run(|| update::add(self.isa, t, s));
        });
    }

    fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) {
        let (b, i) = (bytes.host(), images.host_mut());
        self.run(|| images::from_bytes(b, scale, i));
    }

    fn images_from_set(
        &self,
        set: &Tensor,
        draws: &Tensor,
        padding: Padding,
        scale: PixelScale,
        images: &mut Tensor,
    ) {
        let ([_, h, w, _], set, draws) = (images.nhwc(), set.host(), draws.host());
        let images = images.host_mut();
        self.run(|| images::from_set(set, draws, (h, w), padding, scale, images));
    }

    fn fill(&self, tensor: &mut Tensor, value: f32) {
        typed!(tensor.dtype(), X => {
            let t = tensor.host_mut::<X>();
            self.run(|| update::fill(t, value));
        });
    }

    fn copy(&self, target: &mut Tensor, source: &Tensor) {
        typed!(target.dtype(), X => {
            let (t, s) = (target.host_mut::<X>(), source.host());
            self.run(|| update::copy(t, s));
        });
    }
}
