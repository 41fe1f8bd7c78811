//! One training step: the same for backpropagation and every local method.
//!
//! Modules are visited in order, each running forward once. Behind module j its losses are taken; the cascaded
//! one's gradient goes back through the window of modules that ends at j (METHOD §5). A module whose last window
//! has passed is closed: its weight gradients are taken once, from the sum of all gradients that reached it, its
//! parameters are updated and its activations freed. So at most `span` modules are open at a time.

use super::branch::{Auxiliary, Lesson};
use super::learner::{Blocks, Learner};
use super::meter::Part;
use super::{Branch, StepReport};
use crate::nn::optim::Rate;
use crate::nn::{Act, Activation, Grad, Layer, Pass};
use crate::{Error, Result};
use mlaan_engine::ops::{Labels, LossTarget};
use mlaan_engine::{DType, Purpose, Tensor};

/// What changes of the optimiser from step to step: learning rates, which may differ by part (METHOD §7), and the
/// step's number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOptions {
    /// Learning rate of the backbone.
    pub backbone: f32,
    /// Of the independent auxiliary networks.
    pub independent: f32,
    /// Of the cascaded auxiliary networks.
    pub cascaded: f32,
    /// Number of the step since training began, from 1.
    pub step: u64,
}

impl StepOptions {
    /// One learning rate for all parts.
    pub fn uniform(lr: f32, step: u64) -> Self {
        StepOptions { backbone: lr, independent: lr, cascaded: lr, step }
    }

    /// For the backbone.
    fn own(&self) -> Rate {
        Rate { lr: self.backbone, step: self.step }
    }

    /// For the auxiliary networks of a branch.
    fn of(&self, branch: Branch) -> Rate {
        let lr = if branch == Branch::Independent { self.independent } else { self.cascaded };
        Rate { lr, step: self.step }
    }
}

