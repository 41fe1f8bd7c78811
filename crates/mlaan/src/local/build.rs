//! A learner from a backbone and a method: modules, auxiliary networks and classifier, each on its stage's device.

use super::learning::Learning;
use super::losses::{Losses, Reports, Rows, deferrable};
use super::mirrors::{Mirrors, mirrored};
use super::module::{BlockRange, Module};
use super::objective::class_weights;
use super::offload;
use super::ranked::Ranked;
use super::schedule::Schedule;
use super::shards::Gathered;
use super::shares;
use super::sources::{Crossing, Replicas};
use super::stage::{Plan, Stage};
use super::versions::Versions;
use super::{
    Auxiliary, Branch, LeapChain, LeapShare, Learner, LossOf, Method, Offload, Partition, Task, TaskLoss,
    auxiliary, segments,
};
use crate::backbone::Backbone;
use crate::nn::optim::Objective;
use crate::nn::{Builder, Chain, ImageShape, Optimizer, Sequence};
use crate::ranks::World;
use crate::{Error, Result};
use mlaan_engine::Device;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

impl Learner {
    /// Builds the network with initial values from `seed`, to be trained by `optimizer`.
    ///
    /// # Errors
    /// A method that does not fit the backbone, an image too small for it, or out of memory.
    pub fn new(
        device: &Device,
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
        optimizer: Optimizer,
    ) -> Result<Self> {
        Self::in_stages((std::slice::from_ref(device), &[]), backbone, method, task, seed, optimizer)
    }

    /// As [`Learner::new`], in stages: one per device, which end before the modules `cuts` (ascending) and at the last one.
    /// Results are those of one stage, to the bit. Each device needs memory and threads of its own.
    ///
    /// # Errors
    /// As [`Learner::new`]; more stages than modules; a device twice.
    pub fn in_stages(
        (devices, cuts): (&[Device], &[usize]),
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
        optimizer: Optimizer,
    ) -> Result<Self> {
        Plans { devices, cuts, backbone, method, task, seed, optimizer: Some(optimizer), world: None }.build()
    }

    /// As [`Learner::in_stages`], the stages being ranks: of the network this process has that of its rank, and the device is
    /// its own. Rank 0 leads; the others obey it.
    ///
    /// # Errors
    /// As [`Learner::in_stages`].
    pub(crate) fn in_ranks(
        (world, device, cuts): (&Arc<World>, &Device, &[usize]),
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
        optimizer: Optimizer,
    ) -> Result<Self> {
        let (devices, optimizer) = (std::slice::from_ref(device), Some(optimizer));
        Plans { devices, cuts, backbone, method, task, seed, optimizer, world: Some(world) }.build()
    }

    /// As [`Learner::new`] without state of an optimiser, for values that come from a checkpoint and stay as they are; `seed` is that of
    /// values which do not come.
    ///
    /// # Errors
    /// As [`Learner::new`].
    pub fn for_inference(
        device: &Device,
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        seed: u64,
    ) -> Result<Self> {
        let devices = std::slice::from_ref(device);
        Plans { devices, cuts: &[], backbone, method, task, seed, optimizer: None, world: None }.build()
    }
}

/// What a learner is made of.
struct Plans<'a> {
    /// One per stage, each with memory and threads of its own.
    devices: &'a [Device],
    /// The modules before which stages end but the last, ascending.
    cuts: &'a [usize],
    backbone: &'a dyn Backbone,
    method: &'a Method,
    task: Task,
    seed: u64,
    /// None of a network for inference.
    optimizer: Option<Optimizer>,
    /// Where stages are ranks; the device is that of this one.
    world: Option<&'a Arc<World>>,
}

