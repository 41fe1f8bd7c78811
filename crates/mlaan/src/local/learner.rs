//! A network cut into modules, with everything that trains it.

use super::average::Average;
use super::command::Command;
use super::losses::Reports;
use super::pipeline::Pipeline;
use super::ranked::Ranked;
use super::schedule::Schedule;
use super::sources::{Blocks, Sent};
use super::stage::{Plan, Stage};
use super::{Auxiliary, Meter, Owner};
use crate::nn::{Chain, ImageShape, Layer, Param};
use crate::{Error, Result};
use mlaan_engine::Device;
use mlaan_engine::ops::PixelScale;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What an image set looks like to a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Shape of an image, 3 channels.
    pub image: ImageShape,
    /// Number of classes.
    pub classes: usize,
    /// From normalised values back to pixels.
    pub pixels: PixelScale,
}

/// A network cut into modules, with heads, leap chains and optimiser state: in one stage on a device, or in several that
/// work side by side, each on its own.
pub struct Learner {
    /// All of them, while none is at work.
    pub(super) stages: Vec<Stage>,
    /// Several stages at work.
    pub(super) pipeline: Option<Pipeline>,
    pub(super) schedule: Arc<Schedule>,
    /// One per stage.
    pub(super) devices: Vec<Device>,
    pub(super) plan: Arc<Plan>,
    pub(super) task: Task,
    pub(super) reports: Reports,
    /// Batches so far.
    pub(super) batches: u64,
    /// Parts that the batch of a step is cut into.
    pub(super) shards: usize,
    /// Where the stages are processes, of which this is one.
    pub(super) ranked: Option<Ranked>,
    /// Blocks that copies follow late, with the first stage that has such copies.
    pub(super) earlier: Vec<(usize, usize)>,
}

/// A module, for tables.
#[derive(Clone, Debug)]
pub struct ModuleSummary {
    /// Name of the first block, or `stem`.
    pub first: String,
    /// Name of the last block, or `stem`.
    pub last: String,
    /// Number of blocks, the stem not counted.
    pub blocks: usize,
    /// Parameters of the backbone part (the last module's with the classifier).
    pub parameters: usize,
    /// Parameters of the auxiliary networks.
    pub auxiliary_parameters: usize,
    /// Shape of the output.
    pub output: ImageShape,
    /// Blocks that the leap chain mirrors, where the module has one of its own.
    pub sources: Vec<usize>,
    /// The later module whose leap chain its auxiliary network shares.
    pub shares: Option<usize>,
    /// λ1 and λ2; none at the last module, and where nothing is trained.
    pub lambdas: Option<(f32, f32)>,
    /// Whether a loss is taken behind it: not behind modules that are frozen.
    pub is_trained: bool,
}

