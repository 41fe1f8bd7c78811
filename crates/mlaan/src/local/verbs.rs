//! What a stage does at each verb of its [`Schedule`](super::schedule).

use super::link::{Kind, Link, Message, Values, broken};
use super::meter::Part;
use super::module::Module;
use super::objective::class_loss;
use super::schedule::Verb;
use super::sources::{Blocks, Sent};
use super::stage::{Batch, Stage};
use super::targets::{HeadLoss, Supervision};
use super::{Auxiliary, Branch, clip};
use crate::nn::optim::Rate;
use crate::nn::{Activation, ActivationFunction, Grad, Layer, Optimizer, Pass};
use crate::{Error, Result};
use mlaan_engine::ops::LossTarget;
use mlaan_engine::{DType, MemoryCategory, Tensor};
use std::ops::Range;

/// Places in [`Stage::gathered`].
const MODULE: usize = 0;
const INDEPENDENT: usize = 1;
const CASCADED: usize = 2;

impl Stage {
    /// Does one piece of work.
    ///
    /// # Errors
    /// From the device; the end of a stage that is waited for.
    pub fn run(&mut self, verb: Verb, batch: Batch<'_>, link: &mut dyn Link) -> Result<()> {
        let (first, index) = (self.range.start, self.index());
        match verb {
            Verb::Forward(j) => self.metered(j, Part::Forward, |s| s.forward(j, batch)),
            Verb::LocalBackward(j) => self.local_backward(j, batch),
            Verb::BackwardThrough { cascade, module } => {
                self.metered(module, Part::Backward, |s| s.backward_through(cascade, module, batch))
            }
            Verb::Accumulate { module, .. } => self.accumulate(module),
            Verb::Close(m) => self.metered(m, Part::Backward, |s| s.close(m, batch)),
            Verb::SendFeatures => {
                let output = self.modules.last().and_then(|m| m.output.as_ref());
                let features = &output.ok_or_else(|| broken("there are no features to send".into()))?.tensor;
                let values = vec![Values::of(&self.device, features)?];
                link.send(
                    index + 1,
                    Message { batch: batch.number, kind: Kind::Features, cascade: None, values },
                )
            }
            Verb::ReceiveFeatures => {
                let tensor =
                    self.take(link, (index - 1, Kind::Features, None), batch, MemoryCategory::Activations)?;
                self.modules[0].input = Some(Activation::plain(tensor));
                Ok(())
            }
            // Nobody below learns from it.
            Verb::SendGradient { cascade } if !self.plan.learning.below(cascade, first) => {
                self.carried = None;
                Ok(())
            }
            Verb::ReceiveGradient { cascade } if !self.plan.learning.below(cascade, self.range.end) => Ok(()),
            Verb::SendGradient { cascade } => {
                let grad = self
                    .carried
                    .take()
                    .ok_or_else(|| broken(format!("cascade {cascade} has no gradient")))?;
                let values = vec![Values::of(&self.device, &grad.tensor)?];
                let cascade = Some(cascade);
                link.send(index - 1, Message { batch: batch.number, kind: Kind::Gradient, cascade, values })
            }
            Verb::ReceiveGradient { cascade } => {
                let from = (index + 1, Kind::Gradient, Some(cascade));
                self.carried = Some(Grad::plain(self.take(link, from, batch, MemoryCategory::Gradients)?));
                Ok(())
            }
            // Gradients alone move no mirrors.
            Verb::SendSources { .. }
            | Verb::ReceiveSources { .. }
            | Verb::Follow
            | Verb::FollowLate { .. }
            | Verb::Keep { .. }
                if batch.update().is_none() =>
            {
                Ok(())
            }
            Verb::SendSources { to } => {
                let values = self.sources_for(to, Sent::Followed)?;
                link.send(to, Message { batch: batch.number, kind: Kind::Sources, cascade: None, values })
            }
            Verb::ReceiveSources { from } if self.versions.are_kept() => {
                self.versions.await_from(&self.device, from, batch.number, link)
            }
            Verb::ReceiveSources { from } => {
                let message = link.receive(from, Kind::Sources, batch.number)?;
                self.expect(&message, batch, None)?;
                self.replicas.take_over(&self.device, from, Sent::Followed, &message.values)
            }
            Verb::Follow => self.follow(first),
            Verb::FollowLate { module } => self.follow_late(module),
            Verb::Keep { module } => self.keep(module),
        }
    }

