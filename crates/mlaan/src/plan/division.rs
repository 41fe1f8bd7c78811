//! Which modules each stage holds, or each rank of several.

use super::Sizes;
use super::dry::meters;
use crate::backbone::Backbone;
use crate::local::{Meter, Method, Task, check_stages, stage_starts};
use crate::{Error, Result};
use mlaan_engine::DeviceKind;
use std::ops::Range;

/// How modules are divided among stages or ranks. What is learnt does not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Division {
    /// So that each computes about as much: a step takes as long as the longest.
    #[default]
    Time,
    /// So that the most memory of any is as little as can be found.
    Memory,
    /// So many modules each, from the first on.
    Modules(Vec<usize>),
}

/// Bytes that every stage would need, were they to end before these modules.
pub(super) type Bytes<'a> = &'a dyn Fn(&[usize]) -> Result<Vec<usize>>;

impl Division {
    /// The modules before which so many stages end but the last; `bytes`: what they would need.
    ///
    /// # Errors
    /// More stages than modules; another number of stages or modules than are given.
    pub(super) fn cuts(
        &self,
        backbone: &dyn Backbone,
        method: &Method,
        task: Task,
        sizes: Sizes,
        (stages, bytes): (usize, Bytes<'_>),
    ) -> Result<Vec<usize>> {
        if stages <= 1 && !matches!(self, Division::Modules(_)) {
            return Ok(Vec::new());
        }
        match self {
            Division::Time => stage_cuts(backbone, method, task, sizes, stages),
            Division::Memory => {
                let held = |m: &Meter| (m.activations + m.auxiliary_bytes) as u64;
                let costs = costs(backbone, method, task, sizes, &held)?;
                let starts = stage_starts(method, backbone)?;
                // No way down is sure to end at the least: from two beginnings the better end is taken.
                let [even_in_time, even_in_bytes] =
                    [stage_cuts(backbone, method, task, sizes, stages)?, even_at(&starts, &costs, stages)?]
                        .map(|start| least_memory(start, costs.len(), &starts, bytes));
                let (a, b) = (even_in_time?, even_in_bytes?);
                let most = |cuts: &[usize]| bytes(cuts).map(|found| found.into_iter().max());
                Ok(if most(&a)? <= most(&b)? { a } else { b })
            }
            Division::Modules(given) => {
                let modules = meters(backbone, method, task, Sizes { batch: 1, ..sizes })?.len();
                let wrong = |message: String| Err(Error::ranks(message));
                if given.len() != stages {
                    return wrong(format!(
                        "--rank-modules {} is for {} ranks, and there are {stages}: give a number for each",
                        listed(given),
                        given.len()
                    ));
                }
                let sum = given.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
                if sum != modules || given.contains(&0) {
                    return wrong(format!(
                        "--rank-modules {} adds up to {sum}, and the network has {modules} modules: give each rank at least one",
                        listed(given)
                    ));
                }
                let mut end = 0;
                let ends = given.iter().map(|n| {
                    end += n;
                    end
                });
                Ok(ends.take(stages - 1).collect())
            }
        }
    }
}

/// Numbers as the flag takes them.
fn listed(given: &[usize]) -> String {
    given.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn costs(
    backbone: &dyn Backbone,
    method: &Method,
    task: Task,
    sizes: Sizes,
    cost: &dyn Fn(&Meter) -> u64,
) -> Result<Vec<u64>> {
    let meters = meters(backbone, method, task, sizes)?;
    Ok(meters.iter().map(cost).collect())
}

/// Floating-point operations in the time of a byte: as many as a device computes while it reads or writes one. A layer of few channels
/// on large images is mostly reading and writing, one of many channels on small images is mostly computing.
fn operations_a_byte(kind: DeviceKind) -> u64 {
    match kind {
        // Divides DGL, MLM and MLAAN on ResNet-32 best, of what was measured with one thread and AVX-512. Operands are
        // counted once and read more often: a byte costs more than memory alone would say.
        DeviceKind::Cpu { .. } => 20,
        // What an H100 computes in bf16 with small tiles, and its bandwidth; not measured by modules.
        DeviceKind::Cuda => 100,
    }
}

/// About what a module takes in a step: its operations, and what they read and write.
fn time(meter: &Meter, kind: DeviceKind) -> u64 {
    meter.forward + meter.auxiliary + meter.backward + operations_a_byte(kind) * meter.accessed
}

/// The modules before which `stages` stages end but the last, so that what each takes is as even as can be: a step takes
/// as long as the longest.
///
/// # Errors
/// As [`plan`](super::plan); more stages than modules.
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
    let costs = costs(backbone, method, task, sizes, &|m| time(m, sizes.kind))?;
    even_at(&stage_starts(method, backbone)?, &costs, stages)
}

/// Stages, or ranks, that a network can be divided into.
///
/// # Errors
/// A method that does not fit the backbone.
pub fn most_stages(backbone: &dyn Backbone, method: &Method) -> Result<usize> {
    Ok(stage_starts(method, backbone)?.len() + 1)
}

/// As [`even`], of modules by their costs, cut only before those of `starts`.
pub(super) fn even_at(starts: &[usize], costs: &[u64], stages: usize) -> Result<Vec<usize>> {
    check_stages(stages, costs.len())?;
    if stages > starts.len() + 1 {
        let message = format!(
            "found \"stage\": modules that train one leap chain stay in one stage (rank), so this network makes {0} at most, and {stages} \
             were asked for; ask for {0} or fewer, or write \"none\"",
            starts.len() + 1
        );
        return Err(Error::recipe("local.leap.share", message));
    }
    let ends = starts.iter().copied().chain([costs.len()]);
    let together = std::iter::once(0).chain(starts.iter().copied()).zip(ends);
    let sums: Vec<u64> = together.map(|(a, b)| costs[a..b].iter().sum()).collect();
    Ok(even(&sums, stages).into_iter().map(|cut| starts[cut - 1]).collect())
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

/// From cuts on, lets the stage of most bytes give modules to a neighbour, as few as `starts` allow, as long as that makes the most
/// less.
fn least_memory(
    mut cuts: Vec<usize>,
    modules: usize,
    starts: &[usize],
    bytes: Bytes<'_>,
) -> Result<Vec<usize>> {
    let most = |found: &[usize]| found.iter().copied().max().unwrap_or(0);
    let mut found = bytes(&cuts)?;
    loop {
        let largest = found.iter().position(|n| *n == most(&found)).unwrap_or(0);
        let bounds: Vec<usize> = std::iter::once(0).chain(cuts.iter().copied()).chain([modules]).collect();
        let mut best: Option<(Vec<usize>, Vec<usize>)> = None;
        let within =
            || starts.iter().copied().filter(|s| (bounds[largest] + 1..bounds[largest + 1]).contains(s));
        // Its first ones to the stage below, or its last ones to that above.
        let down = largest.checked_sub(1).zip(within().next());
        let up = (largest < cuts.len()).then_some(largest).zip(within().next_back());
        for (border, at) in down.into_iter().chain(up) {
            let mut moved = cuts.clone();
            moved[border] = at;
            let then = bytes(&moved)?;
            if most(&then) < best.as_ref().map_or(most(&found), |(_, best)| most(best)) {
                best = Some((moved, then));
            }
        }
        match best {
            Some(better) => (cuts, found) = better,
            None => return Ok(cuts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gives_to_its_neighbours() {
        let costs = [8, 1, 1, 1, 1, 4];
        let bytes = |cuts: &[usize]| -> Result<Vec<usize>> {
            let ends = cuts.iter().copied().chain([costs.len()]);
            Ok(std::iter::once(0)
                .chain(cuts.iter().copied())
                .zip(ends)
                .map(|(a, b)| costs[a..b].iter().sum())
                .collect())
        };
        let least =
            |cuts: &[usize], starts: &[usize]| least_memory(cuts.to_vec(), 6, starts, &bytes).unwrap();
        let all = [1, 2, 3, 4, 5];
        assert_eq!(least(&[3], &all), [1]);
        assert_eq!(least(&[5], &all), [1]);
        assert_eq!(least(&[4, 5], &all)[0], 1);
        assert_eq!(least(&[], &all), [] as [usize; 0]);
        assert_eq!(least(&[5], &[2, 4, 5]), [2]);
        assert_eq!(even_at(&[2, 4, 5], &[8, 1, 1, 1, 1, 4], 2).unwrap(), [2]);
        assert_eq!(even_at(&[2, 4, 5], &[8, 1, 1, 1, 1, 4], 4).unwrap(), [2, 4, 5]);
        assert!(even_at(&[2, 4, 5], &[8, 1, 1, 1, 1, 4], 5).is_err());
    }

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
