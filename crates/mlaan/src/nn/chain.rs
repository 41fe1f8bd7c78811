//! Layers one after another.

use super::{Act, Extent, Grad, Layer, Mode, Pass, Unit};
use crate::{Error, Result};
use mlaan_engine::Device;

/// Layers that were not yet told their input: what a head or a stem is written as.
pub type Sequence = Vec<Box<dyn Layer>>;

/// Layers one after another, with the values between them.
#[derive(Default)]
pub struct Chain {
    layers: Sequence,
    /// Outputs of the layers of the last training forward; the last one is the chain's output.
    acts: Vec<Act>,
}

impl Chain {
    /// A chain; an empty one stands for its input itself.
    pub fn new(layers: Sequence) -> Self {
        let acts = Vec::with_capacity(layers.len());
        Chain { layers, acts }
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layers.
    pub fn layers_mut(&mut self) -> &mut [Box<dyn Layer>] {
        &mut self.layers
    }

    /// The output's extent.
    ///
    /// # Errors
    /// When a layer cannot take its input.
    pub fn extent(&self, input: Extent) -> Result<Extent> {
        self.layers.iter().try_fold(input, |e, l| l.extent(e))
    }

    /// Runs all layers and keeps the values between them.
    ///
    /// # Errors
    /// From a layer.
    pub fn forward(&mut self, device: &Device, x: &Act) -> Result<()> {
        self.acts.clear();
        for layer in &mut self.layers {
            let y = layer.forward(device, self.acts.last().unwrap_or(x), Mode::Train)?;
            self.acts.push(y);
        }
        Ok(())
    }

    /// The output of the last [`Chain::forward`] over `x`.
    pub fn output<'a>(&'a self, x: &'a Act) -> &'a Act {
        self.acts.last().unwrap_or(x)
    }

    /// Takes the output out, to outlive the chain's other values.
    pub fn take_output(&mut self) -> Option<Act> {
        self.acts.pop()
    }

    /// Runs all layers with running statistics; nothing is kept.
    ///
    /// # Errors
    /// From a layer.
    pub fn infer(&mut self, device: &Device, x: Act) -> Result<Act> {
        self.layers.iter_mut().try_fold(x, |x, layer| layer.forward(device, &x, Mode::Infer))
    }

    /// Goes back over the last forward. `x`: the chain's input, `y`: its output when it was taken out; `keep`:
    /// whether the values stay for another pass.
    ///
    /// # Errors
    /// From a layer.
    pub fn backward(
        &mut self,
        device: &Device,
        x: &Act,
        y: Option<&Act>,
        grad: Grad,
        pass: Pass,
        keep: bool,
    ) -> Result<Option<Grad>> {
        let mut grad = Some(grad);
        for i in (0..self.layers.len()).rev() {
            let Some(g) = grad.take() else { break };
            let below = if i == 0 { x } else { &self.acts[i - 1] };
            let Some(above) = self.acts.get(i).or(y) else { break };
            let pass = Pass { input: pass.input || (i > 0), ..pass };
            grad = self.layers[i].backward(device, below, above, g, pass)?;
            if !keep {
                self.layers[i].release();
                self.acts.truncate(i);
            }
        }
        Ok(grad.filter(|_| pass.input))
    }

    /// Forgets the values of the last forward.
    pub fn release(&mut self) {
        self.acts.clear();
        self.layers.iter_mut().for_each(|l| l.release());
    }

    /// Calls `f` with every unit, in order.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn each_unit(&mut self, f: &mut dyn FnMut(&mut Unit) -> Result<()>) -> Result<()> {
        self.layers.iter_mut().try_for_each(|l| super::each_unit(l.as_mut(), &mut *f))
    }
}

/// A chain within a chain: a block of one's own. It must have at least one layer.
impl Layer for Chain {
    fn extent(&self, input: Extent) -> Result<Extent> {
        Chain::extent(self, input)
    }

    fn forward(&mut self, device: &Device, x: &Act, mode: Mode) -> Result<Act> {
        let mut output = None;
        self.acts.clear();
        for layer in &mut self.layers {
            let y = layer.forward(device, output.as_ref().unwrap_or(x), mode)?;
            if let (Some(between), Mode::Train) = (output.replace(y), mode) {
                self.acts.push(between);
            }
        }
        output.ok_or_else(|| Error::recipe("model.backbone", "a block without layers"))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Act,
        y: &Act,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        Chain::backward(self, device, x, Some(y), grad, pass, true)
    }

    fn release(&mut self) {
        Chain::release(self);
    }

    fn unit(&mut self, index: usize) -> Option<&mut Unit> {
        let mut left = index;
        for layer in &mut self.layers {
            let mut own = 0;
            while layer.unit(own).is_some() {
                own += 1;
            }
            if left < own {
                return layer.unit(left);
            }
            left -= own;
        }
        None
    }
}
