//! A stage: consecutive modules on one device, with all that belongs to them.

use super::average::Average;
use super::learning::Learning;
use super::link::Values;
use super::losses::{Losses, ModuleLosses};
use super::meter::{Before, Part};
use super::module::Module;
use super::offload::Offload;
use super::shards::Gathered;
use super::shares::Turn;
use super::sources::{Blocks, Replicas, Sent};
use super::versions::Versions;
use super::{Auxiliary, Branch, LossOf, Meter, Method, Owner, Partition};
use crate::Result;
use crate::nn::optim::Objective;
use crate::nn::{Chain, Grad, Optimizer, Param};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{Device, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// What all stages of a network know.
pub(super) struct Plan {
    pub method: Method,
    pub partition: Partition,
    pub pixels: PixelScale,
    /// None of a network for inference.
    pub optimizer: Option<Optimizer>,
    /// What learns.
    pub learning: Learning,
    /// Each module's part in a leap chain, where it has one.
    pub turns: Vec<Option<Turn>>,
}

impl Plan {
    /// What is minimised; nothing in a network for inference.
    pub fn objective(&self) -> Option<Objective> {
        self.optimizer.map(|o| o.objective)
    }

    /// Whether a stage needs the images of a batch: the first, and with decoders all.
    pub fn needs_images(&self, is_first: bool) -> bool {
        is_first || self.method.reconstruct.iter().any(|&l| l > 0.0)
    }
}

/// See the module. Modules have their numbers in the network everywhere but in the vectors here.
pub(super) struct Stage {
    pub plan: Arc<Plan>,
    pub device: Device,
    pub range: Range<usize>,
    pub modules: Vec<Module>,
    /// Independent and cascaded auxiliary network of every module but the network's last.
    pub branches: Vec<[Option<Auxiliary>; 2]>,
    /// Where the auxiliary networks are kept in host memory.
    pub offload: Option<Offload>,
    /// In the last stage.
    pub classifier: Option<Chain>,
    /// The EMA of its weights, where one is kept.
    pub classifier_average: Option<Average>,
    /// What shards of a batch left so far: of every module, its two auxiliary networks, its leap chain where others share it, and in the
    /// last stage the classifier.
    pub gathered: Vec<[Gathered; 4]>,
    pub gathered_classifier: Gathered,
    /// Losses and error counts of steps.
    pub losses: Losses,
    /// By what classes count, where the objective says so.
    pub class_weights: Option<Tensor>,
    /// Blocks of other stages that are mirrored here.
    pub replicas: Replicas,
    /// What mirrored blocks were in earlier steps, where copies lag behind.
    pub versions: Versions,
    /// The gradient of the cascade at hand on its way down.
    pub carried: Option<Grad>,
    /// Per module, while a plan is made.
    pub meters: Option<Vec<Meter>>,
}

impl Stage {
    /// Its number.
    pub fn index(&self) -> usize {
        self.replicas.stage
    }

    /// Whether a batch's images are needed here.
    pub fn needs_images(&self) -> bool {
        self.plan.needs_images(self.range.start == 0)
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        self.modules.iter_mut().for_each(Module::release);
        self.branches.iter_mut().flatten().flatten().for_each(Auxiliary::release);
        for at in 0..self.branches.len() {
            // Visits of tensors do not fail; what the device failed with is told by its next call.
            let _ = self.store_auxiliaries(at);
        }
        self.release_auxiliaries();
        self.classifier.iter_mut().for_each(Chain::release);
        self.carried = None;
        self.versions.release();
        self.gathered.iter_mut().flatten().for_each(Gathered::release);
        self.gathered_classifier.release();
    }

    /// The values of the blocks that stage `to` mirrors: all of them, or the parameters that copies follow.
    pub fn sources_for(&mut self, to: usize, part: Sent) -> Result<Vec<Values>> {
        let Stage { plan, device, range, modules, replicas, .. } = self;
        let wanted = replicas.sent_to(to, part);
        let mut values = Vec::new();
        let partition = &plan.partition;
        let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
        for block in wanted {
            let Some(layer) = blocks.get(block) else { continue };
            layer.visit(&mut |param| {
                if !part.has(&param) {
                    return Ok(());
                }
                values.push(Values::of(device, param.value)?);
                Ok(())
            })?;
        }
        Ok(values)
    }

    /// Before the auxiliary networks of a module are used or looked at: brings them to the device, where they are kept in host
    /// memory, and lets them follow their sources, where they have not yet.
    ///
    /// # Errors
    /// From the device.
    pub fn fetch_auxiliaries(&mut self, at: usize) -> Result<()> {
        let Stage { plan, device, range, modules, branches, replicas, offload, .. } = self;
        let (Some(offload), Some(pair)) = (offload, branches.get_mut(at)) else { return Ok(()) };
        if let Some(step) = offload.fetch(device, at, pair)? {
            let (partition, kept) = (&plan.partition, Some(&mut offload.kept));
            let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept };
            for leap in pair.iter_mut().flatten().filter_map(Auxiliary::leap_mut) {
                leap.follow(device, &mut blocks, step)?;
            }
            offload.followed(at);
        }
        Ok(())
    }

    /// Undoes [`Stage::fetch_auxiliaries`], also where that failed half-way.
    ///
    /// # Errors
    /// From the device.
    pub fn store_auxiliaries(&mut self, at: usize) -> Result<()> {
        let Stage { device, branches, offload, .. } = self;
        match (offload, branches.get_mut(at)) {
            (Some(offload), Some(pair)) => offload.store(device, at, pair),
            _ => Ok(()),
        }
    }

    /// Takes back the memory of auxiliary networks that are kept in host memory.
    pub fn release_auxiliaries(&mut self) {
        let Stage { device, offload, .. } = self;
        offload.iter_mut().for_each(|offload| offload.release(device));
    }

    /// Shows `f` the places of all modules with auxiliary networks, while these are on the device.
    ///
    /// # Errors
    /// From the device; what `f` returns.
    pub fn each_pair(&mut self, f: &mut dyn FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        (0..self.branches.len()).try_for_each(|at| {
            let done = self.fetch_auxiliaries(at).and_then(|()| f(self, at));
            let done = done.and(self.store_auxiliaries(at));
            self.release_auxiliaries();
            done
        })
    }

    /// Shows every parameter and buffer of the auxiliary networks: those that are kept in host memory there, where they can be read and
    /// written, and not be computed with.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn visit_auxiliaries(
        &mut self,
        f: &mut dyn FnMut(Owner, &Device, Param<'_>) -> Result<()>,
    ) -> Result<()> {
        let Stage { device, branches, range, .. } = self;
        range.clone().zip(branches).try_for_each(|(j, pair)| {
            Branch::BOTH.into_iter().zip(pair).try_for_each(|(branch, auxiliary)| {
                let owner = Owner::Auxiliary(j, branch);
                auxiliary.as_mut().map_or(Ok(()), |a| a.visit(&mut |p| f(owner, device, p)))
            })
        })
    }

    /// Lets mirrors and shadows follow their sources that have not yet.
    ///
    /// # Errors
    /// From the device.
    pub fn settle(&mut self) -> Result<()> {
        let owing = self.offload.as_ref().map_or_else(Vec::new, Offload::owing);
        owing.into_iter().try_for_each(|at| {
            let done = self.fetch_auxiliaries(at);
            let done = done.and(self.store_auxiliaries(at));
            self.release_auxiliaries();
            done
        })
    }

    /// Brings the losses of steps that were not read to the host, and shows them to `each`, the oldest first.
    pub fn read_losses(&mut self, each: impl FnMut(&mut dyn Iterator<Item = ModuleLosses>)) -> Result<()> {
        self.losses.read(&self.device, each)
    }

    /// Lets `f` use the auxiliary network of a loss, with the leap chain in front of it also where that belongs to another module.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn with_chain<R>(
        &mut self,
        of: LossOf,
        f: impl FnOnce(&mut Self, Option<Turn>) -> Result<R>,
    ) -> Result<R> {
        let carries = self.plan.method.leap.as_ref().is_some_and(|leap| leap.on == of.branch);
        let turn = self.plan.turns[of.module].filter(|turn| carries && turn.of > 1);
        let home = turn.map_or(of.module, |turn| turn.home);
        self.move_chain(of.branch, home, of.module);
        let done = f(self, turn);
        self.move_chain(of.branch, of.module, home);
        done
    }

    fn move_chain(&mut self, branch: Branch, from: usize, to: usize) {
        if from == to {
            return;
        }
        let [from, to] = [from, to].map(|j| j - self.range.start);
        // Who shares a chain has a loss that carries it.
        if self.branches[to][branch as usize].is_some() {
            let chain = self.branches[from][branch as usize].as_mut().and_then(|a| a.exchange_leap(None));
            self.branches[to][branch as usize].as_mut().map(|a| a.exchange_leap(chain));
        }
    }

    /// Does work for module `j`, and meters it while a plan is made.
    pub fn metered<R>(
        &mut self,
        j: usize,
        part: Part,
        work: impl FnOnce(&mut Self) -> Result<R>,
    ) -> Result<R> {
        if self.meters.is_none() {
            return work(self);
        }
        let before = Before::on(&self.device);
        let done = work(self)?;
        let at = j - self.range.start;
        if let Some(meter) = self.meters.as_mut().and_then(|m| m.get_mut(at)) {
            meter.add(part, &self.device, &before);
        }
        Ok(done)
    }
}
