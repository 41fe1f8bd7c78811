//! Convolutions, by one set of kernels or the other.

use super::convolution::Product;
use super::kernel_choice::Kernels;
use super::{Cuda, Model, convolution, specialised, weight_gradient};
use crate::Tensor;
use crate::backend::Scratch;
use crate::ops::{Convolve, ConvolveBackward, Kernel};

impl Kernel<Convolve<'_>> for Cuda {
    /// Of both sets of kernels the most: a plan holds for either.
    fn scratch(_: &Model, op: &Convolve<'_>) -> Option<usize> {
        let (x, out, window) = (op.x.tensor.nhwc(), op.out(), op.window);
        let proved = convolution::forward_scratch(x, out, window);
        Some(proved.max(specialised::forward_scratch(x, out, window)))
    }

    fn launch(&self, op: Convolve<'_>, y: &mut Tensor, scratch: Scratch<'_>) {
        // Nothing is packed here beforehand: `packed` says 0.
        let Convolve { window, x, bias, norm, .. } = op;
        let (driver, w, scratch) = (self.driver(), op.w.values(), scratch.device_address());
        let pass = convolution::forward_pass(x.tensor.nhwc(), y.nhwc()[3], window);
        let product = Product::of(x.tensor.dtype(), y.dtype());
        if driver.kernels == Kernels::New && specialised::fits(driver, &pass, product) {
            return specialised::forward(driver, window, &x, w, bias, y, norm, scratch);
        }
        convolution::forward(driver, window, &x, w, bias, y, norm, scratch);
    }
}

impl Kernel<ConvolveBackward<'_>> for Cuda {
    fn scratch(_: &Model, op: &ConvolveBackward<'_>) -> Option<usize> {
        let (x, out, window) = (op.x.tensor.nhwc(), op.dy.grad.nhwc()[3], op.window);
        let input = || {
            let proved = convolution::backward_scratch(x, out, window);
            proved.max(specialised::backward_scratch(x, out, window))
        };
        let weights = || {
            let proved = weight_gradient::scratch(x, out, window);
            proved.max(specialised::weight_gradient_scratch(x, out, window))
        };
        let (input, weights) = (op.dx.as_ref().map(|_| input()), op.dw.as_ref().map(|_| weights()));
        Some(input.unwrap_or(0).max(weights.unwrap_or(0)))
    }

    fn launch(&self, op: ConvolveBackward<'_>, (): &mut (), scratch: Scratch<'_>) {
        let ConvolveBackward { window, x, w, dy, dx, dw } = op;
        let (driver, scratch) = (self.driver(), scratch.device_address());
        // One after the other on the stream: they share the scratch.
        let new = driver.kernels == Kernels::New;
        let (out, product) = (dy.grad.nhwc()[3], Product::of(x.tensor.dtype(), dy.grad.dtype()));
        if let Some(dw) = dw {
            let pass = convolution::forward_pass(x.tensor.nhwc(), out, window);
            if new && specialised::fits_weight_gradient(driver, &pass, product) {
                specialised::weight_gradient(driver, window, &x, &dy, dw, scratch);
            } else {
                weight_gradient::run(driver, window, &x, &dy, dw, scratch);
            }
        }
        if let Some(dx) = dx {
            let pass = convolution::backward_pass(x.tensor.nhwc(), out, window);
            if new && specialised::fits(driver, &pass, product) {
                specialised::backward(driver, window, &x, w, &dy, dx, scratch);
            } else {
                convolution::backward(driver, window, &x, w, &dy, dx, scratch);
            }
        }
    }
}