impl Plans<'_> {
    /// # Errors
    /// A method that does not fit the backbone, an image too small for it, stages that are not so many, or out of memory.
    fn build(&self) -> Result<Learner> {
        let Plans { devices, cuts, backbone, method, task, .. } = *self;
        if task.classes < 2 {
            let message = format!("{} classes; a classifier needs at least 2", task.classes);
            return Err(Error::data("data set", message));
        }
        let partition = Partition::new(method, backbone)?;
        let ranges = ranges(partition.len(), devices, cuts, self.world)?;
        self.check_offload()?;
        let learning = Learning::new(backbone, method, &partition, task.classes)?;
        let leap = method.leap.as_ref();
        let carried = |j: usize| leap.is_some_and(|leap| learning.trained(j, leap.on));
        let turns = shares::turns(leap, &partition, backbone, &carried)?;
        shares::check_stages(&turns, &ranges)?;
        learning.check(self.optimizer.map_or_else(Objective::default, |o| o.objective), method)?;
        let plan = Arc::new(Plan {
            method: method.clone(),
            partition,
            pixels: task.pixels,
            optimizer: self.optimizer,
            learning,
            turns,
        });
        let partition = &plan.partition;
        let sources = mirrored(method, &plan.turns, (partition, backbone))?;
        let mirrors = Mirrors { ranges: &ranges, partition, sources: &sources, leap: method.leap.as_ref() };
        let of = |j: usize| mirrors.followed(j).iter().filter_map(|&b| partition.module_of(b)).collect();
        let holders: Vec<Vec<usize>> = (0..partition.len()).map(of).collect();
        let lag = if self.optimizer.is_some() { method.lag() } else { 0 };
        let schedule = Schedule::new(partition.len(), method.span(), cuts, &holders, lag);
        let crossing = mirrors.crossing();
        let mut stages = Vec::with_capacity(ranges.len());
        let mut extent = task.image;
        // What other ranks have is only measured here.
        let dry = Device::dry(devices[0].kind())?.with_precision(devices[0].precision());
        for (k, range) in ranges.iter().enumerate() {
            let device = match self.world {
                None => &devices[k],
                Some(world) if world.rank() == k => &devices[0],
                Some(_) => &dry,
            };
            let mut stage =
                self.stage((k, device), range.clone(), &plan, &mut extent, (&mirrors, &crossing))?;
            stage.versions = mirrors.versions(&mut stage, lag)?;
            stages.push(stage);
        }
        recompute(&mut stages, method, partition)?;
        let mut earlier = BTreeMap::new();
        for (block, k) in stages.iter().flat_map(|s| s.versions.blocks().map(|block| (block, s.index()))) {
            earlier.entry(block).or_insert(k);
        }
        let earlier = earlier.into_iter().collect();
        let ranked = self.world.map(|world| {
            stages = stages.drain(..).skip(world.rank()).take(1).collect();
            Ranked::new(Arc::clone(world), ranges.clone())
        });
        let reports = Reports::new(plan.partition.len(), self.deferrable());
        let (schedule, devices) = (Arc::new(schedule), devices.to_vec());
        let (pipeline, batches, shards) = (None, 0, 1);
        let mut learner = Learner {
            stages,
            pipeline,
            schedule,
            devices,
            plan,
            task,
            reports,
            batches,
            shards,
            ranked,
            earlier,
        };
        learner.mirror()?;
        Ok(learner)
    }

    /// # Errors
    /// A device whose memory is the host's; leap chains that modules share.
    fn check_offload(&self) -> Result<()> {
        let shares = self.method.leap.as_ref().is_some_and(|leap| leap.share == LeapShare::Stage);
        if shares && !self.method.offload.is_none() {
            return Err(shares::shared_stays());
        }
        let there = |d: &Device| d.kind().has_own_memory();
        if self.method.offload.is_none() || self.optimizer.is_none() || self.devices.iter().all(there) {
            return Ok(());
        }
        let message = "found \"auxiliary\", which moves auxiliary networks out of a GPU's memory into the host's; on the \
                       processor they are in the host's already, and nothing would be saved: write \"none\", or compute on \
                       a GPU (--device cuda)";
        Err(Error::recipe("local.offload", message))
    }

    /// Steps whose losses stay on a device: where stages work side by side, each reads its own.
    fn deferrable(&self) -> usize {
        if self.optimizer.is_some() && self.devices.len() == 1 && self.world.is_none() {
            deferrable(self.devices[0].kind())
        } else {
            1
        }
    }

    fn builder<'b>(&'b self, device: &'b Device) -> Builder<'b> {
        Builder { device, seed: self.seed, optimizer: self.optimizer }
    }

    fn stage(
        &self,
        (k, device): (usize, &Device),
        range: Range<usize>,
        plan: &Arc<Plan>,
        extent: &mut ImageShape,
        (mirrors, crossing): (&Mirrors<'_>, &[Crossing]),
    ) -> Result<Stage> {
        let (b, device, partition) = (&self.builder(device), device, &plan.partition);
        let last = partition.len() - 1;
        let mut modules = Vec::with_capacity(range.len());
        for j in range.clone() {
            let module = self.module(j, plan, *extent, b)?;
            *extent = module.extent;
            modules.push(module);
        }
        let mut offload = match self.method.offload {
            Offload::Auxiliary if self.optimizer.is_some() => Some(offload::Offload::default()),
            _ => None,
        };
        let mut branches: Vec<offload::Pair> = Vec::new();
        let mut chains = BTreeMap::new();
        for (j, module) in range.clone().zip(&modules).filter(|(j, _)| *j != last) {
            let mut auxiliary = |branch| {
                let of = LossOf { module: j, branch };
                self.auxiliary(of, module.extent, (plan, &mut chains), b)
            };
            let mut trained =
                |branch| plan.learning.trained(j, branch).then(|| auxiliary(branch)).transpose();
            let cascaded = trained(Branch::Cascaded)?;
            let mut pair = [trained(Branch::Independent)?, cascaded];
            if let Some(offload) = &mut offload {
                offload.add(device, j - range.start, &mut pair)?;
            }
            branches.push(pair);
        }
        if let Some(offload) = &mut offload {
            offload.share_rooms();
            offload.kept = mirrors.kept(&range, plan, (self.backbone, b))?;
        }
        let classifier = match range.end > last {
            true => {
                Some(Chain::new(plan.learning.build(b, |b| self.backbone.classifier(self.task.classes, b))?))
            }
            false => None,
        };
        let rows = rows(self.method, &branches, classifier.is_some());
        let losses = Losses::new(device, rows, self.deferrable())?;
        let replicas = Replicas::new(k, crossing, self.backbone, b)?;
        let gathered = modules.iter().map(|_| Default::default()).collect();
        let (plan, device) = (Arc::clone(plan), device.clone());
        let objective = self.optimizer.map(|o| o.objective);
        let class_weights = class_weights(&device, objective, self.task.classes)?;
        Ok(Stage {
            plan,
            device,
            range,
            modules,
            branches,
            offload,
            classifier,
            classifier_average: None,
            gathered,
            gathered_classifier: Gathered::default(),
            losses,
            class_weights,
            replicas,
            versions: Versions::default(),
            carried: None,
            meters: None,
        })
    }

    /// The auxiliary network of a loss, behind features of a shape. `chains`: leap chains that modules share, until the one comes that
    /// they belong to.
    fn auxiliary(
        &self,
        of: LossOf,
        features: ImageShape,
        (plan, chains): (&Plan, &mut BTreeMap<usize, LeapChain>),
        b: &Builder<'_>,
    ) -> Result<Auxiliary> {
        let Plans { backbone, method, task, .. } = *self;
        let (partition, goal) = (&plan.partition, (task.image, task.classes, backbone.features()));
        let which = (of, partition.len());
        let leap = method.leap.as_ref().filter(|leap| leap.on == of.branch);
        let Some((leap, turn)) = leap.zip(plan.turns[of.module]) else {
            return Auxiliary::new(method, which, features, goal, b);
        };
        let chain = match chains.entry(turn.home) {
            Entry::Occupied(chain) => chain.into_mut(),
            Entry::Vacant(place) => {
                let sources = super::sources(leap, partition, backbone, turn.home)?;
                let name = auxiliary::network_name(LossOf { module: turn.home, ..of });
                place.insert(LeapChain::new(leap, sources, backbone, (&name, features), b)?)
            }
        };
        let extent = chain.extent(features)?;
        // A chain of another width ends in the deepest stage with other channels than that has.
        let last = chain.sources().last().and_then(|&b| backbone.blocks().get(b)).map(|b| b.channels);
        let deepest = if last == Some(backbone.features()) { extent.channels } else { backbone.features() };
        let mut auxiliary = Auxiliary::new(method, which, extent, (task.image, task.classes, deepest), b)?;
        if turn.home == of.module {
            auxiliary.exchange_leap(chains.remove(&turn.home));
        }
        Ok(auxiliary)
    }

    fn module(&self, j: usize, plan: &Plan, input: ImageShape, b: &Builder<'_>) -> Result<Module> {
        let (backbone, learning) = (self.backbone, &plan.learning);
        let mut layers: Sequence = if j == 0 { learning.build(b, |b| backbone.stem(b))? } else { Vec::new() };
        let stem = layers.len();
        let range = plan.partition.blocks(j);
        for i in range.clone() {
            let block = |b: &Builder<'_>| Ok(vec![backbone.block(i, &backbone.blocks()[i].name, b)?]);
            layers.extend(learning.build(b, block)?);
        }
        let floor = learning.floor(j, &mut layers)?;
        let mut chain = Chain::new(layers);
        chain.never_below(floor);
        let extent = chain.extent(input)?;
        let name = |block: Option<usize>| {
            block.and_then(|b| backbone.blocks().get(b)).map_or_else(|| "stem".into(), |b| b.name.clone())
        };
        let blocks = BlockRange {
            first: name((j > 0).then_some(range.start)),
            last: name(range.clone().next_back()),
            count: range.len(),
        };
        let average = None;
        Ok(Module { chain, average, stem, input: None, output: None, total: None, extent, blocks })
    }
}

