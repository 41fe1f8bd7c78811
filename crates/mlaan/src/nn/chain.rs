//! Layers one after another.

use super::{Activation, Grad, ImageShape, Layer, Mode, Param, Pass};
use crate::{Error, Result};
use mlaan_engine::Device;
use std::ops::Range;

/// Layers that were not yet told their input: what a head or a stem is written as.
pub type Sequence = Vec<Box<dyn Layer>>;

/// What is called with a layer that a gradient has passed.
pub type Through<'a> = &'a mut dyn FnMut(&mut dyn Layer) -> Result<()>;

/// Layers one after another, with the values between them.
///
/// A chain cut into segments ([`Chain::recompute`]) keeps the inputs of its segments only; a pass back over a segment
/// first runs it forward once more.
#[derive(Default)]
pub struct Chain {
    layers: Sequence,
    /// Outputs of the layers of the last training forward, the last of which is the chain's output. In a chain cut
    /// into segments: of the layers of the segment at hand, without the segment's own output.
    acts: Vec<Activation>,
    /// One past each segment's last layer; empty: all values are kept.
    ends: Vec<usize>,
    /// Outputs of the segments.
    outputs: Vec<Activation>,
    /// The segment whose inner values are there.
    at_hand: Option<usize>,
    /// Whether a forward leaves the last segment at hand.
    holds_last: bool,
    /// Layers that no gradient goes back through: what lies between them is not kept.
    floor: usize,
}

impl Chain {
    /// A chain; an empty one stands for its input itself.
    pub fn new(layers: Sequence) -> Self {
        let acts = Vec::with_capacity(layers.len());
        Chain { layers, acts, ..Chain::default() }
    }

    /// Cuts the chain into segments that end before the layers `ends`, ascending, the last one at the chain's end.
    /// `holds_last`: keep the last segment's values after a forward, for a pass back that follows at once.
    pub fn recompute(&mut self, ends: Vec<usize>, holds_last: bool) {
        self.release();
        self.outputs = Vec::with_capacity(ends.len());
        (self.ends, self.holds_last) = (ends, holds_last);
    }

    /// No pass goes back through the first `layers` layers, since nothing learns in them or below: they keep nothing.
    pub fn never_below(&mut self, layers: usize) {
        self.release();
        self.floor = layers.min(self.layers.len());
    }

    /// Outputs of the first layers that are not kept.
    fn forgotten(&self) -> usize {
        if self.ends.is_empty() { self.floor.saturating_sub(1) } else { 0 }
    }

    /// Runs the layers that no gradient goes back through, of whose outputs the last one stays.
    fn run_below(&mut self, device: &Device, x: &Activation) -> Result<()> {
        for layer in &mut self.layers[..self.floor] {
            let y = layer.forward(device, self.acts.last().unwrap_or(x), Mode::Train)?;
            layer.release();
            self.acts.clear();
            self.acts.push(y);
        }
        Ok(())
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layers.
    pub fn layers_mut(&mut self) -> &mut [Box<dyn Layer>] {
        &mut self.layers
    }

    /// The output's size.
    ///
    /// # Errors
    /// When a layer cannot take its input.
    pub fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        self.layers.iter().try_fold(input, |e, l| l.extent(e))
    }

    /// Runs all layers and keeps the values between them, or between its segments.
    ///
    /// # Errors
    /// From a layer.
    pub fn forward(&mut self, device: &Device, x: &Activation) -> Result<()> {
        self.acts.clear();
        self.outputs.clear();
        if self.ends.is_empty() {
            self.run_below(device, x)?;
            return self.run(device, self.floor..self.layers.len(), x, Mode::Train);
        }
        for s in 0..self.ends.len() {
            self.forget_inner();
            self.at_hand = Some(s);
            let (layers, outputs) = (self.segment(s), std::mem::take(&mut self.outputs));
            let done = self.run(device, layers, outputs.last().unwrap_or(x), Mode::Train);
            self.outputs = outputs;
            done?;
            self.outputs.extend(self.acts.pop());
        }
        if !self.holds_last {
            self.forget_inner();
        }
        Ok(())
    }

    /// The layers of segment `s`.
    fn segment(&self, s: usize) -> Range<usize> {
        let start = if s == 0 { 0 } else { self.ends[s - 1] };
        start..self.ends[s]
    }

