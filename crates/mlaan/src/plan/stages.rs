//! Plans of stages, or of one: each on a dry device of its own, doing the work of an epoch's beginning, middle and end.

use super::borders::Borders;
use super::division::Division;
use super::dry::{classify, metered};
use super::{
    ModulePlan, Plan, Process, RankMessages, Sizes, StagePlan, TensorSizes, balanced, evaluation,
    read_at_once,
};
use crate::Result;
use crate::backbone::Backbone;
use crate::data::BatchSource;
use crate::evaluation::KEPT_MISTAKES;
use crate::local::{DatasetBatch, Learner, Method, ModuleSummary, StepOptions, Task};
use crate::memory::Needs;
use mlaan_engine::ops::Padding;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Usage};
use std::sync::Arc;

/// Copies of a message between two stages: the one that is made, the one that waits, the one that is taken over.
const COPIES: usize = 3;

/// Steps behind each other after which those of several stages use memory as all that follow: where a stage begins a batch
/// before it ends the one before, small tensors find their places only after some.
const SETTLED: usize = 24;

/// Plans training and evaluation.
///
/// # Errors
/// A method that does not fit the backbone, or images too small for it.
pub fn plan(backbone: &dyn Backbone, method: &Method, task: Task, sizes: Sizes) -> Result<Plan> {
    plan_in_stages(backbone, method, task, sizes, &[sizes.kind])
}

/// As [`plan`], in stages, one per device of these kinds.
///
/// # Errors
/// As [`plan`]; more stages than modules.
pub fn plan_in_stages(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    kinds: &[DeviceKind],
) -> Result<Plan> {
    plan_divided(backbone, method, task, sizes, (kinds, &Division::Time))
}

/// As [`plan_in_stages`], the modules divided in another way.
///
/// # Errors
/// As [`plan_in_stages`]; a division into another number of stages or modules.
pub fn plan_divided(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    (kinds, division): (&[DeviceKind], &Division),
) -> Result<Plan> {
    let method = &balanced(backbone, method, task, sizes)?;
    let bytes = |cuts: &[usize]| -> Result<Vec<usize>> {
        let plan = plan_cut(backbone, method, task, sizes, (kinds, cuts))?;
        Ok(plan.stages.iter().map(|stage| stage.needs().memory()).collect())
    };
    let cuts = division.cuts(backbone, method, task, sizes, (kinds.len(), &bytes))?;
    plan_cut(backbone, method, task, sizes, (kinds, &cuts))
}

/// Plans stages that end before the modules `cuts`.
fn plan_cut(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    (kinds, cuts): (&[DeviceKind], &[usize]),
) -> Result<Plan> {
    let Dry { mut learner, devices, sources, batch, flops } =
        dry_run(backbone, method, task, sizes, (kinds, cuts))?;
    let usages: Vec<Usage> = devices.iter().map(Device::usage).collect();
    let usage = total(&usages);
    let evaluated =
        evaluation(sizes.kind, (task.classes, sizes.test.max(sizes.validation).unwrap_or(0)), KEPT_MISTAKES);
    let tensors = TensorSizes::of(&mut learner)?;
    let process = tensors.process(threads_of(kinds, sizes.kind), Process::Training) + evaluated;
    let parts: Vec<TensorSizes> =
        (0..kinds.len()).map(|k| TensorSizes::of_stage(&mut learner, k)).collect::<Result<_>>()?;
    let moved = learner.moved()?;
    let meters = metered(&mut learner, &sources[0], batch)?;
    let summary = learner.summary()?;
    let between = messages(&summary, cuts, method, sizes, batch);
    let (process, between) = match sizes.kind {
        DeviceKind::Cpu { .. } => {
            let needs = Needs { usage, process: process + between, messages: 0 };
            (needs.loading(sizes.loading_bytes).process, 0)
        }
        DeviceKind::Cuda => (process, between),
    };
    let images = (batch, task.image.height);
    let (classes, largest) = (task.classes, tensors.largest);
    let borders = Borders { summary: &summary, cuts, method, sizes, images, classes, largest };
    let messages = borders.messages(&mut learner)?;
    let own = |k: usize| as_rank(k, (kinds[k], parts[k], messages[k]), (usages[0], evaluated, sizes));
    let own: Vec<usize> = (0..kinds.len()).map(own).collect();
    let modules = summary.into_iter().zip(meters).zip(moved);
    let modules: Vec<ModulePlan> =
        modules.map(|((summary, meter), moved)| ModulePlan { summary, meter, moved }).collect();
    let ends = cuts.iter().copied().chain([modules.len()]);
    let ranges = std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(a, b)| a..b);
    let stage = |(k, modules)| StagePlan {
        modules,
        usage: usages[k],
        flops: flops[k],
        process: own[k],
        messages: messages[k],
        kind: kinds[k],
    };
    let stages = ranges.enumerate().map(stage).collect();
    Ok(Plan {
        modules,
        stages,
        usage,
        process,
        messages: between,
        flops: flops.iter().sum(),
        batch,
        shards: sizes.shards.max(1),
    })
}