impl Learner {
    /// Ends what stages work on, so that all of the network can be looked at and changed.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn idle(&mut self) -> Result<()> {
        if let Some(pipeline) = self.pipeline.take() {
            let leader = self.ranked.as_ref().filter(|ranked| ranked.is_leader());
            // What others were asked before they have, or the job ends: then all do.
            let asked = leader.map_or(Ok(()), |ranked| ranked.ask(&Command::Idle));
            let ended;
            (self.stages, ended) = pipeline.end(|losses| self.reports.push(&mut losses.into_iter()));
            ended.and(asked)?;
            leader.map_or(Ok(()), |ranked| ranked.answers("end its part of a batch"))?;
        }
        match self.stages.len() == self.devices.len() {
            true => self.stages.iter_mut().try_for_each(Stage::settle),
            false => Err(Error::StageEnded { stage: self.stages.len() }),
        }
    }

    /// Gives mirrors the values of their sources.
    pub(crate) fn mirror(&mut self) -> Result<()> {
        self.restart_versions()?;
        self.stages.iter_mut().try_for_each(|stage| {
            stage.each_pair(&mut |stage, at| {
                let Stage { plan, device, range, modules, branches, replicas, .. } = stage;
                let partition = &plan.partition;
                let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
                let mut leaps = branches[at].iter_mut().flatten().filter_map(Auxiliary::leap_mut);
                leaps.try_for_each(|leap| leap.copy_sources(device, &mut blocks))
            })
        })
    }

    /// Lets copies that lag behind (`local.leap.lag`) begin with what their sources are now: for values that were put in by
    /// [`Learner::visit`].
    ///
    /// # Errors
    /// From the device; what went wrong in a step that is not through.
    pub fn restart_versions(&mut self) -> Result<()> {
        self.idle()?;
        for k in 0..self.stages.len() {
            // In other ranks they were built as here.
            let owners =
                if self.ranked.is_some() { BTreeSet::new() } else { self.stages[k].replicas.owners() };
            for from in owners {
                let values = self.stages[from].sources_for(k, Sent::All)?;
                let Stage { device, replicas, .. } = &mut self.stages[k];
                replicas.take_over(device, from, Sent::All, &values)?;
            }
            let Stage { plan, device, range, modules, replicas, versions, .. } = &mut self.stages[k];
            let partition = &plan.partition;
            let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
            versions.restart(device, &mut blocks)?;
        }
        Ok(())
    }

    /// Of every module, bytes of its auxiliary networks that are kept in host memory; none without
    /// [`Method::offload`](super::Method::offload).
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn moved(&mut self) -> Result<Vec<usize>> {
        self.idle()?;
        let of = |stage: &Stage, at: usize| stage.offload.as_ref().map_or(0, |o| o.moved(at));
        let stages = self.stages.iter();
        Ok(stages.flat_map(|stage| (0..stage.modules.len()).map(move |at| of(stage, at))).collect())
    }

    /// Gives the classes their weights, in a network whose optimiser asks for some ([`Objective`](crate::nn::optim::Objective)).
    ///
    /// # Errors
    /// Another number of classes; a network without such weights; what went wrong in a step that is not through.
    pub fn weigh_classes(&mut self, weights: &[f32]) -> Result<()> {
        self.idle()?;
        if weights.len() != self.task.classes {
            let message = format!("{} weights for {} classes", weights.len(), self.task.classes);
            return Err(Error::recipe("train.class_weights", message));
        }
        for stage in &mut self.stages {
            let none =
                || Error::recipe("train.class_weights", "this network was built without class weights");
            stage.device.upload(stage.class_weights.as_mut().ok_or_else(none)?, weights)?;
        }
        Ok(())
    }

    /// The device of the first stage, where images come in.
    pub fn device(&self) -> &Device {
        &self.devices[0]
    }

    /// What it learns.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Number of modules.
    pub fn modules(&self) -> usize {
        self.plan.partition.len()
    }

    /// Steps after which the work of a step repeats itself ([`Leap::every`](super::Leap::every)).
    pub fn period(&self) -> usize {
        self.plan.method.period()
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.ranked.as_ref().map_or(self.devices.len(), |ranked| ranked.ranges.len())
    }

    /// Whether stage `stage` needs the images of a batch.
    pub fn needs_images(&self, stage: usize) -> bool {
        self.plan.needs_images(stage == 0)
    }

    /// The device of every stage of this process.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// A line per module.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn summary(&mut self) -> Result<Vec<ModuleSummary>> {
        self.idle()?;
        let mut rows = Vec::new();
        for stage in &mut self.stages {
            for (at, module) in stage.modules.iter_mut().enumerate() {
                let mut row = ModuleSummary {
                    first: module.blocks.first.clone(),
                    last: module.blocks.last.clone(),
                    blocks: module.blocks.count,
                    parameters: count(|f| module.chain.visit(f))?,
                    auxiliary_parameters: 0,
                    output: module.extent,
                    sources: Vec::new(),
                    shares: stage.plan.turns[at + stage.range.start]
                        .map(|turn| turn.home)
                        .filter(|&home| home != at + stage.range.start),
                    lambdas: None,
                    is_trained: at + stage.range.start + 1 == stage.plan.partition.len(),
                };
                for a in stage.branches.get_mut(at).into_iter().flatten().flatten() {
                    row.auxiliary_parameters += count(|f| a.visit(f))?;
                    row.sources.extend(a.sources());
                    row.lambdas = Some(a.lambdas());
                    row.is_trained = true;
                }
                rows.push(row);
            }
            if let (Some(classifier), Some(last)) = (&mut stage.classifier, rows.last_mut()) {
                last.parameters += count(|f| classifier.visit(f))?;
            }
        }
        Ok(rows)
    }

    /// Calls `f` with every parameter and buffer of the backbone (torchvision's names), then of the auxiliary
    /// networks (`aux.…`). Tensors of auxiliary networks that are kept in host memory ([`Method::offload`](super::Method::offload)) are
    /// read and written there; operations need them on the device.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn visit(&mut self, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
        self.visit_on(&mut |_, param| f(param))
    }

    /// As [`Learner::visit`], with the part of the network and the device that a tensor is on.
    ///
    /// # Errors
    /// What `f` returns; what went wrong in a step that is not through.
    pub fn visit_owned(&mut self, f: &mut dyn FnMut(Owner, &Device, Param<'_>) -> Result<()>) -> Result<()> {
        self.idle()?;
        for Stage { device, modules, range, .. } in &mut self.stages {
            for (m, module) in range.clone().zip(modules) {
                module.chain.visit(&mut |p| f(Owner::Module(m), device, p))?;
            }
        }
        for Stage { device, classifier, .. } in &mut self.stages {
            classifier.iter_mut().try_for_each(|c| c.visit(&mut |p| f(Owner::Classifier, device, p)))?;
        }
        self.stages.iter_mut().try_for_each(|stage| stage.visit_auxiliaries(f))
    }

    /// As [`Learner::visit`], with the device that a tensor is on.
    ///
    /// # Errors
    /// What `f` returns; what went wrong in a step that is not through.
    pub fn visit_on(&mut self, f: &mut dyn FnMut(&Device, Param<'_>) -> Result<()>) -> Result<()> {
        self.visit_owned(&mut |_, device, param| f(device, param))
    }

    /// Whether it was built to be trained, and not for inference alone.
    pub(crate) fn is_trained(&self) -> bool {
        self.plan.optimizer.is_some()
    }

    /// From now on a step goes over `shards` shards of its batch, one after the other (gradient accumulation): equal to within
    /// one image, each with its own statistics in normalisations, a contrastive loss within each, and the mean by class weights of
    /// each. Otherwise gradients are those of the mean loss over the batch, running statistics move once by the mean over shards. One: the batch in one piece.
    ///
    /// # Errors
    /// Out of memory; what went wrong in a step that is not through.
    pub fn cut_batches(&mut self, shards: usize) -> Result<()> {
        self.idle()?;
        if shards.max(1) != self.shards {
            self.shards = shards.max(1);
            self.stages.iter_mut().try_for_each(|s| s.losses.cut(&s.device, self.shards))?;
        }
        Ok(())
    }

    /// From now on keeps an EMA of the backbone's parameters and running statistics, which begins at their values: after
    /// every step e ← d e + (1 - d) p. Auxiliary networks have none.
    ///
    /// # Errors
    /// Out of memory; what went wrong in a step that is not through.
    pub fn keep_average(&mut self, decay: f64) -> Result<()> {
        self.idle()?;
        let decay = decay as f32;
        for Stage { device, modules, classifier, classifier_average, .. } in &mut self.stages {
            for m in modules {
                m.average = Some(Average::new(device, &mut m.chain, decay)?);
            }
            if let Some(c) = classifier {
                *classifier_average = Some(Average::new(device, c, decay)?);
            }
        }
        Ok(())
    }

    /// Lets the EMA, where one is kept, begin again at the values that there are.
    ///
    /// # Errors
    /// From the device.
    pub(crate) fn restart_average(&mut self) -> Result<()> {
        self.ask_averaged(&Command::RestartAverage)?;
        self.each_average(&mut |device, average, chain| average.restart(device, chain))
    }

    /// Puts the EMA, where one is kept, in the place of the weights, and these in its place; once more undoes it.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn exchange_average(&mut self) -> Result<()> {
        self.ask_averaged(&Command::ExchangeAverage)?;
        self.each_average(&mut |_, average, chain| average.exchange(chain))
    }

    /// Lets other ranks do with their EMA what is done here.
    fn ask_averaged(&mut self, command: &Command) -> Result<()> {
        let averaged = self.is_averaged()?;
        match self.ranked.as_ref().filter(|ranked| averaged && ranked.is_leader()) {
            Some(ranked) => ranked.ask(command),
            None => Ok(()),
        }
    }

    /// Whether an EMA of the weights is kept.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn is_averaged(&mut self) -> Result<bool> {
        let mut found = false;
        self.each_average(&mut |_, _, _| {
            found = true;
            Ok(())
        })?;
        Ok(found)
    }

    fn each_average(
        &mut self,
        f: &mut dyn FnMut(&Device, &mut Average, &mut Chain) -> Result<()>,
    ) -> Result<()> {
        self.idle()?;
        for Stage { device, modules, classifier, classifier_average, .. } in &mut self.stages {
            for m in modules {
                m.average.as_mut().map_or(Ok(()), |a| f(device, a, &mut m.chain))?;
            }
            if let (Some(a), Some(c)) = (classifier_average, classifier) {
                f(device, a, c)?;
            }
        }
        Ok(())
    }

    /// Takes every BatchNorm into its convolution (see [`Layer::fuse`]), for inference only.
    ///
    /// # Errors
    /// From the device.
    pub fn fuse(&mut self) -> Result<()> {
        self.idle()?;
        for Stage { device, modules, branches, classifier, .. } in &mut self.stages {
            modules.iter_mut().try_for_each(|m| m.chain.fuse(device))?;
            classifier.iter_mut().try_for_each(|c| c.fuse(device))?;
            branches.iter_mut().flatten().flatten().try_for_each(|a| a.fuse(device))?;
        }
        Ok(())
    }

    /// Begins to meter steps.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn start_meters(&mut self) -> Result<()> {
        self.idle()?;
        for stage in &mut self.stages {
            stage.meters = Some(vec![Meter::default(); stage.modules.len()]);
        }
        Ok(())
    }

    /// What each module costs in a step that `step` takes, given its number; in the mean, where steps differ.
    ///
    /// # Errors
    /// What `step` returns.
    pub(crate) fn mean_meters(
        &mut self,
        step: &mut dyn FnMut(&mut Self, u64) -> Result<()>,
    ) -> Result<Vec<Meter>> {
        let mut metered = |learner: &mut Self, number: u64| {
            learner.start_meters()?;
            step(learner, number)?;
            learner.take_meters()
        };
        let first = metered(self, 1)?;
        if self.period() == 1 {
            return Ok(first);
        }
        let other = metered(self, 2)?;
        let method = &self.plan.method;
        Ok(first.iter().zip(&other).map(|(a, b)| Meter::mean(a, b, method)).collect())
    }

    /// What the steps since [`Learner::start_meters`] cost, module by module.
    ///
    /// # Errors
    /// What went wrong in a step that is not through.
    pub fn take_meters(&mut self) -> Result<Vec<Meter>> {
        self.idle()?;
        Ok(self.stages.iter_mut().filter_map(|s| s.meters.take()).flatten().collect())
    }
}

/// Number of values that are no buffers.
fn count(visit: impl FnOnce(&mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()>) -> Result<usize> {
    let mut n = 0;
    visit(&mut |p| {
        n += if p.is_buffer() { 0 } else { p.value.len() };
        Ok(())
    })?;
    Ok(n)
}
