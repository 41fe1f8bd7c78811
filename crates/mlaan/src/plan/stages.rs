//! Plans of stages, or of one: each on a dry device of its own, doing the work of an epoch's beginning, middle and end.

use super::dry::{classify, meters, step};
use super::{ModulePlan, Plan, Process, Sizes, StagePlan, TensorSizes, balanced, evaluation, read_at_once};
use crate::Result;
use crate::backbone::Backbone;
use crate::data::BatchSource;
use crate::evaluation::KEPT_MISTAKES;
use crate::local::{DatasetBatch, Learner, Method, ModuleSummary, StepOptions, Task, check_stages};
use crate::memory::Needs;
use mlaan_engine::ops::Padding;
use mlaan_engine::{Device, DeviceKind, MemoryCategory, Usage};
use std::ops::Range;
use std::sync::Arc;

/// Copies of a message between two stages: the one that is made, the one that waits, the one that is taken over.
const COPIES: usize = 3;

/// Steps behind each other after which those of several stages use memory as all that follow: where a stage begins a batch
/// before it ends the one before, small tensors find their places only after some.
const SETTLED: usize = 24;

/// Batches of the host that so many stages hold beside the one that the first takes.
pub fn in_flight(stages: usize) -> usize {
    if stages > 1 { stages + 1 } else { 0 }
}

/// The modules before which `stages` stages end but the last, so that their operations are as even as can be: a step takes
/// as long as the longest.
///
/// # Errors
/// As [`plan`]; more stages than modules.
pub fn stage_cuts(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    stages: usize,
) -> Result<Vec<usize>> {
    if stages <= 1 {
        return Ok(Vec::new());
    }
    let meters = meters(backbone, method, task, Sizes { batch: sizes.batch.min(16), ..sizes })?;
    check_stages(stages, meters.len())?;
    let costs: Vec<u64> = meters.iter().map(|m| m.forward + m.auxiliary + m.backward).collect();
    Ok(even(&costs, stages))
}

/// Cuts a list into `parts` parts, none of them empty, whose largest sum is least; of such cuts the one
/// whose earlier parts are longest.
fn even(costs: &[u64], parts: usize) -> Vec<usize> {
    let n = costs.len();
    let sum = |range: Range<usize>| costs[range].iter().sum::<u64>();
    // least[k][i]: the largest sum of items i.. in k + 1 parts.
    let mut least: Vec<Vec<u64>> = vec![(0..=n).map(|i| sum(i..n)).collect()];
    for k in 1..parts {
        let best =
            |i: usize| (i + 1..=n - k).map(|c| sum(i..c).max(least[k - 1][c])).min().unwrap_or(u64::MAX);
        least.push((0..=n).map(|i| if i + k < n { best(i) } else { u64::MAX }).collect());
    }
    let (mut cuts, mut at, limit) = (Vec::new(), 0, least[parts - 1][0]);
    for k in (1..parts).rev() {
        let fits = |c: &usize| sum(at..*c) <= limit && least[k - 1][*c] <= limit;
        at = (at + 1..=n - k).rev().find(fits).unwrap_or(at + 1);
        cuts.push(at);
    }
    cuts
}

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
    let method = &balanced(backbone, method, task, sizes)?;
    let dry = |kind: &DeviceKind| Ok(Device::dry(*kind)?.with_precision(sizes.precision));
    let devices = kinds.iter().map(dry).collect::<Result<Vec<Device>>>()?;
    if let Some(first) = devices.first() {
        first.pool().count(MemoryCategory::Data, isize::try_from(sizes.data_bytes).unwrap_or(isize::MAX));
    }
    let cuts = stage_cuts(backbone, method, task, sizes, kinds.len())?;
    let mut learner = Learner::in_stages((&devices, &cuts), backbone, method, task, 0, sizes.optimizer)?;
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
    let flops = train(&mut learner, &sources, (batch, sizes))?;
    let output = learner.output_device().kind();
    let at_a_time = sizes.batch.div_ceil(sizes.shards.max(1));
    classify(&mut learner, &source, (held, at_a_time), read_at_once(output))?;
    if sizes.validation.is_some() {
        classify(&mut learner, &BatchSource::Host, (sizes.test, at_a_time), read_at_once(output))?;
    }
    let usages: Vec<Usage> = devices.iter().map(Device::usage).collect();
    let usage = total(&usages);
    let process = TensorSizes::of(&mut learner)?.process(threads_of(kinds, sizes.kind), Process::Training)
        + evaluation(
            sizes.kind,
            (task.classes, sizes.test.max(sizes.validation).unwrap_or(0)),
            KEPT_MISTAKES,
        );
    let moved = learner.moved()?;
    learner.start_meters()?;
    step(&mut learner, &sources[0], batch)?;
    let meters = learner.take_meters()?;
    let summary = learner.summary()?;
    let process = match sizes.kind {
        DeviceKind::Cpu { .. } => {
            let process = process + messages(&summary, &cuts, method, sizes, batch);
            Needs { usage, process }.loading(sizes.loading_bytes).process
        }
        DeviceKind::Cuda => process,
    };
    let modules = summary.into_iter().zip(meters).zip(moved);
    let modules: Vec<ModulePlan> =
        modules.map(|((summary, meter), moved)| ModulePlan { summary, meter, moved }).collect();
    let ends = cuts.iter().copied().chain([modules.len()]);
    let ranges = std::iter::once(0).chain(cuts.iter().copied()).zip(ends).map(|(a, b)| a..b);
    let stages = ranges.zip(usages).zip(&flops);
    let stages = stages.map(|((modules, usage), &flops)| StagePlan { modules, usage, flops }).collect();
    Ok(Plan {
        modules,
        stages,
        usage,
        process,
        flops: flops.iter().sum(),
        batch,
        shards: sizes.shards.max(1),
    })
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

