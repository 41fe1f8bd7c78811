//! One local loss of a module: leap chain, auxiliary classifier, decoder (METHOD §4).

use super::features::Features;
use super::heads::decoder;
use super::leap::LeapChain;
use super::targets::{HeadLoss, LossOf, Supervision};
use super::{Branch, Method, TaskLoss, clip};
use crate::nn::optim::Rate;
use crate::nn::{Activation, Builder, Chain, Grad, ImageShape, Layer, Optimizer, Param, Pass, Through};
use crate::{Error, Result};
use mlaan_engine::ops::LossTarget;
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};

/// The auxiliary network of one branch of one module.
pub struct Auxiliary {
    /// Its own; or one that it borrows while it is used, where modules share one.
    leap: Option<LeapChain>,
    head: Chain,
    decoder: Option<Chain>,
    /// Whose loss it is.
    of: LossOf,
    loss: TaskLoss,
    temperature: f32,
    /// λ1 and λ2 at this module.
    reconstruct: f32,
    task: f32,
    /// w_ind or w_cas.
    weight: f32,
}

/// What is done between the parts of a pass.
pub(super) struct Between<'a> {
    /// Between forward and backward.
    pub turn: &'a mut dyn FnMut() -> Result<()>,
    /// With every layer that has its gradients, and with every mirror.
    pub through: Through<'a>,
    pub through_mirror: Through<'a>,
    /// The step's number, from 1.
    pub step: u64,
}

/// What names the parts of a loss's auxiliary network, as `ind_3`.
pub(super) fn network_name(of: LossOf) -> String {
    let branch = match of.branch {
        Branch::Independent => "ind",
        Branch::Cascaded => "cas",
    };
    format!("{branch}_{}", of.module)
}

/// λ at module `j` of `modules`: linear from its first value at the first to its last at the last local loss.
pub(super) fn schedule(ends: [f64; 2], j: usize, modules: usize) -> f64 {
    let r = if modules > 2 { j as f64 / (modules - 2) as f64 } else { 0.0 };
    ends[0] * (1.0 - r) + ends[1] * r
}

impl Auxiliary {
    /// The auxiliary network of a loss behind one of `modules` modules, still without its leap chain, where it has one. `features`: the
    /// shape of what its classifier sees, behind the chain. `image`, `classes` and `deepest`: the network's images, classes and
    /// last features.
    ///
    /// # Errors
    /// A classifier that does not fit; out of memory.
    pub fn new(
        method: &Method,
        (of, modules): (LossOf, usize),
        features: ImageShape,
        (image, classes, deepest): (ImageShape, usize, usize),
        b: &Builder<'_>,
    ) -> Result<Self> {
        let (LossOf { module: j, branch }, name) = (of, network_name(of));
        let outputs = if method.loss == TaskLoss::Contrastive { method.hidden } else { classes };
        let sizes = (method.hidden, outputs);
        let head = Chain::new(method.head.build(features, sizes, deepest, &format!("aux.head_{name}"), b)?);
        let decoder = if method.reconstruct.iter().any(|&l| l > 0.0) {
            Some(Chain::new(decoder(features.channels, image, &format!("aux.decoder_{name}"), b)?))
        } else {
            None
        };
        head.extent(features)?;
        Ok(Auxiliary {
            leap: None,
            head,
            decoder,
            of,
            loss: method.loss,
            temperature: method.temperature as f32,
            reconstruct: schedule(method.reconstruct, j, modules) as f32,
            task: schedule(method.task, j, modules) as f32,
            weight: method.weight(branch) as f32,
        })
    }

    /// λ1, λ2 of this module.
    pub fn lambdas(&self) -> (f32, f32) {
        (self.reconstruct, self.task)
    }

    /// Blocks that the leap chain mirrors; empty without one.
    pub fn sources(&self) -> &[usize] {
        self.leap.as_ref().map_or(&[], LeapChain::sources)
    }

    /// The leap chain.
    pub fn leap_mut(&mut self) -> Option<&mut LeapChain> {
        self.leap.as_mut()
    }

    /// Gives it a leap chain, or takes its own away; what it had.
    pub(super) fn exchange_leap(&mut self, leap: Option<LeapChain>) -> Option<LeapChain> {
        std::mem::replace(&mut self.leap, leap)
    }

    /// Whether it classifies (its second loss column counts errors).
    pub fn classifies(&self) -> bool {
        self.loss == TaskLoss::CrossEntropy
    }