    fn expect(&self, message: &Message, batch: Batch<'_>, cascade: Option<usize>) -> Result<()> {
        match (message.batch, message.cascade) == (batch.number, cascade) {
            true => Ok(()),
            false => Err(broken(format!(
                "batch {} and cascade {:?} came for batch {} and cascade {cascade:?}",
                message.batch, message.cascade, batch.number
            ))),
        }
    }

    /// A tensor of its own with the values of the next message.
    fn take(
        &self,
        link: &mut dyn Link,
        (from, kind, cascade): (usize, Kind, Option<usize>),
        batch: Batch<'_>,
        purpose: MemoryCategory,
    ) -> Result<Tensor> {
        let message = link.receive(from, kind, batch.number)?;
        self.expect(&message, batch, cascade)?;
        let values = message.values.first().ok_or_else(|| broken("a message without values".into()))?;
        values.on(&self.device, purpose)
    }

    /// The modules below `m`, and `m`.
    fn split(&mut self, m: usize) -> (&mut [Module], &mut Module) {
        let (below, rest) = self.modules.split_at_mut(m - self.range.start);
        (below, &mut rest[0])
    }

    fn forward(&mut self, j: usize, batch: Batch<'_>) -> Result<()> {
        let device = self.device.clone();
        let at = j - self.range.start;
        let chain = &mut self.modules[at].chain;
        self.gathered[at][MODULE].begin(&device, batch.shard, &mut |f| chain.visit(f))?;
        let (below, module) = self.split(j);
        let x = input(&module.input, below, batch)?;
        module.chain.forward(&device, x)?;
        let output = module.chain.take_output();
        if output.as_ref().is_some_and(|o| o.norm.is_some() || o.activation != ActivationFunction::Identity) {
            let message = "a module's output must be a plain value: end the stem and every block with Rectify or a join";
            return Err(Error::recipe("model.backbone", message));
        }
        module.output = output;
        Ok(())
    }

    /// Both losses behind module `j`; the cascaded one's gradient is carried on from here.
    fn local_backward(&mut self, j: usize, batch: Batch<'_>) -> Result<()> {
        self.drop_outputs(j);
        let last = self.plan.partition.len() - 1;
        self.carried = self.metered(j, Part::Auxiliary, |s| match j == last {
            true => s.classifier_backward(j, batch),
            false => s.auxiliary_backward(j, batch),
        })?;
        self.restore_outputs(j, batch)
    }

    /// The open modules of the stage below module `j`.
    fn open_below(&self, j: usize) -> Range<usize> {
        let first = self.range.start;
        (j + 1).saturating_sub(self.plan.method.span()).max(first) - first..j - first
    }

    /// Drops the outputs of open modules that can be had again: nobody reads them while the losses behind module `j` are
    /// taken, which is when a step needs the most memory.
    fn drop_outputs(&mut self, j: usize) {
        let open = self.open_below(j);
        for m in self.modules[open].iter_mut().filter(|m| m.chain.repeats_output()) {
            m.output = None;
        }
    }

    /// Undoes [`Stage::drop_outputs`].
    fn restore_outputs(&mut self, j: usize, batch: Batch<'_>) -> Result<()> {
        for m in self.open_below(j) {
            let (below, rest) = self.modules.split_at_mut(m);
            let module = &mut rest[0];
            if module.output.is_none() {
                let again = module.chain.output_again(&self.device, input(&module.input, below, batch)?)?;
                let lost = || Error::recipe("model.backbone", "a block that repeats its output did not");
                module.output = Some(again.ok_or_else(lost)?);
            }
        }
        Ok(())
    }