/// What the losses of a stage's modules are made of.
fn rows(method: &Method, branches: &[[Option<Auxiliary>; 2]], classifier: bool) -> Vec<Rows> {
    let auxiliary = |pair: &[Option<Auxiliary>; 2]| Rows::Auxiliary {
        lambdas: pair.each_ref().map(|a| a.as_ref().map(Auxiliary::lambdas)),
        classify: method.loss == TaskLoss::CrossEntropy,
    };
    let own = classifier.then_some(Rows::Classifier { cascaded: method.span() > 1 });
    branches.iter().map(auxiliary).chain(own).collect()
}

/// Cuts modules into segments, where the method recomputes.
fn recompute(stages: &mut [Stage], method: &Method, partition: &Partition) -> Result<()> {
    let stems: Vec<usize> = stages.iter().flat_map(|s| &s.modules).map(|m| m.stem).collect();
    let Some(ends) = segments::ends(method, partition, &stems)? else { return Ok(()) };
    let last = partition.len() - 1;
    let modules = stages.iter_mut().flat_map(|s| &mut s.modules);
    for (j, (module, ends)) in modules.zip(ends).enumerate() {
        // The way back over the last module begins at once.
        module.chain.recompute(ends, j == last);
    }
    Ok(())
}

/// Whether `modules` modules make `stages` stages.
///
/// # Errors
/// More stages than modules.
pub(crate) fn check_stages(stages: usize, modules: usize) -> Result<()> {
    let message = match modules {
        _ if stages <= modules => return Ok(()),
        1 => format!(
            "{stages} stages of one module: backpropagation goes through all of it. Take a method with `local.modules` of \
             {stages} or more, or one stage"
        ),
        _ => format!("{stages} stages of {modules} modules; a stage has at least one"),
    };
    Err(Error::recipe("stages", message))
}

