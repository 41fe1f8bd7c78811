//! Residual blocks (He et al. 2016): any chain of convolutions beside a shortcut.

use super::{Activation, ConvBnAct, Grad, GradNorm, ImageShape, Layer, Mode, Param, Pass};
use crate::{Error, Result};
use mlaan_engine::{Device, MemoryCategory, Tensor};

/// relu(convolutions(x) + shortcut(x)); the last convolution and the shortcut are normalised but not rectified.
#[derive(Debug)]
pub struct Residual {
    convs: Vec<ConvBnAct>,
    shortcut: Option<ConvBnAct>,
    /// Raw outputs of the convolutions, and of the shortcut, of the last forward.
    acts: Vec<Activation>,
    shortcut_act: Option<Activation>,
}

/// The output of a block on the way back.
#[allow(clippy::large_enum_variant)] // It lives for a call.
enum Output<'a> {
    /// Others read it on.
    Shared(&'a Activation),
    /// The pass is the last: all that it is through with goes.
    Last(Activation),
}

/// The gradient at the sum of a block, which both branches read, and each branch's normalisation.
struct AtSum {
    tensor: Tensor,
    main: Option<GradNorm>,
    side: Option<GradNorm>,
}

impl Residual {
    /// A block of at least one convolution; without `shortcut` the input itself is added.
    pub fn new(convs: Vec<ConvBnAct>, shortcut: Option<ConvBnAct>) -> Self {
        let acts = Vec::with_capacity(convs.len());
        Residual { convs, shortcut, acts, shortcut_act: None }
    }