    /// Calls `f` with every parameter and buffer.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        self.visit_own(false, f)
    }

    /// As [`Auxiliary::visit`], without a leap chain that it shares.
    ///
    /// # Errors
    /// What `f` returns.
    pub(super) fn visit_own(
        &mut self,
        shares: bool,
        f: &mut dyn FnMut(Param<'_>) -> Result<()>,
    ) -> Result<()> {
        if !shares {
            self.visit_leap(f)?;
        }
        self.head.visit(f)?;
        self.decoder.as_mut().map_or(Ok(()), |d| d.visit(f))
    }

    /// As [`Auxiliary::visit`], of the leap chain alone.
    ///
    /// # Errors
    /// What `f` returns.
    pub(super) fn visit_leap(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        self.leap.as_mut().map_or(Ok(()), |leap| leap.visit(f))
    }

    /// As [`Layer::fuse`].
    ///
    /// # Errors
    /// From the device.
    pub fn fuse(&mut self, device: &Device) -> Result<()> {
        if let Some(l) = &mut self.leap {
            l.fuse(device)?;
        }
        self.head.fuse(device)?;
        self.decoder.as_mut().map_or(Ok(()), |d| d.fuse(device))
    }

    /// Forward, loss and backward over a module's output; leaves gradients in the parameters, writes the task loss
    /// to `row` of `values` and the reconstruction loss to the next, and returns the weighted gradient of the features.
    ///
    /// # Errors
    /// From the device.
    pub(super) fn local_backward(
        &mut self,
        device: &Device,
        features: &mut Features<'_>,
        supervision: Supervision<'_>,
        (values, row): (&mut Tensor, usize),
        steps: Between<'_>,
    ) -> Result<Option<Grad>> {
        if let Some(l) = &mut self.leap {
            l.forward(device, features)?;
        }
        let x = match self.leap.as_ref().and_then(LeapChain::output) {
            Some(x) => x,
            None => features.get()?,
        };
        let pass = Pass { weights: true, input: true };

        self.head.forward(device, x)?;
        let output = &self.head.output(x).tensor;
        let mut grad = device.alloc(output.shape(), DType::F32, MemoryCategory::Gradients)?;
        let target = LossTarget {
            weight: self.weight * self.task * supervision.share,
            grad: Some(&mut grad),
            values: &mut *values,
            row,
        };
        let (kind, temperature, classes) = (self.loss, self.temperature, supervision.classes);
        supervision.targets.loss(
            device,
            HeadLoss { of: Some(self.of), kind, temperature, classes },
            output,
            target,
        )?;
        let Between { turn, through, through_mirror, step } = steps;
        turn()?;
        let grad = Grad::plain(grad);
        let mut dx = self.head.backward_last_each(device, x, grad, pass, &mut *through)?;

        if let Some(decoder) = &mut self.decoder {
            decoder.forward(device, x)?;
            let raw = &decoder.output(x).tensor;
            let mut grad = device.alloc(raw.shape(), DType::F32, MemoryCategory::Gradients)?;
            let weight = self.weight * self.reconstruct * supervision.share;
            let target = LossTarget { weight, grad: Some(&mut grad), values, row: row + 1 };
            let missing = || Error::recipe("local.reconstruct", "a decoder needs the images of the batch");
            let images = supervision.images.ok_or_else(missing)?;
            device.reconstruction(raw, images, supervision.pixels, target)?;
            let grad = Grad::plain(grad);
            let rebuilt = decoder.backward_last_each(device, x, grad, pass, &mut *through)?;
            if let (Some(dx), Some(rebuilt)) = (&mut dx, rebuilt) {
                device.add_assign(&mut dx.tensor, &rebuilt.tensor)?;
            }
        }
        match (&mut self.leap, dx) {
            (Some(l), Some(g)) => l.backward(device, features, (g, step), through_mirror),
            (_, dx) => Ok(dx),
        }
    }

    /// The head's output `[n, outputs]` for a module's output, with running statistics: logits where it classifies.
    ///
    /// # Errors
    /// From the device.
    pub fn infer(&mut self, device: &Device, features: &Activation) -> Result<Tensor> {
        // The head takes its input over; a join with nothing is a copy.
        let x = match &mut self.leap {
            Some(l) => l.infer(device, features)?,
            None => Activation::plain(device.add(&features.operand(), None, false)?),
        };
        Ok(self.head.infer(device, x)?.tensor)
    }

    /// Applies the gradients that the backward pass of its loss left.
    ///
    /// # Errors
    /// From the device.
    pub fn update(&mut self, device: &Device, optimizer: &Optimizer, rate: Rate) -> Result<()> {
        clip::clipped(device, optimizer, &mut |f| self.visit(f))?;
        let of_mirrors = self.mirrors_rate(rate);
        self.visit_leap(&mut |p| optimizer.update(device, p, of_mirrors))?;
        self.visit_own(true, &mut |p| optimizer.update(device, p, rate))
    }

    /// The rate of mirrors: an optimiser counts the updates of a parameter, not the steps.
    pub(super) fn mirrors_rate(&self, rate: Rate) -> Rate {
        self.leap.as_ref().map_or(rate, |leap| Rate { step: leap.updates_by(rate.step), ..rate })
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        self.head.release();
        if let Some(l) = &mut self.leap {
            l.release();
        }
        if let Some(d) = &mut self.decoder {
            d.release();
        }
    }
}