/// The modules of each stage.
fn ranges(
    modules: usize,
    devices: &[Device],
    cuts: &[usize],
    world: Option<&Arc<World>>,
) -> Result<Vec<Range<usize>>> {
    let wrong = |message: String| Err(Error::recipe("stages", message));
    let stages = cuts.len() + 1;
    check_stages(stages, modules)?;
    if let Some(ranks) = world.map(|world| world.ranks()).filter(|ranks| *ranks != stages) {
        return wrong(format!("{ranks} ranks for {stages} stages; each has its own"));
    }
    if devices.len() != stages && world.is_none() {
        return wrong(format!("{} devices for {stages} stages; each has its own", devices.len()));
    }
    let shared = |i: usize| devices[..i].iter().any(|d| Arc::ptr_eq(d.pool(), devices[i].pool()));
    if (1..devices.len()).any(shared) {
        return wrong("two stages have one device; each has its own, with its own memory and threads".into());
    }
    let (starts, ends) =
        (std::iter::once(0).chain(cuts.iter().copied()), cuts.iter().copied().chain([modules]));
    let ranges: Vec<Range<usize>> = starts.zip(ends).map(|(a, b)| a..b).collect();
    if ranges.iter().any(Range::is_empty) {
        return wrong(format!("cuts {cuts:?} are not ascending from 1 to {}", modules.saturating_sub(1)));
    }
    Ok(ranges)
}