impl Learner {
    /// Trains on one batch: normalised images `[n, h, w, 3]` and labels `[n]`, of mixtures two each. Waits for its
    /// losses; those of deferred steps before it that nobody read are dropped.
    ///
    /// # Errors
    /// From the device; mixtures where a loss has no meaning for them; a network for inference. The parameters may then be those of a step half
    /// done.
    pub fn step<'a>(
        &mut self,
        images: Tensor,
        labels: impl Into<Labels<'a>>,
        options: &StepOptions,
    ) -> Result<&StepReport> {
        self.step_deferred(images, labels, options)?;
        self.last_report()
    }

    /// As [`Learner::step`], leaving the losses on the device: to read them is to wait for it, and a GPU then waits for
    /// the next step. [`Learner::reports`] reads those of all steps since; to be called now and then, best when
    /// [`Learner::unread`] has come to [`Learner::deferrable`].
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn step_deferred<'a>(
        &mut self,
        images: Tensor,
        labels: impl Into<Labels<'a>>,
        options: &StepOptions,
    ) -> Result<()> {
        if self.optimizer.is_none() {
            let message = "this network was built for inference and cannot learn; build it with an optimiser";
            return Err(Error::recipe("train", message));
        }
        self.whole_pass(images, labels.into(), Some(options))
    }

    /// As [`Learner::step`] without updates: the gradients stay in the parameters.
    ///
    /// # Errors
    /// As [`Learner::step`].
    pub fn gradients<'a>(&mut self, images: Tensor, labels: impl Into<Labels<'a>>) -> Result<&StepReport> {
        self.whole_pass(images, labels.into(), None)?;
        self.last_report()
    }

    fn whole_pass(
        &mut self,
        images: Tensor,
        labels: Labels<'_>,
        options: Option<&StepOptions>,
    ) -> Result<()> {
        self.make_room()?;
        let done = self.pass(images, labels, options);
        match done {
            Ok(()) => self.losses.advance(),
            Err(_) => self.release(),
        }
        done
    }

    fn pass(&mut self, images: Tensor, labels: Labels<'_>, options: Option<&StepOptions>) -> Result<()> {
        let (last, span) = (self.modules.len() - 1, self.method.span());
        let images = Act::plain(images);
        for j in 0..=last {
            self.metered(j, Part::Forward, |l| l.forward_module(j, &images))?;
            self.drop_outputs(j, span);
            let lesson = Lesson { images: &images.tensor, labels, pixels: self.task.pixels };
            let carried = self.metered(j, Part::Auxiliary, |l| match j == last {
                true => l.teach_last(labels, options),
                false => l.teach(j, &lesson, options),
            })?;
            self.restore_outputs(j, span, &images)?;
            if let Some(grad) = carried {
                self.cascade_back(j, span, grad, &images)?;
            }
            if j + 1 >= span {
                self.close(j + 1 - span, &images, options)?;
            }
        }
        for m in (last + 2).saturating_sub(span)..=last {
            self.close(m, &images, options)?;
        }
        self.modules[last].output = None;
        if options.is_some() { self.follow_sources() } else { Ok(()) }
    }

    fn forward_module(&mut self, j: usize, images: &Act) -> Result<()> {
        let (below, rest) = self.modules.split_at_mut(j);
        let x = below.last().and_then(|m| m.output.as_ref()).unwrap_or(images);
        let module = &mut rest[0];
        module.chain.forward(&self.device, x)?;
        let output = module.chain.take_output();
        if output.as_ref().is_some_and(|o| o.norm.is_some() || o.activation != Activation::Identity) {
            let message = "a module's output must be a plain value: end the stem and every block with Rectify or a join";
            return Err(Error::recipe("model.backbone", message));
        }
        module.output = output;
        Ok(())
    }

    /// The open modules below module `j`.
    fn open_below(j: usize, span: usize) -> std::ops::Range<usize> {
        (j + 1).saturating_sub(span)..j
    }

    /// Drops the outputs of open modules that can be had again: nobody reads them while module `j` is taught, which
    /// is when a step needs the most memory.
    fn drop_outputs(&mut self, j: usize, span: usize) {
        for m in self.modules[Self::open_below(j, span)].iter_mut().filter(|m| m.chain.repeats_output()) {
            m.output = None;
        }
    }

    /// Undoes [`Learner::drop_outputs`].
    fn restore_outputs(&mut self, j: usize, span: usize, images: &Act) -> Result<()> {
        for m in Self::open_below(j, span) {
            let (below, rest) = self.modules.split_at_mut(m);
            let module = &mut rest[0];
            if module.output.is_none() {
                let x = below.last().and_then(|b| b.output.as_ref()).unwrap_or(images);
                let again = module.chain.output_again(&self.device, x)?;
                let lost = || Error::recipe("model.backbone", "a block that repeats its output did not");
                module.output = Some(again.ok_or_else(lost)?);
            }
        }
        Ok(())
    }

    /// Both local losses behind module `j`; returns the cascaded one's gradient.
    fn teach(
        &mut self,
        j: usize,
        lesson: &Lesson<'_>,
        options: Option<&StepOptions>,
    ) -> Result<Option<Grad>> {
        let Learner { device, modules, branches, losses, optimizer, .. } = self;
        let module = &mut modules[j];
        let mut carried = None;
        // The cascaded one, often with a leap chain, is the larger: no other gradient waits while it is taken.
        let pair = [Branch::Independent, Branch::Cascaded].into_iter().zip(&mut branches[j]);
        for (branch, auxiliary) in pair.rev() {
            let (Some(a), Some(features)) = (auxiliary, &module.output) else { continue };
            let row = losses.row(j, branch);
            let grad = a.teach(device, features, lesson, losses.values(), row)?;
            if let (Some(o), Some(optimizer)) = (options, &*optimizer) {
                a.update(device, optimizer, o.of(branch))?;
            }
            match branch {
                Branch::Cascaded => carried = grad,
                Branch::Independent => {
                    if let Some(g) = grad {
                        module.add_total(device, g.tensor)?;
                    }
                }
            }
        }
        Ok(carried)
    }

    /// The classifier behind the last module serves both losses; its weights learn from their sum.
    fn teach_last(&mut self, labels: Labels<'_>, options: Option<&StepOptions>) -> Result<Option<Grad>> {
        let Learner { device, modules, classifier, losses, method, optimizer, .. } = self;
        let j = modules.len() - 1;
        let module = &mut modules[j];
        let Some(features) = &module.output else { return Ok(None) };
        classifier.forward(device, features)?;
        let mut backward = |weight: f64, pass: Pass, keep: bool| {
            let logits = &classifier.output(features).tensor;
            let mut grad = device.alloc(logits.shape(), DType::F32, Purpose::Gradients)?;
            let row = losses.row(j, Branch::Independent);
            let target =
                LossTarget { weight: weight as f32, grad: Some(&mut grad), values: losses.values(), row };
            device.cross_entropy(logits, labels, target)?;
            classifier.backward(device, features, None, Grad::plain(grad), pass, keep)
        };
        let (w_ind, w_cas) = (method.weight(Branch::Independent), method.weight(Branch::Cascaded));
        let input_only = Pass { weights: false, input: true };
        // What goes down the window is the cascaded part alone; the weights learn from both.
        let (own, carried) = if method.span() > 1 && j > 0 {
            let (own, carried) = (backward(w_ind, input_only, true)?, backward(w_cas, input_only, true)?);
            backward(w_ind + w_cas, Pass { weights: true, input: false }, false)?;
            (own, carried)
        } else {
            (backward(w_ind + w_cas, Pass { weights: true, input: true }, false)?, None)
        };
        if let Some(g) = own {
            module.add_total(device, g.tensor)?;
        }
        if let (Some(o), Some(optimizer)) = (options, optimizer) {
            classifier.visit(&mut |p| optimizer.update(device, p, o.own()))?;
        }
        Ok(carried)
    }

    /// Takes the gradient of cascade `j` back through its window, adding it to every module's sum on the way.
    fn cascade_back(&mut self, j: usize, span: usize, grad: Grad, images: &Act) -> Result<()> {
        let start = (j + 1).saturating_sub(span);
        let mut grad = grad;
        for m in (start..=j).rev() {
            if m == start {
                return self.modules[m].add_total(&self.device, grad.tensor);
            }
            match self.metered(m, Part::Backward, |l| l.through(m, grad, images))? {
                Some(g) => grad = g,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A cascade's gradient through module `m`, without weight gradients.
    fn through(&mut self, m: usize, grad: Grad, images: &Act) -> Result<Option<Grad>> {
        let (below, rest) = self.modules.split_at_mut(m);
        let module = &mut rest[0];
        module.add_copy(&self.device, &grad)?;
        let x = below.last().and_then(|b| b.output.as_ref()).unwrap_or(images);
        let pass = Pass { weights: false, input: true };
        module.chain.backward(&self.device, x, module.output.as_ref(), grad, pass, true)
    }

    /// Weight gradients of module `m` from all that reached it, its update, and the end of its activations.
    fn close(&mut self, m: usize, images: &Act, options: Option<&StepOptions>) -> Result<()> {
        self.metered(m, Part::Backward, |l| l.close_module(m, images, options))
    }

    fn close_module(&mut self, m: usize, images: &Act, options: Option<&StepOptions>) -> Result<()> {
        let (below, rest) = self.modules.split_at_mut(m);
        let module = &mut rest[0];
        let x = below.last().and_then(|b| b.output.as_ref()).unwrap_or(images);
        if let Some(total) = module.total.take() {
            let pass = Pass { weights: true, input: false };
            module.chain.backward(
                &self.device,
                x,
                module.output.as_ref(),
                Grad::plain(total),
                pass,
                false,
            )?;
        }
        module.chain.release();
        if let (Some(o), Some(optimizer)) = (options, self.optimizer) {
            module.chain.visit(&mut |p| optimizer.update(&self.device, p, o.own()))?;
        }
        // Nobody reads the features below any more.
        if let Some(b) = below.last_mut() {
            b.output = None;
        }
        Ok(())
    }

    /// Moves mirrors or shadows towards their sources.
    fn follow_sources(&mut self) -> Result<()> {
        let Learner { device, partition, modules, branches, .. } = self;
        for leap in branches.iter_mut().flatten().flatten().filter_map(Auxiliary::leap_mut) {
            leap.follow(device, &mut Blocks { modules, partition })?;
        }
        Ok(())
    }
}
