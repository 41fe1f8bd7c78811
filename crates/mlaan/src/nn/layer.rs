//! What a layer is: one input, one output, forward and back.

use super::{Activation, Grad, ImageShape, Param, Pass};
use crate::Result;
use mlaan_engine::Device;

/// Whether a forward pass is followed by a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics; running statistics move; what backward needs is kept.
    Train,
    /// As `Train`, over the same input once more, for values that were dropped: running statistics stay.
    Recompute,
    /// Running statistics; nothing is kept.
    Infer,
}

/// A part of a network: one input, one output.
///
/// A layer with parameters makes them with [`Builder::parameter`](super::Builder::parameter), leaves their gradients in [`Parameter::grad`](super::Parameter::grad) and
/// shows them in [`Layer::visit`]; one that is made of others passes [`Layer::visit`], [`Layer::fuse`] and
/// [`Layer::release`] on to them. Optimiser, checkpoints, mirrors and plans need nothing else.
pub trait Layer: Send {
    /// The output's size for an input's.
    ///
    /// # Errors
    /// When the layer cannot take such an input.
    fn extent(&self, input: ImageShape) -> Result<ImageShape>;

    /// The output for `x`.
    ///
    /// # Errors
    /// Out of memory; shapes that do not fit.
    fn forward(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<Activation>;

    /// Takes the gradient at the output `y` of the last forward over `x` and returns the input's, if `pass` asks.
    ///
    /// # Errors
    /// Out of memory; shapes that do not fit.
    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>>;

    /// As [`Layer::backward`], for the last time over a forward: what the layer kept is forgotten, and a layer of several parts may
    /// forget each as soon as it is through.
    ///
    /// # Errors
    /// As [`Layer::backward`].
    fn backward_last(
        &mut self,
        device: &Device,
        x: &Activation,
        y: Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let dx = self.backward(device, x, &y, grad, pass)?;
        self.release();
        Ok(dx)
    }

    /// Runs forward over the same input once more for what the layer keeps; nobody wants the output.
    ///
    /// # Errors
    /// As [`Layer::forward`].
    fn refill(&mut self, device: &Device, x: &Activation) -> Result<()> {
        self.forward(device, x, Mode::Recompute).map(drop)
    }

    /// Whether [`Layer::output_again`] gives the output cheaply, so that it need not be stored.
    fn repeats_output(&self) -> bool {
        false
    }

    /// The output of the last training forward over `x` once more, to the bit, from what the layer kept.
    ///
    /// # Errors
    /// Out of memory.
    fn output_again(&self, device: &Device, x: &Activation) -> Result<Option<Activation>> {
        let _ = (device, x);
        Ok(None)
    }

    /// Forgets what the last forward kept.
    fn release(&mut self) {}

    /// Calls `f` with every parameter and buffer, in the same order each time. Checkpoints, updates and mirrors know
    /// of no others.
    ///
    /// # Errors
    /// What `f` returns.
    fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        let _ = f;
        Ok(())
    }

    /// Makes itself ready for inference alone: normalisation by running statistics goes into the weights before it.
    /// The function is the same; the layer cannot learn any more.
    ///
    /// # Errors
    /// From the device.
    fn fuse(&mut self, device: &Device) -> Result<()> {
        let _ = device;
        Ok(())
    }
}
