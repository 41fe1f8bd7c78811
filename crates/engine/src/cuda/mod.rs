//! NVIDIA GPUs: own kernels, compiled for the device at hand when it is opened.
//!
//! Nothing of CUDA is needed to build: driver and compiler are loaded at run time ([`devices`] says what is missing).
//! Operations are asked for in order on one stream and return at once; values are waited for when they are read.
//! How work is cut into blocks depends on extents, and in `specialised` on the kind of device. Plans need no GPU: they
//! count the most of all kinds. Results are the same from run to run.

mod args;
mod cache;
mod contrastive;
mod convolution;
mod deferred;
pub mod devices;
mod driver;
mod graph;
mod images;
mod join;
mod launch;
mod loss;
mod normalise;
mod nvrtc;
mod peak;
mod plane;
mod pool;
mod program;
mod resize;
mod specialised;
mod staging;
mod sums;
mod table;
mod tiles;
mod update;
mod weight_gradient;

use crate::backend::{Backend, Scratch, Work};
use crate::memory::Memory;
use crate::ops::{
    Incoming, Labels, LossTarget, NormConstants, NormGrad, Operand, Outgoing, Padding, PixelScale, Sgd,
    WeightGrad, Weights, Window,
};
use crate::{Bf16, DType, Error, Result, Tensor};
use convolution::Product;
use driver::Driver;
use specialised::Kernels;
use std::sync::Arc;

/// See the module.
pub(crate) struct Cuda {
    driver: Arc<Driver>,
    updates: update::Pending,
    /// Of the processor, for what is done beside the device.
    threads: usize,
}

/// The device's memory.
#[derive(Debug)]
struct DeviceMemory(Arc<Driver>);

impl Memory for DeviceMemory {
    fn allocate(&self, bytes: usize) -> Option<*mut u8> {
        self.0.allocate(bytes).map(|address| address as *mut u8)
    }

    fn free(&self, address: *mut u8, _: usize) {
        self.0.free(address as u64);
    }

    fn on_host(&self) -> bool {
        false
    }
}

impl Cuda {
    /// Device `ordinal`, counted from 0, and threads of the processor (all cores when `None`).
    ///
    /// # Errors
    /// [`Error::Unavailable`] with what is missing and how to get it.
    pub(crate) fn new(ordinal: usize, threads: Option<usize>) -> Result<Self> {
        let driver = Arc::new(Driver::open(ordinal)?);
        nvrtc::load().map_err(|message| Error::Unavailable { device: format!("cuda:{ordinal}"), message })?;
        let threads = threads.unwrap_or_else(crate::cpu::cores).max(1);
        Ok(Cuda { driver, updates: update::Pending::default(), threads })
    }

    /// The device's memory.
    pub(crate) fn memory(&self) -> impl Memory + use<> {
        DeviceMemory(Arc::clone(&self.driver))
    }

    /// The driver, with everything asked for that waits to be asked for together.
    fn driver(&self) -> &Driver {
        self.updates.flush(&self.driver);
        &self.driver
    }
}

/// Every program, for tests of the sources.
#[cfg(test)]
fn programs() -> Vec<&'static program::Program> {
    let mut all: Vec<&'static program::Program> = vec![&peak::PEAK, &normalise::NORMALISE, &join::JOIN];
    all.extend([&pool::POOL, &resize::RESIZE]);
    all.extend([&loss::LOSS, &contrastive::CONTRASTIVE, &update::UPDATE, &images::IMAGES]);
    [all, convolution::programs(), weight_gradient::programs(), specialised::programs()].concat()
}

/// Bytes of scratch that an operation needs, on every device of this kind.
pub(crate) fn scratch(work: &Work) -> usize {
    match *work {
        // Of both sets of kernels the most: a plan holds for either.
        Work::Convolve { x, out, window } => {
            convolution::forward_scratch(x, out, window).max(specialised::forward_scratch(x, out, window))
        }
        Work::ConvolveBackward { x, out, window, dx, dw } => {
            let input = || {
                let proved = convolution::backward_scratch(x, out, window);
                proved.max(specialised::backward_scratch(x, out, window))
            };
            let weights = || {
                let proved = weight_gradient::scratch(x, out, window);
                proved.max(specialised::weight_gradient_scratch(x, out, window))
            };
            (if dx { input() } else { 0 }).max(if dw { weights() } else { 0 })
        }
        Work::ChannelSums { x, sums } => sums::scratch(x, sums),
        Work::ImageGradient { x, .. } => sums::scratch(x, 2),
        Work::PerSample { n, each } => loss::scratch(n, each),
    }
}

