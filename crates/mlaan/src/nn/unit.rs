//! The unit of networks: a convolution or linear layer, with BatchNorm and ReLU if wanted.

use super::fixed::Fixed;
use super::{Act, Builder, Extent, Grad, GradNorm, Layer, Mode, Pass};
use crate::{Error, Result};
use mlaan_engine::ops::{Incoming, NormConstants, Outgoing, Sgd, WeightGrad, Window, norm};
use mlaan_engine::{DType, Device, Precision, Purpose, Tensor};

/// A tensor that learns.
#[derive(Debug)]
pub struct Parameter {
    /// Its values.
    pub value: Tensor,
    /// Momentum; none for a parameter that only follows another.
    pub velocity: Option<Tensor>,
    /// The gradient of this step, between backward and update.
    pub grad: Option<Tensor>,
}

impl Parameter {
    fn new(b: &Builder<'_>, value: Tensor) -> Result<Self> {
        let velocity = b.velocity(&value)?;
        Ok(Parameter { value, velocity, grad: None })
    }

    /// Applies and frees the gradient.
    fn update(&mut self, device: &Device, sgd: Sgd) -> Result<()> {
        if let (Some(grad), Some(velocity)) = (self.grad.take(), self.velocity.as_mut()) {
            device.sgd(&mut self.value, &grad, velocity, sgd)?;
        }
        Ok(())
    }
}

/// What a [`Unit`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSpec {
    /// Name of the convolution or linear layer, as `layer1.0.conv1`.
    pub name: String,
    /// Name of the BatchNorm behind it, if there is one.
    pub norm: Option<String>,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Window; a linear layer has `1x1`.
    pub window: Window,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether the output is rectified.
    pub relu: bool,
    /// A linear layer: its weight is `[out, in · k · k]` in checkpoints and starts uniform.
    pub linear: bool,
    /// Whether the output is stored in 32 bits whatever the device's precision: what a loss reads, and what is
    /// small anyway.
    pub wide: bool,
}

impl UnitSpec {
    /// A convolution without bias, normalised and rectified.
    pub fn convolution(
        name: impl Into<String>,
        norm: impl Into<String>,
        input: usize,
        output: usize,
        window: Window,
    ) -> Self {
        let (name, norm) = (name.into(), Some(norm.into()));
        UnitSpec { name, norm, input, output, window, bias: false, relu: true, linear: false, wide: false }
    }

    /// A linear layer with bias.
    pub fn linear(name: impl Into<String>, input: usize, output: usize) -> Self {
        let (name, window) = (name.into(), Window { kernel: 1, stride: 1, pad: 0 });
        UnitSpec {
            name,
            norm: None,
            input,
            output,
            window,
            bias: true,
            relu: false,
            linear: true,
            wide: true,
        }
    }

    /// The same with or without a rectifier.
    pub fn rectified(self, relu: bool) -> Self {
        UnitSpec { relu, ..self }
    }
}

#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Parameter,
    pub bias: Parameter,
    pub mean: Tensor,
    pub variance: Tensor,
}

/// See the module.
#[derive(Debug)]
pub struct Unit {
    pub(super) spec: UnitSpec,
    pub(super) weight: Parameter,
    pub(super) bias: Option<Parameter>,
    pub(super) norm: Option<Norm>,
    /// Once it is for inference only.
    pub(super) fixed: Option<Fixed>,
}

/// One named tensor of a unit.
#[derive(Debug)]
pub struct Slot<'a> {
    /// The unit's part, as `layer1.0.conv1`.
    pub owner: &'a str,
    /// The tensor within it, as `weight`.
    pub leaf: &'static str,
    /// The extents in checkpoints.
    pub shape: Vec<usize>,
    /// The tensor.
    pub kind: SlotKind<'a>,
}