    /// Runs the convolutions and the shortcut.
    fn branches(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<()> {
        self.release();
        for conv in &mut self.convs {
            let act = conv.forward(device, self.acts.last().unwrap_or(x), mode)?;
            if mode == Mode::Infer {
                self.acts.clear();
            }
            self.acts.push(act);
        }
        if let Some(conv) = &mut self.shortcut {
            self.shortcut_act = Some(conv.forward(device, x, mode)?);
        }
        Ok(())
    }

    /// The sum of both branches, rectified.
    fn joined(&self, device: &Device, x: &Activation) -> Result<Activation> {
        let side = self.shortcut_act.as_ref().unwrap_or(x);
        let main = self.acts.last().unwrap_or(x);
        Ok(Activation::plain(device.add(&main.operand(), Some(&side.operand()), true)?))
    }

    /// Through the rectifier, in place.
    fn at_sum(&self, device: &Device, y: &Activation, grad: Grad, weights: bool) -> Result<AtSum> {
        let norm = |act: Option<&Activation>| match act.filter(|a| a.norm.is_some()) {
            Some(a) => GradNorm::new(device, a.tensor.nhwc()[3], weights).map(Some),
            None => Ok(None),
        };
        let (last, side) = (self.acts.last(), self.shortcut_act.as_ref());
        let mut at = AtSum { tensor: grad.tensor, main: norm(last)?, side: norm(side)? };
        let (a, b) = (last.map(Activation::operand), side.map(Activation::operand));
        let parts = [
            a.as_ref().zip(at.main.as_mut()).map(|(x, n)| (x, n.sink())),
            b.as_ref().zip(at.side.as_mut()).map(|(x, n)| (x, n.sink())),
        ];
        device.add_backward(&mut at.tensor, Some(&y.tensor), parts)?;
        Ok(at)
    }

    /// From the sum back to the output of the first convolution.
    fn main_to_first(
        &mut self,
        device: &Device,
        at: &Tensor,
        norm: Option<GradNorm>,
        (pass, is_last): (Pass, bool),
    ) -> Result<(Option<Tensor>, Option<GradNorm>)> {
        let (mut tensor, mut norm): (Option<Tensor>, _) = (None, norm);
        // Where nothing below learns and nobody wants the gradient of the input, it goes no further.
        let learning = if pass.input { Some(0) } else { self.convs.iter().position(ConvBnAct::learns) };
        let last = learning.unwrap_or(self.convs.len());
        for i in (1..self.convs.len()).rev().take_while(|i| *i >= last) {
            let (x, y) = (&self.acts[i - 1], &self.acts[i]);
            let mut dx = if i > last { Some(Grad::of(device, x, pass.weights)?) } else { None };
            let grad = tensor.as_ref().unwrap_or(at);
            let out = dx.as_mut().map(|dx| dx.outgoing(false));
            self.convs[i].backward_into(device, (x, y), (grad, norm), pass.weights, out)?;
            if is_last {
                self.acts.truncate(i);
            }
            let Some(dx) = dx else { return Ok((None, None)) };
            (tensor, norm) = (Some(dx.tensor), dx.norm);
        }
        Ok((tensor, norm))
    }

    /// From the output to the input.
    fn back(
        &mut self,
        device: &Device,
        x: &Activation,
        y: Output<'_>,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let is_last = matches!(y, Output::Last(_));
        let AtSum { tensor: at, main, side } = match y {
            Output::Shared(y) => self.at_sum(device, y, grad, pass.weights)?,
            Output::Last(y) => self.at_sum(device, &y, grad, pass.weights)?,
        };
        let (first, norm) = self.main_to_first(device, &at, main, (pass, is_last))?;
        let Residual { convs, shortcut, acts, shortcut_act } = self;
        let mut dx = None;
        if let (Some(conv), Some(side_act)) = (shortcut, shortcut_act.as_ref()) {
            if pass.input {
                dx = Some(Grad::of(device, x, pass.weights)?);
            }
            // Sums for the input's normalisation wait for the other branch.
            let out = dx.as_mut().map(|g| mlaan_engine::ops::Outgoing { norm: None, ..g.outgoing(false) });
            conv.backward_into(device, (x, side_act), (&at, side), pass.weights, out)?;
            if is_last {
                *shortcut_act = None;
            }
        } else if pass.input && first.is_some() {
            // The shortcut's gradient is the one at the sum: the first convolution adds to it in place.
            let mut dx = Grad::over(device, at, x, pass.weights)?;
            if let (Some(conv), Some(y), Some(first)) = (convs.first_mut(), acts.first(), &first) {
                conv.backward_into(device, (x, y), (first, norm), pass.weights, Some(dx.outgoing(true)))?;
            }
            return Ok(Some(dx));
        } else if pass.input {
            let mut copy = device.alloc(at.shape(), at.dtype(), MemoryCategory::Gradients)?;
            device.copy(&mut copy, &at)?;
            dx = Some(Grad::over(device, copy, x, pass.weights)?);
        }
        if let (Some(conv), Some(y)) = (convs.first_mut(), acts.first()) {
            let out = dx.as_mut().map(|g| g.outgoing(true));
            conv.backward_into(device, (x, y), (first.as_ref().unwrap_or(&at), norm), pass.weights, out)?;
        }
        Ok(dx)
    }
}

impl Layer for Residual {
    fn extent(&self, input: ImageShape) -> Result<ImageShape> {
        let out = self.convs.iter().try_fold(input, |e, u| u.extent(e))?;
        let side = self.shortcut.as_ref().map_or(Ok(input), |s| s.extent(input))?;
        if side != out {
            let message = format!("a block turns {input} into {out}, but its shortcut gives {side}");
            return Err(Error::recipe("model", message));
        }
        Ok(out)
    }

    fn forward(&mut self, device: &Device, x: &Activation, mode: Mode) -> Result<Activation> {
        self.branches(device, x, mode)?;
        let out = self.joined(device, x)?;
        if mode == Mode::Infer {
            self.release();
        }
        Ok(out)
    }

    fn refill(&mut self, device: &Device, x: &Activation) -> Result<()> {
        self.branches(device, x, Mode::Recompute)
    }

    fn backward(
        &mut self,
        device: &Device,
        x: &Activation,
        y: &Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        self.back(device, x, Output::Shared(y), grad, pass)
    }

    fn backward_last(
        &mut self,
        device: &Device,
        x: &Activation,
        y: Activation,
        grad: Grad,
        pass: Pass,
    ) -> Result<Option<Grad>> {
        let dx = self.back(device, x, Output::Last(y), grad, pass)?;
        self.release();
        Ok(dx)
    }

    fn repeats_output(&self) -> bool {
        true
    }

    fn output_again(&self, device: &Device, x: &Activation) -> Result<Option<Activation>> {
        if self.acts.is_empty() { Ok(None) } else { self.joined(device, x).map(Some) }
    }

    fn release(&mut self) {
        self.acts.clear();
        self.shortcut_act = None;
    }

    fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        self.convs.iter_mut().chain(&mut self.shortcut).try_for_each(|c| c.visit(f))
    }

    fn fuse(&mut self, device: &Device) -> Result<()> {
        self.convs.iter_mut().chain(&mut self.shortcut).try_for_each(|c| c.fuse(device))
    }
}