/// Values as bytes, and back.
fn bytes<T: bytemuck::NoUninit>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

impl Backend for Cuda {
    fn scratch(&self, work: &Work) -> usize {
        scratch(work)
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn warning(&self) -> Option<&str> {
        cache::warning()
    }

    fn kernels(&self) -> Option<&'static str> {
        Some(self.driver.kernels.name())
    }

    fn scope(&self, f: &mut (dyn FnMut() + Send)) {
        self.driver.recorder.begin();
        f();
        let driver = self.driver();
        // Whatever device the thread worked with last.
        driver.bind();
        driver.settle();
        driver.recorder.end(driver);
    }

    fn multiply_adds(&self, rounds: usize) -> u64 {
        peak::run(self.driver(), rounds)
    }

    fn synchronize(&self) {
        self.driver().wait();
    }

    fn fault(&self) -> Option<Error> {
        self.driver.fault()
    }

    fn free_memory(&self) -> Option<usize> {
        self.driver.free_memory()
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
        // Nothing is arranged here beforehand: `arranged` says 0.
        let (driver, w, scratch) = (self.driver(), w.values(), scratch.device_address());
        let pass = convolution::forward_pass(x.tensor.nhwc(), y.nhwc()[3], window);
        let product = Product::of(x.tensor.dtype(), y.dtype());
        if driver.kernels == Kernels::New && specialised::fits(driver, &pass, product) {
            return specialised::forward(driver, window, x, w, bias, y, norm, scratch);
        }
        convolution::forward(driver, window, x, w, bias, y, norm, scratch);
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
        let (driver, scratch) = (self.driver(), scratch.device_address());
        // One after the other on the stream: they share the scratch.
        let new = driver.kernels == Kernels::New;
        let (out, product) = (dy.grad.nhwc()[3], Product::of(x.tensor.dtype(), dy.grad.dtype()));
        if let Some(dw) = dw {
            let pass = convolution::forward_pass(x.tensor.nhwc(), out, window);
            if new && specialised::fits_weight_gradient(driver, &pass, product) {
                specialised::weight_gradient(driver, window, x, dy, dw, scratch);
            } else {
                weight_gradient::run(driver, window, x, dy, dw, scratch);
            }
        }
        if let Some(dx) = dx {
            let pass = convolution::backward_pass(x.tensor.nhwc(), out, window);
            if new && specialised::fits(driver, &pass, product) {
                specialised::backward(driver, window, x, w, dy, dx, scratch);
            } else {
                convolution::backward(driver, window, x, w, dy, dx, scratch);
            }
        }
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
        normalise::train(self.driver(), norm, weight, bias, running, count, constants);
    }

    fn normalise_eval(
        &self,
        norm: &mut Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running: (&Tensor, &Tensor),
        constants: NormConstants,
    ) {
        normalise::eval(self.driver(), norm, weight, bias, running, constants);
    }

    fn join(&self, a: &Operand<'_>, b: Option<&Operand<'_>>, relu: bool, out: &mut Tensor) {
        join::forward(self.driver(), a, b, relu, out);
    }

    fn join_backward(
        &self,
        grad: &mut Tensor,
        out: Option<&Tensor>,
        parts: [Option<(&Operand<'_>, NormGrad<'_>)>; 2],
        scratch: Scratch<'_>,
    ) {
        join::backward(self.driver(), grad, out, parts, scratch.device_address());
    }

    fn max_pool(&self, window: Window, x: &Operand<'_>, y: &mut Tensor) {
        pool::max(self.driver(), window, x, y);
    }

    fn max_pool_backward(
        &self,
        window: Window,
        x: &Operand<'_>,
        dy: &Tensor,
        dx: Outgoing<'_>,
        scratch: Scratch<'_>,
    ) {
        pool::max_backward(self.driver(), window, x, dy, dx, scratch.device_address());
    }

