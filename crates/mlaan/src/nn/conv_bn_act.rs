//! Convolutions and linear layers, with BatchNorm and an activation if wanted: one pass each way.

use super::fixed::{Fixed, take_norm_in};
use super::{
    Activation, ActivationFunction, Builder, Grad, GradNorm, ImageShape, Layer, Mode, Param, Parameter, Pass,
    Role,
};
use crate::{Error, Result};
use mlaan_engine::ops::{Conv2dParams, Incoming, NormConstants, Outgoing, WeightGrad, Weights, norm};
use mlaan_engine::{DType, Device, MemoryCategory, Precision, Shape, Tensor};

/// What a [`ConvBnAct`] is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Name of the convolution or linear layer, as `layer1.0.conv1`.
    pub name: String,
    /// Name of the BatchNorm behind it, if there is one.
    pub norm: Option<String>,
    /// Input channels.
    pub input: usize,
    /// Output channels.
    pub output: usize,
    /// Window, step and border; a linear layer has `1x1`.
    pub window: Conv2dParams,
    /// Whether there is a bias.
    pub bias: bool,
    /// What is applied to the output.
    pub activation: ActivationFunction,
    /// A linear layer: its weight is `[out, in · k · k]` in checkpoints and starts uniform.
    pub linear: bool,
    /// Whether the output is stored in 32 bits whatever the device's precision: what a loss reads, and what is
    /// small anyway.
    pub wide: bool,
}

impl ConvSpec {
    /// A convolution without bias, normalised and rectified.
    pub fn convolution(
        name: impl Into<String>,
        norm: impl Into<String>,
        input: usize,
        output: usize,
        window: Conv2dParams,
    ) -> Self {
        let (name, norm) = (name.into(), Some(norm.into()));
        ConvSpec {
            name,
            norm,
            input,
            output,
            window,
            bias: false,
            activation: ActivationFunction::Relu,
            linear: false,
            wide: false,
        }
    }

    /// A linear layer with bias.
    pub fn linear(name: impl Into<String>, input: usize, output: usize) -> Self {
        let (name, window) = (name.into(), Conv2dParams { kernel: 1, stride: 1, pad: 0 });
        ConvSpec {
            name,
            norm: None,
            input,
            output,
            window,
            bias: true,
            activation: ActivationFunction::Identity,
            linear: true,
            wide: true,
        }
    }

    /// The same with another activation.
    pub fn activated(self, activation: ActivationFunction) -> Self {
        ConvSpec { activation, ..self }
    }

    /// The layer, with initial values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn build(self, b: &Builder<'_>) -> Result<Box<dyn Layer>> {
        Ok(Box::new(ConvBnAct::new(b, self)?))
    }
}

#[derive(Debug)]
struct Norm {
    weight: Parameter,
    bias: Parameter,
    mean: Tensor,
    variance: Tensor,
}

/// A convolution or linear layer, its BatchNorm and its activation. Only the convolution's output is stored: whoever
/// loads it applies the rest.
#[derive(Debug)]
pub struct ConvBnAct {
    spec: ConvSpec,
    weight: Parameter,
    bias: Option<Parameter>,
    norm: Option<Norm>,
    /// Once it is for inference only.
    fixed: Option<Fixed>,
}

impl ConvBnAct {
    /// A layer with initial values.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(b: &Builder<'_>, spec: ConvSpec) -> Result<Self> {
        let ConvSpec { input, output, window: Conv2dParams { kernel: k, .. }, .. } = spec;
        let shape = [output, input, k, k];
        let (fan_in, name) = (input * k * k, format!("{}.weight", spec.name));
        let weight = if spec.linear { b.uniform(&name, shape, fan_in)? } else { b.normal(&name, shape)? };
        let bias = if spec.bias {
            Some(b.parameter(b.uniform(&format!("{}.bias", spec.name), [output], fan_in)?)?)
        } else {
            None
        };
        let norm = match spec.norm {
            Some(_) => Some(Norm {
                weight: b.parameter(b.constant(output, 1.0)?)?,
                bias: b.parameter(b.constant(output, 0.0)?)?,
                mean: b.constant(output, 0.0)?,
                variance: b.constant(output, 1.0)?,
            }),
            None => None,
        };
        Ok(ConvBnAct { weight: b.parameter(weight)?, bias, norm, spec, fixed: None })
    }

    /// Whether any of its parameters learns.
    pub(super) fn learns(&self) -> bool {
        let norm = self.norm.iter().flat_map(|n| [&n.weight, &n.bias]);
        std::iter::once(&self.weight).chain(&self.bias).chain(norm).any(Parameter::learns)
    }

    /// As [`Layer::backward`], with the gradient's parts apart and the input's gradient going to `dx`.
    pub(super) fn backward_into(
        &mut self,
        device: &Device,
        (x, y): (&Activation, &Activation),
        (grad, grad_norm): (&Tensor, Option<GradNorm>),
        weights: bool,
        dx: Option<Outgoing<'_>>,
    ) -> Result<()> {
        // A gradient of the bias alone is not to be had.
        let conv = weights && (self.weight.learns() || self.bias.as_ref().is_some_and(Parameter::learns));
        let new = |t: &Tensor| device.alloc(t.shape(), DType::F32, MemoryCategory::Gradients);
        let mut dw = if conv { Some(new(&self.weight.value)?) } else { None };
        let mut db = match &self.bias {
            Some(b) if conv => Some(new(&b.value)?),
            _ => None,
        };
        let target = dw.as_mut().map(|weight| WeightGrad { weight, bias: db.as_mut() });
        if target.is_some() || dx.is_some() {
            let norm = grad_norm.as_ref().map(|n| (&y.tensor, &n.coefficients));
            let dy = Incoming { grad, norm };
            device.convolve_backward(self.spec.window, &x.operand(), &self.weight.value, &dy, dx, target)?;
        }
        if weights {
            self.weight.leave(dw);
            if let Some(b) = &mut self.bias {
                b.leave(db);
            }
            if let (Some(n), Some(g)) = (&mut self.norm, grad_norm) {
                n.weight.leave(g.weight);
                n.bias.leave(g.bias);
            }
        }
        Ok(())
    }
}