/// Bytes that rank `k` needs beside its tensors; the first has the images and evaluates.
fn as_rank(
    k: usize,
    (kind, tensors, messages): (DeviceKind, TensorSizes, RankMessages),
    (first, evaluated, sizes): (Usage, usize, Sizes),
) -> usize {
    let process = tensors.as_rank(kind) + messages.all;
    match (k, kind) {
        (_, DeviceKind::Cuda) => 0,
        (0, _) => {
            let needs = Needs { usage: first, process: process + evaluated, messages: 0 };
            needs.loading(sizes.loading_bytes).process
        }
        _ => process,
    }
}

/// An epoch's work, done on devices that compute nothing.
struct Dry {
    learner: Learner,
    devices: Vec<Device>,
    sources: Arc<Vec<BatchSource>>,
    /// Images of a step.
    batch: usize,
    /// Operations of a step, stage by stage.
    flops: Vec<u64>,
}

fn dry_run(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    (kinds, cuts): (&[DeviceKind], &[usize]),
) -> Result<Dry> {
    let dry = |kind: &DeviceKind| Ok(Device::dry(*kind)?.with_precision(sizes.precision));
    let devices = kinds.iter().map(dry).collect::<Result<Vec<Device>>>()?;
    if let Some(first) = devices.first() {
        first.pool().count(MemoryCategory::Data, isize::try_from(sizes.data_bytes).unwrap_or(isize::MAX));
    }
    let mut learner = Learner::in_stages((&devices, cuts), backbone, method, task, 0, sizes.optimizer)?;
    learner.cut_batches(sizes.shards)?;
    if sizes.model_ema {
        learner.keep_average(0.5)?;
    }
    let sources = Arc::new(sources(&learner, task, sizes)?);
    let side = task.image.height;
    let held = sizes.validation.or(sizes.test);
    let source = match held {
        Some(images) if sizes.kept_test => {
            BatchSource::kept(learner.device(), (images, side), Padding::NONE, None)?
        }
        _ => BatchSource::Host,
    };
    let batch = sizes.train.map_or(sizes.batch, |n| n.min(sizes.batch)).max(1);
    let flops = train(&mut learner, method, &sources, (batch, sizes))?;
    let output = learner.output_device().kind();
    let at_a_time = sizes.batch.div_ceil(sizes.shards.max(1));
    classify(&mut learner, &source, (held, at_a_time), read_at_once(output))?;
    if sizes.validation.is_some() {
        classify(&mut learner, &BatchSource::Host, (sizes.test, at_a_time), read_at_once(output))?;
    }
    Ok(Dry { learner, devices, sources, batch, flops })
}

/// All threads of several stages: each has one beside those that it computes with.
fn threads_of(kinds: &[DeviceKind], one: DeviceKind) -> DeviceKind {
    let threads = |kind: &DeviceKind| if let DeviceKind::Cpu { threads } = kind { *threads } else { None };
    match (kinds.len() > 1, kinds.iter().map(threads).sum::<Option<usize>>()) {
        (true, Some(all)) => DeviceKind::Cpu { threads: Some(all + kinds.len()) },
        _ => one,
    }
}

/// Where each stage has its images from.
fn sources(learner: &Learner, task: Task, sizes: Sizes) -> Result<Vec<BatchSource>> {
    let source = |(k, device): (usize, &Device)| match sizes.train {
        Some(images) if sizes.kept && learner.needs_images(k) => {
            BatchSource::kept(device, (images, task.image.height), Padding::NONE, None)
        }
        _ if sizes.mixed => Ok(BatchSource::Mixed),
        _ => Ok(BatchSource::Host),
    };
    learner.devices().iter().enumerate().map(source).collect()
}