    fn average_pool(&self, x: &Operand<'_>, y: &mut Tensor) {
        pool::average(self.driver(), x, y);
    }

    fn average_pool_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        pool::average_backward(self.driver(), x, dy, dx, scratch.device_address());
    }

    fn resize(&self, x: &Operand<'_>, y: &mut Tensor) {
        resize::forward(self.driver(), x, y);
    }

    fn resize_backward(&self, x: &Operand<'_>, dy: &Tensor, dx: Outgoing<'_>, scratch: Scratch<'_>) {
        resize::backward(self.driver(), x, dy, dx, scratch.device_address());
    }

    fn cross_entropy(
        &self,
        logits: &Tensor,
        labels: Labels<'_>,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        loss::cross_entropy(self.driver(), logits, labels, target, scratch.device_address());
    }

    fn contrastive(
        &self,
        features: &Tensor,
        labels: &Tensor,
        temperature: f32,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        let scratch = scratch.device_address();
        contrastive::contrastive(self.driver(), features, labels, temperature, target, scratch);
    }

    fn reconstruction(
        &self,
        raw: &Tensor,
        images: &Tensor,
        scale: PixelScale,
        target: LossTarget<'_>,
        scratch: Scratch<'_>,
    ) {
        loss::reconstruction(self.driver(), raw, images, scale, target, scratch.device_address());
    }

    fn sgd(&self, parameter: &mut Tensor, grad: &Tensor, velocity: &mut Tensor, options: Sgd) {
        self.updates.sgd(&self.driver, parameter, grad, velocity, options);
    }

    fn ema(&self, target: &mut Tensor, source: &Tensor, m: f32) {
        self.updates.ema(&self.driver, target, source, m);
    }

    fn add(&self, target: &mut Tensor, source: &Tensor) {
        update::add(self.driver(), target, source);
    }

    fn images_from_bytes(&self, bytes: &Tensor, scale: PixelScale, images: &mut Tensor) {
        images::from_bytes(self.driver(), bytes, scale, images);
    }

    fn images_from_set(
        &self,
        set: &Tensor,
        draws: &Tensor,
        padding: Padding,
        scale: PixelScale,
        images: &mut Tensor,
    ) {
        images::from_set(self.driver(), set, draws, padding, scale, images);
    }

    fn fill(&self, tensor: &mut Tensor, value: f32) {
        update::fill(self.driver(), tensor, value);
    }

    fn copy(&self, target: &mut Tensor, source: &Tensor) {
        let bytes = source.len() * source.dtype().bytes();
        self.driver().copy(target.device_address(), source.device_address(), bytes);
    }

    fn upload_f32(&self, tensor: &mut Tensor, values: &[f32]) {
        self.driver().upload(tensor.device_address(), bytes(values));
    }

    fn upload_u32(&self, tensor: &mut Tensor, values: &[u32]) {
        self.driver().upload(tensor.device_address(), bytes(values));
    }

    fn upload_u8(&self, tensor: &mut Tensor, values: &[u8]) {
        self.driver().upload(tensor.device_address(), values);
    }

    fn upload_bf16(&self, tensor: &mut Tensor, values: &[Bf16]) {
        self.driver().upload(tensor.device_address(), bytes(values));
    }

    fn upload_bytes(&self, tensor: &mut Tensor, bytes: &[u8]) {
        self.driver().upload(tensor.device_address(), bytes);
    }

    fn download_bytes(&self, tensor: &Tensor, bytes: &mut [u8]) {
        self.driver().download(tensor.device_address(), bytes);
    }

    fn download_f32(&self, tensor: &Tensor, values: &mut [f32]) {
        let (driver, address) = (self.driver(), tensor.device_address());
        if tensor.dtype() == DType::F32 {
            return driver.download(address, bytemuck::cast_slice_mut(values));
        }
        let mut halves = vec![Bf16::default(); values.len()];
        driver.download(address, bytemuck::cast_slice_mut(&mut halves));
        for (v, h) in values.iter_mut().zip(halves) {
            *v = h.to_f32();
        }
    }
}