/// The steps of an epoch as far as they differ; the operations of a whole step, stage by stage.
fn train(
    learner: &mut Learner,
    sources: &Arc<Vec<BatchSource>>,
    (batch, sizes): (usize, Sizes),
) -> Result<Vec<u64>> {
    let rest = sizes.train.map_or(0, |n| n % sizes.batch.max(1));
    let devices = learner.devices().to_vec();
    let task = learner.task();
    let ask = |learner: &mut Learner, images: usize| {
        let (sources, size, scale) = (Arc::clone(sources), task.image.height, task.pixels);
        learner.step_from(
            Arc::new(DatasetBatch { sources, batch: None, images, size, scale }),
            &StepOptions::uniform(0.0, 1),
        )
    };
    ask(learner, batch)?;
    // One step alone is the beginning and the end of an epoch.
    if devices.len() == 1 || sizes.train.is_some_and(|n| n / sizes.batch.max(1) == 0) {
        learner.reports()?;
    }
    let whole = sizes.train.map_or(usize::MAX, |n| n / sizes.batch.max(1));
    let more = if devices.len() > 1 { whole.min(SETTLED).saturating_sub(1) } else { 0 };
    (0..more).try_for_each(|_| ask(learner, batch))?;
    learner.idle()?;
    let steps = 1 + more as u64;
    let flops = devices.iter().map(|d| d.flops() / steps).collect();
    if rest > 0 {
        // With several stages the last batch follows others.
        let before = if devices.len() > 1 { whole.min(SETTLED / 3) } else { 0 };
        (0..before).try_for_each(|_| ask(learner, batch))?;
        ask(learner, rest)?;
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
    // At the most all parameters of mirrored blocks, to every stage that mirrors them.
    let mirrored = summary.iter().any(|m| !m.sources.is_empty()) && !cuts.is_empty();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_even_in_cost() {
        assert_eq!(even(&[1, 1, 1, 1], 2), [2]);
        assert_eq!(even(&[5, 1, 1, 1], 2), [1]);
        assert_eq!(even(&[1, 1, 1, 5], 2), [3]);
        assert_eq!(even(&[3, 3, 3, 3, 3, 3, 3], 3), [3, 6]);
        assert_eq!(even(&[4, 9, 2, 2, 2, 2], 3), [1, 2]);
        assert_eq!(even(&[7, 8], 2), [1]);
        assert_eq!(even(&[7], 1), [] as [usize; 0]);
        assert_eq!(even(&[0, 0, 0], 3), [1, 2], "no stage is empty");
        // Against all ways to cut.
        let costs = [3, 1, 4, 1, 5, 9, 2, 6];
        for parts in 1..=8 {
            let largest = |cuts: &[usize]| {
                let ends = cuts.iter().copied().chain([8]);
                let parts = std::iter::once(0).chain(cuts.iter().copied()).zip(ends);
                parts.map(|(a, b)| costs[a..b].iter().sum::<u64>()).max().unwrap()
            };
            let ways = (0..1u32 << 7).filter(|b| b.count_ones() as usize == parts - 1);
            let cuts = |bits: u32| (1..8).filter(|i| bits >> (i - 1) & 1 == 1).collect::<Vec<_>>();
            let least = ways.map(|bits| largest(&cuts(bits))).min().unwrap();
            let found = even(&costs, parts);
            assert_eq!((found.len(), largest(&found)), (parts - 1, least), "{parts} parts: {found:?}");
        }
    }
}