/// The steps of an epoch as far as they differ; the operations of a whole step, stage by stage, in the mean where steps differ.
fn train(
    learner: &mut Learner,
    method: &Method,
    sources: &Arc<Vec<BatchSource>>,
    (batch, sizes): (usize, Sizes),
) -> Result<Vec<u64>> {
    let rest = sizes.train.map_or(0, |n| n % sizes.batch.max(1));
    let devices = learner.devices().to_vec();
    let task = learner.task();
    let ask = |learner: &mut Learner, images: usize, step: u64| {
        let (sources, size, scale) = (Arc::clone(sources), task.image.height, task.pixels);
        learner.step_from(
            Arc::new(DatasetBatch { sources, batch: None, images, size, scale }),
            &StepOptions::uniform(0.0, step),
        )
    };
    ask(learner, batch, 1)?;
    // One step alone is the beginning and the end of an epoch.
    if devices.len() == 1 || sizes.train.is_some_and(|n| n / sizes.batch.max(1) == 0) {
        learner.reports()?;
    }
    let whole = sizes.train.map_or(usize::MAX, |n| n / sizes.batch.max(1));
    // Where steps differ, as in a run one kind follows the other: tensors find their last places only then.
    let settles = devices.len() > 1 || method.period() > 1;
    let more = if settles { whole.min(SETTLED).saturating_sub(1) } else { 0 };
    (0..more).try_for_each(|i| ask(learner, batch, i as u64 + 2))?;
    learner.idle()?;
    let steps = 1 + more as u64;
    let all: Vec<u64> = devices.iter().map(|d| d.flops()).collect();
    let mut flops: Vec<u64> = all.iter().map(|all| all / steps).collect();
    if method.period() > 1 {
        let of = |learner: &mut Learner, step: u64| -> Result<Vec<u64>> {
            let before: Vec<u64> = devices.iter().map(Device::flops).collect();
            ask(learner, batch, step)?;
            learner.idle()?;
            Ok(devices.iter().zip(before).map(|(d, before)| d.flops() - before).collect())
        };
        let (first, other) = (of(learner, 1)?, of(learner, 2)?);
        flops = first.iter().zip(other).map(|(&first, other)| method.mean(first, other)).collect();
    }
    if rest > 0 {
        // With several stages the last batch follows others.
        let before = if devices.len() > 1 { whole.min(SETTLED / 3) } else { 0 };
        // The smaller one may be of either kind, and so may those before it.
        for kind in 1..=method.period().min(2) as u64 {
            (0..before).try_for_each(|i| ask(learner, batch, i as u64 + kind))?;
            ask(learner, rest, before as u64 + kind)?;
        }
    }
    learner.reports()?;
    learner.idle()?;
    Ok(flops)
}

/// Bytes of what is on its way between stages, in the process's memory: a shard of a batch at a time.
fn messages(summary: &[ModuleSummary], cuts: &[usize], method: &Method, sizes: Sizes, batch: usize) -> usize {
    let edge = |&cut: &usize| {
        let e = summary[cut - 1].output;
        let features = batch.div_ceil(sizes.shards.max(1))
            * e.height
            * e.width
            * e.channels
            * sizes.precision.dtype().bytes();
        // Beside the one that waits, so many more gradients may.
        let more = if method.lag() > 0 { method.span().saturating_sub(2) } else { 0 };
        let kinds = if method.span() > 1 { 2 } else { 1 };
        features * (kinds * COPIES + more)
    };
    // At the most all parameters of blocks that copies follow, to every stage that mirrors them.
    let sends = |m: &ModuleSummary| method.leap.as_ref().is_some_and(|l| !l.followed(&m.sources).is_empty());
    let mirrored = summary.iter().any(sends) && !cuts.is_empty();
    let parameters: usize = summary.iter().map(|m| m.parameters).sum();
    let sources =
        if mirrored { parameters * size_of::<f32>() * (COPIES + method.lag()) * cuts.len() } else { 0 };
    cuts.iter().map(edge).sum::<usize>() + sources
}

/// All stages together.
fn total(usages: &[Usage]) -> Usage {
    usages.iter().fold(Usage::default(), |mut all, u| {
        all.current += u.current;
        all.peak += u.peak;
        all.held += u.held;
        all.held_small += u.held_small;
        all.footprint += u.footprint;
        all.host += u.host;
        for i in 0..all.by_category.len() {
            all.by_category[i] += u.by_category[i];
            all.peak_by_category[i] += u.peak_by_category[i];
        }
        all
    })
}
