//! What a stage does at each verb of its [`Schedule`](super::schedule).

use super::auxiliary::Between;
use super::batch::Batch;
use super::features::{Features, input};
use super::link::{Link, Message, MessageKind, Values, broken};
use super::meter::Part;
use super::module::Module;
use super::objective::class_loss;
use super::schedule::Verb;
use super::shares::Turn;
use super::sources::{Blocks, Sent};
use super::stage::Stage;
use super::targets::{HeadLoss, LossOf, Supervision};
use super::{Auxiliary, Branch, clip};
use crate::nn::optim::Rate;
use crate::nn::{Activation, ActivationFunction, Grad, Layer, Optimizer, Pass};
use crate::{Error, Result};
use mlaan_engine::ops::LossTarget;
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};
use std::ops::Range;

/// Places in [`Stage::gathered`].
const MODULE: usize = 0;
const INDEPENDENT: usize = 1;
const CASCADED: usize = 2;
const CHAIN: usize = 3;

impl Stage {
    /// Does one piece of work.
    ///
    /// # Errors
    /// From the device; the end of a stage that is waited for.
    pub fn run(&mut self, verb: Verb, batch: Batch<'_>, link: &mut dyn Link) -> Result<()> {
        let (first, index) = (self.range.start, self.index());
        match verb {
            Verb::Forward(j) if j == first && self.offload.is_some() => {
                let Stage { device, offload, .. } = self;
                offload.iter_mut().try_for_each(|o| o.begin(device))?;
                self.metered(j, Part::Forward, |s| s.forward(j, batch))
            }
            Verb::Forward(j) => self.metered(j, Part::Forward, |s| s.forward(j, batch)),
            Verb::LocalBackward(j) => self.local_backward(j, batch),
            Verb::BackwardThrough { cascade, module } => {
                self.metered(module, Part::Backward, |s| s.backward_through(cascade, module, batch))
            }
            Verb::Accumulate { module, .. } => self.accumulate(module),
            Verb::Update(m) => self.metered(m, Part::Backward, |s| s.update_module(m, batch)),
            Verb::SendFeatures => {
                let output = self.modules.last().and_then(|m| m.output.as_ref());
                let features = &output.ok_or_else(|| broken("there are no features to send".into()))?.tensor;
                let values = vec![Values::of(&self.device, features)?];
                link.send(
                    index + 1,
                    Message { batch: batch.number, kind: MessageKind::Features, cascade: None, values },
                )
            }
            Verb::ReceiveFeatures => {
                let tensor = self.take(
                    link,
                    (index - 1, MessageKind::Features, None),
                    batch,
                    MemoryCategory::Activations,
                )?;
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
                link.send(
                    index - 1,
                    Message { batch: batch.number, kind: MessageKind::Gradient, cascade, values },
                )
            }
            Verb::ReceiveGradient { cascade } => {
                let from = (index + 1, MessageKind::Gradient, Some(cascade));
                self.carried = Some(Grad::plain(self.take(link, from, batch, MemoryCategory::Gradients)?));
                Ok(())
            }
            // Gradients alone move no mirrors.
            Verb::FollowLate { module } if batch.update().is_none() => self.store_auxiliaries(module - first),
            Verb::SendSources { .. } | Verb::ReceiveSources { .. } | Verb::Follow | Verb::Keep { .. }
                if batch.update().is_none() =>
            {
                Ok(())
            }
            Verb::SendSources { to } => {
                let values = self.sources_for(to, Sent::Followed)?;
                link.send(
                    to,
                    Message { batch: batch.number, kind: MessageKind::Sources, cascade: None, values },
                )
            }
            Verb::ReceiveSources { from } if self.versions.are_kept() => {
                self.versions.await_from(&self.device, from, batch.number, link)
            }
            Verb::ReceiveSources { from } => {
                let message = link.receive(from, MessageKind::Sources, batch.number)?;
                self.expect(&message, batch, None)?;
                self.replicas.take_over(&self.device, from, Sent::Followed, &message.values)
            }
            Verb::Follow => self.follow(first, batch.update().map_or(0, |options| options.step)),
            Verb::FollowLate { module } => {
                self.follow_late(module, batch.update().map_or(0, |options| options.step))?;
                self.store_auxiliaries(module - first)
            }
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
        (from, kind, cascade): (usize, MessageKind, Option<usize>),
        batch: Batch<'_>,
        category: MemoryCategory,
    ) -> Result<Tensor> {
        let message = link.receive(from, kind, batch.number)?;
        self.expect(&message, batch, cascade)?;
        let values = message.values.first().ok_or_else(|| broken("a message without values".into()))?;
        values.on(&self.device, category)
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
        self.features(j, batch).drop();
        let last = self.plan.partition.len() - 1;
        self.carried = self.metered(j, Part::Auxiliary, |s| match j == last {
            true => s.classifier_backward(j, batch),
            false => s.auxiliary_backward(j, batch),
        })?;
        let device = self.device.clone();
        self.features(j, batch).restore(&device)
    }

    /// The open modules of the stage below module `j`.
    fn open_below(&self, j: usize) -> Range<usize> {
        let first = self.range.start;
        (j + 1).saturating_sub(self.plan.method.span()).max(first) - first..j - first
    }

    /// Outputs around module `j` while its losses are taken.
    fn features<'a>(&'a mut self, j: usize, batch: Batch<'a>) -> Features<'a> {
        let (at, open, saves) = (j - self.range.start, self.open_below(j), self.offload.is_some());
        Features { modules: &mut self.modules, at, open, saves, batch }
    }

    fn auxiliary_backward(&mut self, j: usize, batch: Batch<'_>) -> Result<Option<Grad>> {
        let at = j - self.range.start;
        // The cascaded one, often with a leap chain, is the larger: no other gradient waits while it is taken.
        self.fetch_auxiliaries(at)?;
        let carried = self.train((j, Branch::Cascaded), batch)?;
        if let Some(grad) = self.train((j, Branch::Independent), batch)? {
            self.modules[at].add_total(&self.device, grad.tensor)?;
        }
        // Copies that lag behind follow next, while they are on the device.
        if !self.follows_late(at) {
            self.store_auxiliaries(at)?;
        }
        Ok(carried)
    }

    /// Whether copies behind the module at `at` lag behind their sources: [`Verb::FollowLate`] ends its auxiliary networks' turn.
    fn follows_late(&mut self, at: usize) -> bool {
        let late = self.versions.are_kept();
        late && self.branches[at].iter_mut().flatten().any(|a| a.leap_mut().is_some())
    }

    /// One of the losses behind a module, and the update of its auxiliary network; the gradient of the module's output.
    fn train(&mut self, (module, branch): (usize, Branch), batch: Batch<'_>) -> Result<Option<Grad>> {
        self.with_chain(LossOf { module, branch }, |stage, turn| {
            stage.train_with((module, branch), turn, batch)
        })
    }

    fn train_with(
        &mut self,
        (j, branch): (usize, Branch),
        shared: Option<Turn>,
        batch: Batch<'_>,
    ) -> Result<Option<Grad>> {
        let (at, open) = (j - self.range.start, self.open_below(j));
        let Stage {
            plan, device, modules, branches, losses, class_weights, gathered, offload, range, ..
        } = self;
        let (targets, images) = (batch.targets()?, batch.images.map(|a| &a.tensor));
        let classes = class_loss(plan.objective(), class_weights.as_ref());
        let share = batch.shard.share();
        let supervision = Supervision { targets, classes, images, pixels: plan.pixels, share };
        let is_first = branch == Branch::Cascaded || branches[at][Branch::Cascaded as usize].is_none();
        let auxiliary = &mut branches[at][branch as usize];
        let Some(a) = auxiliary else { return Ok(None) };
        let moves = offload.is_some();
        let mut features = Features { modules, at, open, saves: moves, batch };
        let mut half_way = || match offload {
            Some(offload) if is_first => offload.turn(device, at),
            _ => Ok(()),
        };
        // Gradients of what comes and goes need not wait for each other, where none depends on another: each is applied as soon as it
        // is there, which gives its memory back (optimiser steps in the backward pass, as LOMO, Lv et al. 2023).
        let rate =
            batch.update().zip(plan.optimizer.as_ref()).map(|(o, optimizer)| (o.of(branch), optimizer));
        let at_once = rate.filter(|(_, o)| moves && !batch.shard.is_cut() && o.clip_grad_norm.is_none());
        let of_mirrors = at_once.map(|(rate, optimizer)| (a.mirrors_rate(rate), optimizer));
        let mut through = |layer: &mut dyn Layer| apply(device, at_once, layer);
        let mut through_mirror = |layer: &mut dyn Layer| apply(device, of_mirrors, layer);
        let row = losses.row(at, branch);
        let step = batch.options.map_or(1, |options| options.step);
        let (turn, through, through_mirror) = (&mut half_way, &mut through, &mut through_mirror);
        let steps = Between { turn, through, through_mirror, step };
        let own = if branch == Branch::Independent { INDEPENDENT } else { CASCADED };
        // Of a chain that several train, each of them is as a shard: what they leave is gathered in one place.
        let shared = shared.map(|turn| (turn.home - range.start, batch.shard.turn(turn.index, turn.of)));
        if let Some((home, use_of)) = shared {
            gathered[home][CHAIN].begin(device, use_of, &mut |f| a.visit_leap(f))?;
        }
        gathered[at][own].begin(device, batch.shard, &mut |f| a.visit_own(shared.is_some(), f))?;
        let grad = a.local_backward(device, &mut features, supervision, (&mut losses.values, row), steps)?;
        if let Some((home, use_of)) = shared {
            gathered[home][CHAIN].end(device, use_of, &mut |f| a.visit_leap(f))?;
        }
        gathered[at][own].end(device, batch.shard, &mut |f| a.visit_own(shared.is_some(), f))?;
        if let Some((rate, optimizer)) = rate {
            a.update(device, optimizer, rate)?;
        }
        Ok(grad)
    }

    /// The classifier behind the last module serves both losses; its weights learn from their sum.
    fn classifier_backward(&mut self, j: usize, batch: Batch<'_>) -> Result<Option<Grad>> {
        let Stage { plan, device, modules, classifier, losses, range, class_weights, .. } = self;
        let gathered = &mut self.gathered_classifier;
        if let Some(offload) = &mut self.offload {
            offload.release(device);
        }
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
    fn update_module(&mut self, m: usize, batch: Batch<'_>) -> Result<()> {
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
    fn follow(&mut self, first: usize, step: u64) -> Result<()> {
        let Stage { plan, device, modules, branches, replicas, offload, .. } = self;
        let partition = &plan.partition;
        let mut blocks = Blocks { first, modules, partition, replicas, kept: None };
        if let Some(offload) = offload {
            return offload.owe(device, &mut blocks, step);
        }
        for leap in branches.iter_mut().flatten().flatten().filter_map(Auxiliary::leap_mut) {
            leap.follow(device, &mut blocks, step)?;
        }
        Ok(())
    }
}

impl Stage {
    /// Moves the copies of a module, whose auxiliary networks are on the device, towards what their sources were `lag` steps
    /// before.
    fn follow_late(&mut self, module: usize, step: u64) -> Result<()> {
        let Stage { device, branches, versions, range, .. } = self;
        let own = branches.get_mut(module - range.start).into_iter().flatten().flatten();
        for leap in own.filter_map(Auxiliary::leap_mut) {
            leap.follow_late(device, versions, step)?;
        }
        versions.followed(module);
        Ok(())
    }

    /// Keeps what the blocks of a module have become.
    fn keep(&mut self, module: usize) -> Result<()> {
        let Stage { plan, device, modules, replicas, versions, range, .. } = self;
        let partition = &plan.partition;
        let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
        for block in partition.blocks(module) {
            if let Some(layer) = blocks.get(block) {
                versions.keep(device, block, layer)?;
            }
        }
        Ok(())
    }
}

/// Applies a layer's gradients, where they are applied at once.
fn apply(device: &Device, how: Option<(Rate, &Optimizer)>, layer: &mut dyn Layer) -> Result<()> {
    match how {
        Some((rate, optimizer)) => layer.visit(&mut |p| optimizer.update(device, p, rate)),
        None => Ok(()),
    }
}