    /// Runs segment `s` over its input `x` again. Its output is stored already.
    fn refill_segment(&mut self, device: &Device, s: usize, x: &Activation) -> Result<()> {
        self.forget_inner();
        self.at_hand = Some(s);
        let layers = self.segment(s);
        let Some(last) = layers.clone().last() else { return Ok(()) };
        self.run(device, layers.start..last, x, Mode::Recompute)?;
        self.layers[last].refill(device, self.acts.last().unwrap_or(x))
    }

    fn run(&mut self, device: &Device, layers: Range<usize>, x: &Activation, mode: Mode) -> Result<()> {
        for layer in &mut self.layers[layers] {
            let y = layer.forward(device, self.acts.last().unwrap_or(x), mode)?;
            self.acts.push(y);
        }
        Ok(())
    }

    /// Drops what lies between the inputs of segments.
    fn forget_inner(&mut self) {
        if let Some(s) = self.at_hand.take() {
            let layers = self.segment(s);
            self.layers[layers].iter_mut().for_each(|l| l.release());
        }
        self.acts.clear();
    }

    /// The output of the last [`Chain::forward`] over `x`.
    pub fn output<'a>(&'a self, x: &'a Activation) -> &'a Activation {
        self.outputs.last().or(self.acts.last()).unwrap_or(x)
    }

    /// Takes the output out, to outlive the chain's other values.
    pub fn take_output(&mut self) -> Option<Activation> {
        if self.ends.is_empty() { self.acts.pop() } else { self.outputs.pop() }
    }

    /// Whether [`Chain::output_again`] gives the output cheaply after it was taken out.
    pub fn repeats_output(&self) -> bool {
        let kept = self.ends.is_empty() && self.floor < self.layers.len();
        kept && self.layers.last().is_some_and(|l| l.repeats_output())
    }

    /// The output that was taken out once more, to the bit, from the values that the chain still has.
    ///
    /// # Errors
    /// Out of memory.
    pub fn output_again(&self, device: &Device, x: &Activation) -> Result<Option<Activation>> {
        match self.layers.last() {
            Some(last) => last.output_again(device, self.acts.last().unwrap_or(x)),
            None => Ok(None),
        }
    }

    /// Runs all layers with running statistics; nothing is kept.
    ///
    /// # Errors
    /// From a layer.
    pub fn infer(&mut self, device: &Device, x: Activation) -> Result<Activation> {
        self.infer_seen(device, x, &mut |_, _| Ok(()))
    }

    /// As [`Chain::infer`]; `see` is shown each layer's number and output.
    ///
    /// # Errors
    /// From a layer; what `see` returns.
    pub fn infer_seen(
        &mut self,
        device: &Device,
        x: Activation,
        see: &mut dyn FnMut(usize, &Activation) -> Result<()>,
    ) -> Result<Activation> {
        self.layers.iter_mut().enumerate().try_fold(x, |x, (i, layer)| {
            let y = layer.forward(device, &x, Mode::Infer)?;
            see(i, &y)?;
            Ok(y)
        })
    }