    fn auxiliary_backward(&mut self, j: usize, batch: Batch<'_>) -> Result<Option<Grad>> {
        let Stage { plan, device, modules, branches, losses, range, class_weights, gathered, .. } = self;
        let at = j - range.start;
        let module = &mut modules[at];
        let (targets, images) = (batch.targets()?, batch.images.map(|a| &a.tensor));
        let classes = class_loss(plan.objective(), class_weights.as_ref());
        let share = batch.shard.share();
        let supervision = Supervision { targets, classes, images, pixels: plan.pixels, share };
        let mut carried = None;
        // The cascaded one, often with a leap chain, is the larger: no other gradient waits while it is taken.
        let pair = [Branch::Independent, Branch::Cascaded].into_iter().zip(&mut branches[at]);
        for (branch, auxiliary) in pair.rev() {
            let (Some(a), Some(features)) = (auxiliary, &module.output) else { continue };
            let row = losses.row(at, branch);
            let gathered =
                &mut gathered[at][if branch == Branch::Independent { INDEPENDENT } else { CASCADED }];
            gathered.begin(device, batch.shard, &mut |f| a.visit(f))?;
            let grad = a.local_backward(device, features, supervision, &mut losses.values, row)?;
            gathered.end(device, batch.shard, &mut |f| a.visit(f))?;
            if let (Some(o), Some(optimizer)) = (batch.update(), &plan.optimizer) {
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
    fn classifier_backward(&mut self, j: usize, batch: Batch<'_>) -> Result<Option<Grad>> {
        let Stage { plan, device, modules, classifier, losses, range, class_weights, .. } = self;
        let gathered = &mut self.gathered_classifier;
        let loss = HeadLoss::classifier(j, class_loss(plan.objective(), class_weights.as_ref()));
        let (at, method, targets) = (j - range.start, &plan.method, batch.targets()?);
        let module = &mut modules[at];
        let (Some(features), Some(classifier)) = (&module.output, classifier) else { return Ok(None) };
        gathered.begin(device, batch.shard, &mut |f| classifier.visit(f))?;
        classifier.forward(device, features)?;
        let mut backward = |weight: f64, pass: Pass, keep: bool| {
            let logits = &classifier.output(features).tensor;
            if !pass.weights && !pass.input {
                // Its value is told all the same.
                let (row, values) = (losses.row(at, Branch::Independent), &mut losses.values);
                targets.loss(device, loss, logits, LossTarget { weight: 0.0, grad: None, values, row })?;
                classifier.release();
                return Ok(None);
            }
            let mut grad = device.alloc(logits.shape(), DType::F32, MemoryCategory::Gradients)?;
            let row = losses.row(at, Branch::Independent);
            let (weight, values) = (weight as f32 * batch.shard.share(), &mut losses.values);
            let target = LossTarget { weight, grad: Some(&mut grad), values, row };
            targets.loss(device, loss, logits, target)?;
            classifier.backward(device, features, None, Grad::plain(grad), pass, keep)
        };
        let (w_ind, w_cas) = (method.weight(Branch::Independent), method.weight(Branch::Cascaded));
        let input_only = Pass { weights: false, input: true };
        // What goes down the window is the cascaded part alone; the weights learn from both.
        let (weights, input) = (plan.learning.classifier, plan.learning.module(j));
        let (own, carried) = if method.span() > 1 && j > 0 {
            let own = if input { backward(w_ind, input_only, true)? } else { None };
            let goes_down = plan.learning.trained(j, Branch::Cascaded);
            let carried = if goes_down { backward(w_cas, input_only, true)? } else { None };
            backward(w_ind + w_cas, Pass { weights, input: false }, false)?;
            (own, carried)
        } else {
            (backward(w_ind + w_cas, Pass { weights, input }, false)?, None)
        };
        if let Some(g) = own {
            module.add_total(device, g.tensor)?;
        }
        gathered.end(device, batch.shard, &mut |f| classifier.visit(f))?;
        // Clipped, its gradients are of one group with the module's.
        let alone = plan.optimizer.filter(|o| o.clip_grad_norm.is_none());
        if let (Some(o), Some(optimizer)) = (batch.update(), alone) {
            classifier.visit(&mut |p| optimizer.update(device, p, o.own()))?;
        }
        Ok(carried)
    }

    /// The gradient of a cascade that is carried, added to the sum of module `m`, if that learns, and taken back through it, if
    /// anything below does, without weight gradients.
    fn backward_through(&mut self, cascade: usize, m: usize, batch: Batch<'_>) -> Result<()> {
        if !self.plan.learning.below(cascade, m) {
            return self.accumulate(m);
        }
        let Some(grad) = self.carried.take() else { return Ok(()) };
        let (device, learns) = (self.device.clone(), self.plan.learning.module(m));
        let (below, module) = self.split(m);
        if learns {
            module.add_copy(&device, &grad)?;
        }
        let x = input(&module.input, below, batch)?;
        let pass = Pass { weights: false, input: true };
        let carried = module.chain.backward(&device, x, module.output.as_ref(), grad, pass, true)?;
        self.carried = carried;
        Ok(())
    }

    /// The gradient that is carried ends at module `m`.
    fn accumulate(&mut self, m: usize) -> Result<()> {
        let learns = self.plan.learning.module(m);
        let Some(grad) = self.carried.take().filter(|_| learns) else { return Ok(()) };
        let at = m - self.range.start;
        self.modules[at].add_total(&self.device, grad.tensor)
    }

    /// Weight gradients of module `m` from all that reached it, its update, and the end of its activations.
    fn close(&mut self, m: usize, batch: Batch<'_>) -> Result<()> {
        let (device, optimizer) = (self.device.clone(), self.plan.optimizer);
        let (below, module) = self.split(m);
        if let Some(total) = module.total.take() {
            let x = input(&module.input, below, batch)?;
            let (pass, total) = (Pass { weights: true, input: false }, Grad::plain(total));
            module.chain.backward(&device, x, module.output.as_ref(), total, pass, false)?;
        }
        module.chain.release();
        let at = m - self.range.start;
        let chain = &mut self.modules[at].chain;
        self.gathered[at][MODULE].end(&device, batch.shard, &mut |f| chain.visit(f))?;
        if let (Some(o), Some(optimizer)) = (batch.update(), optimizer) {
            self.update(m, &optimizer, o.own())?;
            self.average(m)?;
        }
        let module = &mut self.modules[at];
        // Nobody reads the features below any more; those of this module are its successor's alone.
        module.input = None;
        let output = module.output.take();
        if let Some(above) = self.modules.get_mut(m + 1 - self.range.start) {
            above.input = output;
        }
        Ok(())
    }

    /// Moves the EMA of module `m`'s weights, where one is kept, behind the last one the classifier's with it.
    fn average(&mut self, m: usize) -> Result<()> {
        let Stage { plan, device, modules, classifier, classifier_average, range, .. } = self;
        let Module { chain, average, .. } = &mut modules[m - range.start];
        if let Some(average) = average {
            average.follow(device, chain)?;
        }
        match (classifier, classifier_average) {
            (Some(classifier), Some(average)) if m + 1 == plan.partition.len() => {
                average.follow(device, classifier)
            }
            _ => Ok(()),
        }
    }

    /// Applies the gradients of module `m`; clipped, those of the classifier behind the last one with them.
    fn update(&mut self, m: usize, optimizer: &Optimizer, rate: Rate) -> Result<()> {
        let Stage { plan, device, modules, classifier, range, .. } = self;
        let chain = &mut modules[m - range.start].chain;
        let joined = optimizer.clip_grad_norm.is_some() && m + 1 == plan.partition.len();
        let mut classifier = classifier.as_mut().filter(|_| joined);
        clip::update(device, optimizer, rate, &mut |f| {
            chain.visit(f)?;
            classifier.as_mut().map_or(Ok(()), |c| c.visit(f))
        })
    }

    /// Moves mirrors and shadows towards their sources.
    fn follow(&mut self, first: usize) -> Result<()> {
        let Stage { plan, device, modules, branches, replicas, .. } = self;
        let mut blocks = Blocks { first, modules, partition: &plan.partition, replicas };
        for leap in branches.iter_mut().flatten().flatten().filter_map(Auxiliary::leap_mut) {
            leap.follow(device, &mut blocks)?;
        }
        Ok(())
    }
}

impl Stage {
    /// Moves the copies of a module towards what their sources were `lag` steps before.
    fn follow_late(&mut self, module: usize) -> Result<()> {
        let Stage { device, branches, versions, range, .. } = self;
        let own = branches.get_mut(module - range.start).into_iter().flatten().flatten();
        for leap in own.filter_map(Auxiliary::leap_mut) {
            leap.follow_late(device, versions)?;
        }
        versions.followed(module);
        Ok(())
    }

    /// Keeps what the blocks of a module have become.
    fn keep(&mut self, module: usize) -> Result<()> {
        let Stage { plan, device, modules, replicas, versions, range, .. } = self;
        let mut blocks = Blocks { first: range.start, modules, partition: &plan.partition, replicas };
        for block in plan.partition.blocks(module) {
            if let Some(layer) = blocks.get(block) {
                versions.keep(device, block, layer)?;
            }
        }
        Ok(())
    }
}

/// What a module reads: its own input, or the output of the module below it, or the images.
fn input<'a>(own: &'a Option<Activation>, below: &'a [Module], batch: Batch<'a>) -> Result<&'a Activation> {
    let x = own.as_ref().or_else(|| below.last()?.output.as_ref()).or(batch.images);
    x.ok_or_else(|| broken("a module has no input".into()))
}