impl Layer for ConvBnAct {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        let (w, s) = (self.spec.window, &self.spec);
        let (height, width) = (w.output(input.height), w.output(input.width));
        if input.channels != s.input || height == 0 || width == 0 {
            let message = format!(
                "`{}` takes {} channels and a {}x{} window; its input is {input}",
                s.name, s.input, w.kernel, w.kernel
            );
            return Err(Error::recipe("model", message));
        }
        Ok(ImageShape { height, width, channels: s.output })
    }

    fn forward(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<Activation> {
        let (spec, c) = (&self.spec, self.spec.output);
        if let (Mode::Infer, Some(fixed)) = (mode, &mut self.fixed) {
            fixed.prepack(device, spec.window, x, &self.weight.value)?;
        }
        let rows = || device.alloc([norm::ROWS, c], DType::F32, MemoryCategory::Activations);
        let bias = self.bias.as_ref().map(|b| &b.value);
        let mut rows = if self.norm.is_some() { Some(rows()?) } else { None };
        let sums = if mode == Mode::Infer { None } else { rows.as_mut() };
        let precision = if spec.wide { Precision::F32 } else { device.precision() };
        let storing = device.with_precision(precision);
        let packed = self.fixed.as_ref().and_then(Fixed::weights);
        let weights = packed.unwrap_or(Weights::Plain(&self.weight.value));
        let tensor = storing.convolve(spec.window, &x.operand(), weights, bias, sums)?;
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
                Mode::Recompute => {
                    // The first forward moved the running statistics: these are thrown away.
                    let unused = || device.alloc([c], DType::F32, MemoryCategory::Activations);
                    let running = (&mut unused()?, &mut unused()?);
                    device.normalise_train(rows, weight, bias, running, count, constants)?;
                }
                Mode::Infer => {
                    device.normalise_eval(rows, weight, bias, (&n.mean, &n.variance), constants)?
                }
            }
        }
        Ok(Activation { tensor, norm: rows, activation: spec.activation })
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let mut dx = if pass.input { Some(Grad::of(device, x, pass.weights)?) } else { None };
        let out = dx.as_mut().map(|g| g.outgoing(false));
        self.backward_into(device, (x, y), (&grad.tensor, grad.norm), pass.weights, out)?;
        Ok(dx)
    }

    /// In PyTorch's order.
    fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        // Whoever sees the weights may change them.
        self.fixed.iter_mut().for_each(Fixed::changed);
        let ConvBnAct { spec, weight, bias, norm, .. } = self;
        let (k, owner, vector) = (spec.window.kernel, spec.name.as_str(), [spec.output]);
        let shape: Shape = match spec.linear {
            true => [spec.output, spec.input * k * k].into(),
            false => [spec.output, spec.input, k, k].into(),
        };
        f(Param::parameter((owner, "weight"), shape, Role::Weight, weight))?;
        if let Some(b) = bias {
            f(Param::parameter((owner, "bias"), vector, Role::Bias, b))?;
        }
        if let (Some(n), Some(owner)) = (norm, &spec.norm) {
            f(Param::parameter((owner, "weight"), vector, Role::Norm, &mut n.weight))?;
            f(Param::parameter((owner, "bias"), vector, Role::Norm, &mut n.bias))?;
            f(Param::buffer((owner, "running_mean"), vector, &mut n.mean))?;
            f(Param::buffer((owner, "running_var"), vector, &mut n.variance))?;
        }
        Ok(())
    }

    /// From now on weights are packed once for each size of images, not for each batch.
    fn fuse(&mut self, device: &Device) -> Result<()> {
        self.fixed = Some(Fixed::default());
        let Some(n) = self.norm.take() else { return Ok(()) };
        let norm = [&n.weight.value, &n.bias.value, &n.mean, &n.variance];
        let old = self.bias.as_ref().map(|b| &b.value);
        let value = take_norm_in(device, &mut self.weight.value, old, norm)?;
        self.bias = Some(Parameter { value, grad: None, state: None });
        (self.weight.state, self.spec.norm, self.spec.bias) = (None, None, true);
        Ok(())
    }
}