/// See [`Slot`].
#[derive(Debug)]
pub enum SlotKind<'a> {
    /// It learns, or follows one that does.
    Parameter(&'a mut Parameter),
    /// Running statistics.
    Buffer(&'a mut Tensor),
}

impl Unit {
    /// A unit with initial values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(b: &Builder<'_>, spec: UnitSpec) -> Result<Self> {
        let UnitSpec { input, output, window: Window { kernel: k, .. }, .. } = spec;
        let shape = [output, input, k, k];
        let (fan_in, name) = (input * k * k, format!("{}.weight", spec.name));
        let weight = if spec.linear { b.uniform(&name, shape, fan_in)? } else { b.normal(&name, shape)? };
        let bias = if spec.bias {
            Some(Parameter::new(b, b.uniform(&format!("{}.bias", spec.name), [output], fan_in)?)?)
        } else {
            None
        };
        let norm = match spec.norm {
            Some(_) => Some(Norm {
                weight: Parameter::new(b, b.constant(output, 1.0)?)?,
                bias: Parameter::new(b, b.constant(output, 0.0)?)?,
                mean: b.constant(output, 0.0)?,
                variance: b.constant(output, 1.0)?,
            }),
            None => None,
        };
        Ok(Unit { weight: Parameter::new(b, weight)?, bias, norm, spec, fixed: None })
    }

    /// What it is made of.
    pub fn spec(&self) -> &UnitSpec {
        &self.spec
    }

    /// Number of values that learn.
    pub fn parameters(&self) -> usize {
        let norm = if self.norm.is_some() { 2 * self.spec.output } else { 0 };
        self.weight.value.len() + self.bias.as_ref().map_or(0, |b| b.value.len()) + norm
    }

    /// Calls `f` with every tensor, in PyTorch's order.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn slots(&mut self, f: &mut dyn FnMut(Slot<'_>) -> Result<()>) -> Result<()> {
        self.changed();
        let spec = &self.spec;
        let (k, vector) = (spec.window.kernel, vec![spec.output]);
        let shape = match spec.linear {
            true => vec![spec.output, spec.input * k * k],
            false => vec![spec.output, spec.input, k, k],
        };
        let owner = spec.name.as_str();
        let parameter = |owner, leaf, shape, p| Slot { owner, leaf, shape, kind: SlotKind::Parameter(p) };
        f(parameter(owner, "weight", shape, &mut self.weight))?;
        if let Some(b) = &mut self.bias {
            f(parameter(owner, "bias", vector.clone(), b))?;
        }
        if let (Some(n), Some(owner)) = (&mut self.norm, &spec.norm) {
            f(parameter(owner, "weight", vector.clone(), &mut n.weight))?;
            f(parameter(owner, "bias", vector.clone(), &mut n.bias))?;
            let buffer = |leaf, t| Slot { owner, leaf, shape: vector.clone(), kind: SlotKind::Buffer(t) };
            f(buffer("running_mean", &mut n.mean))?;
            f(buffer("running_var", &mut n.variance))?;
        }
        Ok(())
    }

    /// Applies the gradients of this step and frees them.
    ///
    /// # Errors
    /// From the device.
    pub fn update(&mut self, device: &Device, sgd: Sgd) -> Result<()> {
        self.weight.update(device, sgd)?;
        if let Some(b) = &mut self.bias {
            b.update(device, sgd)?;
        }
        if let Some(n) = &mut self.norm {
            n.weight.update(device, sgd)?;
            n.bias.update(device, sgd)?;
        }
        Ok(())
    }

    /// Parameters ← m · parameters + (1 - m) · those of `source` (METHOD §6); running statistics stay.
    ///
    /// # Errors
    /// When the two have different extents.
    pub fn follow(&mut self, device: &Device, source: &Unit, m: f32) -> Result<()> {
        self.changed();
        device.ema(&mut self.weight.value, &source.weight.value, m)?;
        if let (Some(t), Some(s)) = (&mut self.bias, &source.bias) {
            device.ema(&mut t.value, &s.value, m)?;
        }
        if let (Some(t), Some(s)) = (&mut self.norm, &source.norm) {
            device.ema(&mut t.weight.value, &s.weight.value, m)?;
            device.ema(&mut t.bias.value, &s.bias.value, m)?;
        }
        Ok(())
    }

    /// Takes over all values of `source`.
    ///
    /// # Errors
    /// When the two have different extents.
    pub fn copy_from(&mut self, device: &Device, source: &Unit) -> Result<()> {
        self.changed();
        device.copy(&mut self.weight.value, &source.weight.value)?;
        if let (Some(t), Some(s)) = (&mut self.bias, &source.bias) {
            device.copy(&mut t.value, &s.value)?;
        }
        if let (Some(t), Some(s)) = (&mut self.norm, &source.norm) {
            device.copy(&mut t.weight.value, &s.weight.value)?;
            device.copy(&mut t.bias.value, &s.bias.value)?;
            device.copy(&mut t.mean, &s.mean)?;
            device.copy(&mut t.variance, &s.variance)?;
        }
        Ok(())
    }

    /// As [`Layer::backward`], with the gradient's parts apart and the input's gradient going to `dx`.
    pub(super) fn backward_into(
        &mut self,
        device: &Device,
        (x, y): (&Act, &Act),
        (grad, grad_norm): (&Tensor, Option<GradNorm>),
        weights: bool,
        dx: Option<Outgoing<'_>>,
    ) -> Result<()> {
        let weights = weights && self.weight.velocity.is_some();
        let new = |t: &Tensor| device.alloc(t.shape(), DType::F32, Purpose::Gradients);
        let mut dw = if weights { Some(new(&self.weight.value)?) } else { None };
        let mut db = match &self.bias {
            Some(b) if weights => Some(new(&b.value)?),
            _ => None,
        };
        let target = dw.as_mut().map(|weight| WeightGrad { weight, bias: db.as_mut() });
        if target.is_some() || dx.is_some() {
            let norm = grad_norm.as_ref().map(|n| (&y.tensor, &n.coefficients));
            let dy = Incoming { grad, norm };
            device.convolve_backward(self.spec.window, &x.operand(), &self.weight.value, &dy, dx, target)?;
        }
        if weights {
            self.weight.grad = dw;
            if let Some(b) = &mut self.bias {
                b.grad = db;
            }
            if let (Some(n), Some(g)) = (&mut self.norm, grad_norm) {
                n.weight.grad = g.weight;
                n.bias.grad = g.bias;
            }
        }
        Ok(())
    }
}

