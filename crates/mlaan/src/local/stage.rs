//! A stage: consecutive modules on one device, with all that belongs to them.

use super::average::Average;
use super::learning::Learning;
use super::link::{Values, broken};
use super::losses::{Losses, ModuleLosses};
use super::meter::{Before, Part};
use super::module::Module;
use super::options::StepOptions;
use super::shards::{Gathered, Shard};
use super::sources::{Blocks, Replicas, Sent};
use super::targets::Targets;
use super::versions::Versions;
use super::{Auxiliary, Meter, Method, Partition};
use crate::Result;
use crate::nn::optim::Objective;
use crate::nn::{Activation, Chain, Grad, Optimizer};
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
    /// In the last stage.
    pub classifier: Option<Chain>,
    /// The EMA of its weights, where one is kept.
    pub classifier_average: Option<Average>,
    /// What shards of a batch left so far: of every module, its two auxiliary networks, and in the last stage the classifier.
    pub gathered: Vec<[Gathered; 3]>,
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

/// A batch as a stage sees it.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    /// Counted from the beginning of the work.
    pub number: u64,
    /// Normalised images, where the stage has the stem or a decoder.
    pub images: Option<&'a Activation>,
    /// None where no loss is left to be taken.
    pub targets: Option<&'a dyn Targets>,
    /// None: gradients stay in the parameters.
    pub options: Option<&'a StepOptions>,
    /// Which part of a step's batch it is.
    pub shard: Shard,
}

impl<'a> Batch<'a> {
    /// How parameters are updated behind it; none where they are not.
    pub fn update(&self) -> Option<&'a StepOptions> {
        self.options.filter(|_| self.shard.is_last())
    }

    pub fn targets(&self) -> Result<&'a dyn Targets> {
        self.targets.ok_or_else(|| broken("a batch has no targets".into()))
    }
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
        let mut blocks = Blocks { first: range.start, modules, partition: &plan.partition, replicas };
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

    /// Brings the losses of steps that were not read to the host, and shows them to `each`, the oldest first.
    pub fn read_losses(&mut self, each: impl FnMut(&mut dyn Iterator<Item = ModuleLosses>)) -> Result<()> {
        self.losses.read(&self.device, each)
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