    /// Goes back over the last forward. `x`: the chain's input, `y`: its output when it was taken out; `keep`:
    /// whether the values stay for another pass.
    ///
    /// # Errors
    /// From a layer.
    pub fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: Option<&Activation>,
        grad: Grad,
        pass: Pass,
        keep: bool,
    ) -> Result<Option<Grad>> {
        if !self.ends.is_empty() {
            return self.backward_segments(device, x, y, grad, pass, keep);
        }
        let layers = 0..self.layers.len();
        self.backward_over(device, layers, (x, y), grad, (pass, keep), &mut |_| Ok(()))
    }

    /// As [`Chain::backward`], for the last time over a forward; calls `through` with every layer that has its gradients (with those
    /// of segments never).
    ///
    /// # Errors
    /// From a layer; what `through` returns.
    pub fn backward_last_each(
        &mut self,
        device: &Device,
        x: &Activation,
        grad: Grad,
        pass: Pass,
        through: Through<'_>,
    ) -> Result<Option<Grad>> {
        if !self.ends.is_empty() {
            return self.backward_segments(device, x, None, grad, pass, false);
        }
        self.backward_over(device, 0..self.layers.len(), (x, None), grad, (pass, false), through)
    }

    /// Takes the value at `place` out, and drops those behind it.
    fn take_from(&mut self, place: usize) -> Option<Activation> {
        self.acts.truncate(place + 1);
        if self.acts.len() > place { self.acts.pop() } else { None }
    }

    /// [`Chain::backward`] over `layers`, whose values `acts` holds.
    fn backward_over(
        &mut self,
        device: &Device,
        layers: Range<usize>,
        (x, y): (&Activation, Option<&Activation>),
        grad: Grad,
        (pass, keep): (Pass, bool),
        through: Through<'_>,
    ) -> Result<Option<Grad>> {
        let (mut grad, forgotten) = (Some(grad), self.forgotten());
        // The last layer that the gradient reaches.
        let last = layers.start.max(self.floor);
        for (k, i) in layers.clone().enumerate().rev().take_while(|(_, i)| *i >= last) {
            let Some(g) = grad.take() else { break };
            let own = if keep { None } else { self.take_from(k - forgotten) };
            let below = if k == 0 { x } else { &self.acts[k - 1 - forgotten] };
            let pass = Pass { input: pass.input || i > last, ..pass };
            if !keep && let Some(above) = own {
                grad = self.layers[i].backward_last(device, below, above, g, pass)?;
                through(self.layers[i].as_mut())?;
                continue;
            }
            let Some(above) = self.acts.get(k - forgotten).or(y) else { break };
            grad = self.layers[i].backward(device, below, above, g, pass)?;
            through(self.layers[i].as_mut())?;
            if !keep {
                self.layers[i].release();
            }
        }
        Ok(grad.filter(|_| pass.input))
    }

    /// [`Chain::backward`], each segment run forward again unless it is at hand.
    fn backward_segments(
        &mut self,
        device: &Device,
        x: &Activation,
        y: Option<&Activation>,
        grad: Grad,
        pass: Pass,
        keep: bool,
    ) -> Result<Option<Grad>> {
        let mut grad = Some(grad);
        let floor = if pass.input { 0 } else { self.floor };
        // The last segment that the gradient reaches.
        let last = self.ends.iter().position(|&end| end > floor).unwrap_or(self.ends.len());
        for s in (last..self.ends.len()).rev() {
            let Some(g) = grad.take() else { break };
            let outputs = std::mem::take(&mut self.outputs);
            let (x, y) = (if s == 0 { x } else { &outputs[s - 1] }, outputs.get(s).or(y));
            let ready = if self.at_hand == Some(s) { Ok(()) } else { self.refill_segment(device, s, x) };
            let layers = self.segment(s);
            let pass = Pass { input: pass.input || layers.start > floor, ..pass };
            let done = ready
                .and_then(|()| self.backward_over(device, layers, (x, y), g, (pass, false), &mut |_| Ok(())));
            (self.outputs, self.at_hand) = (outputs, None);
            if !keep {
                self.outputs.truncate(s);
            }
            grad = done?;
        }
        Ok(grad.filter(|_| pass.input))
    }

    /// Forgets the values of the last forward.
    pub fn release(&mut self) {
        self.acts.clear();
        self.outputs.clear();
        self.at_hand = None;
        self.layers.iter_mut().for_each(|l| l.release());
    }
}

/// A chain within a chain: a block of one's own. It must have at least one layer.
impl Layer for Chain {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        Chain::extent(self, input)
    }

    fn forward(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<Activation> {
        let mut output = None;
        self.acts.clear();
        for layer in &mut self.layers {
            let y = layer.forward(device, output.as_ref().unwrap_or(x), mode)?;
            if let (Some(between), true) = (output.replace(y), mode != Mode::Infer) {
                self.acts.push(between);
            }
        }
        output.ok_or_else(|| Error::recipe("model.backbone", "a block without layers"))
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        Chain::backward(self, device, x, Some(y), grad, pass, true)
    }

    fn release(&mut self) {
        Chain::release(self);
    }

    fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        self.layers.iter_mut().try_for_each(|l| l.visit(f))
    }

    fn fuse(&mut self, device: &Device) -> Result<()> {
        self.layers.iter_mut().try_for_each(|l| l.fuse(device))
    }
}