impl Layer for Unit {
    fn extent(&self, input: Extent) -> Result<Extent> {
        let (w, s) = (self.spec.window, &self.spec);
        let (height, width) = (w.output(input.height), w.output(input.width));
        if input.channels != s.input || height == 0 || width == 0 {
            let message = format!(
                "`{}` takes {} channels and a {}x{} window; its input is {input}",
                s.name, s.input, w.kernel, w.kernel
            );
            return Err(Error::recipe("model", message));
        }
        Ok(Extent { height, width, channels: s.output })
    }

    fn forward(&mut self, device: &Device, x: &Act, mode: Mode) -> Result<Act> {
        if mode == Mode::Infer {
            self.arrange(device, x)?;
        }
        let (spec, c) = (&self.spec, self.spec.output);
        let rows = || device.alloc([norm::ROWS, c], DType::F32, Purpose::Activations);
        let bias = self.bias.as_ref().map(|b| &b.value);
        let mut rows = if self.norm.is_some() { Some(rows()?) } else { None };
        let sums = if mode == Mode::Infer { None } else { rows.as_mut() };
        let precision = if spec.wide { Precision::F32 } else { device.precision() };
        let storing = device.with_precision(precision);
        let tensor = storing.convolve(spec.window, &x.operand(), self.weights(), bias, sums)?;
        if let (Some(n), Some(rows)) = (&mut self.norm, &mut rows) {
            let (weight, bias, constants) = (&n.weight.value, &n.bias.value, NormConstants::default());
            let count = tensor.len() / c;
            match mode {
                Mode::Train => {
                    device.normalise_train(
                        rows,
                        weight,
                        bias,
                        (&mut n.mean, &mut n.variance),
                        count,
                        constants,
                    )?;
                }
                Mode::Again => {
                    // The first forward moved the running statistics: these are thrown away.
                    let unused = || device.alloc([c], DType::F32, Purpose::Activations);
                    let running = (&mut unused()?, &mut unused()?);
                    device.normalise_train(rows, weight, bias, running, count, constants)?;
                }
                Mode::Infer => {
                    device.normalise_eval(rows, weight, bias, (&n.mean, &n.variance), constants)?
                }
            }
        }
        Ok(Act { tensor, norm: rows, relu: spec.relu })
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Act,
        y: &Act,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let mut dx = if pass.input { Some(Grad::of(device, x, pass.weights)?) } else { None };
        let out = dx.as_mut().map(|g| g.outgoing(false));
        self.backward_into(device, (x, y), (&grad.tensor, grad.norm), pass.weights, out)?;
        Ok(dx)
    }

    fn unit(&mut self, index: usize) -> Option<&mut Unit> {
        (index == 0).then_some(self)
    }
}
