//! Who mirrors which block, and where: what a leap chain takes from other modules, stages and steps.

use super::shares::{self, Turn};
use super::sources::{Blocks, Crossing, Kept};
use super::stage::{Plan, Stage};
use super::versions::Versions;
use super::{Leap, Method, Partition};
use crate::Result;
use crate::backbone::Backbone;
use crate::nn::Builder;
use std::collections::BTreeMap;
use std::ops::Range;

/// For every module, the blocks that its leap chain mirrors; none where it has none of its own.
///
/// # Errors
/// The recipe's own lists, where they do not fit.
pub(super) fn mirrored(
    method: &Method,
    turns: &[Option<Turn>],
    (partition, backbone): (&Partition, &dyn Backbone),
) -> Result<Vec<Vec<usize>>> {
    let of = |j: usize| shares::own_sources(method.leap.as_ref(), turns, (partition, backbone), j);
    (0..partition.len()).map(of).collect()
}

/// Who mirrors what, and where.
pub(super) struct Mirrors<'a> {
    /// The modules of each stage.
    pub ranges: &'a [Range<usize>],
    pub partition: &'a Partition,
    /// For every module, the blocks that it mirrors.
    pub sources: &'a [Vec<usize>],
    pub leap: Option<&'a Leap>,
}

impl Mirrors<'_> {
    /// The blocks that copies behind module `j` follow after every step.
    pub fn followed(&self, j: usize) -> &[usize] {
        self.leap.map_or(&[], |leap| leap.followed(&self.sources[j]))
    }

    /// The blocks whose values copies behind module `j` ever take over.
    fn read(&self, j: usize) -> &[usize] {
        self.leap.map_or(&[], |leap| leap.read(&self.sources[j]))
    }

    fn stage_of(&self, block: usize) -> Option<usize> {
        let module = self.partition.module_of(block)?;
        self.ranges.iter().position(|r| r.contains(&module))
    }

    /// Every block that copies in a stage read of another, ascending, each once.
    pub fn crossing(&self) -> Vec<Crossing> {
        let mut all = BTreeMap::new();
        for (receiver, range) in self.ranges.iter().enumerate() {
            for (j, &block) in range.clone().flat_map(|j| self.read(j).iter().map(move |b| (j, b))) {
                let Some(owner) = self.stage_of(block).filter(|&owner| owner != receiver) else { continue };
                let followed: &mut bool = all.entry((owner, receiver, block)).or_default();
                *followed |= self.followed(j).contains(&block);
            }
        }
        let crossing = |((owner, receiver, block), followed)| Crossing { owner, receiver, block, followed };
        all.into_iter().map(crossing).collect()
    }

    /// Room for `lag` versions of the blocks that copies in a stage follow.
    pub fn versions(&self, stage: &mut Stage, lag: usize) -> Result<Versions> {
        let mut followed = BTreeMap::new();
        for (j, &block) in stage.range.clone().flat_map(|j| self.followed(j).iter().map(move |b| (j, b))) {
            followed.insert(block, j);
        }
        let of = |(block, last)| Some((block, self.stage_of(block)?, last));
        let followed: Vec<_> = followed.into_iter().filter_map(of).collect();
        let Stage { device, range, modules, replicas, .. } = stage;
        let partition = self.partition;
        let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
        Versions::new(device, lag, &followed, &mut blocks)
    }

    /// Of a stage with offloaded auxiliary networks, copies of the blocks that copies follow there and that learn before these
    /// follow. Copies that lag behind follow what is kept for them anyway.
    ///
    /// # Errors
    /// Out of memory.
    pub fn kept(
        &self,
        range: &Range<usize>,
        plan: &Plan,
        (backbone, b): (&dyn Backbone, &Builder<'_>),
    ) -> Result<Kept> {
        let mut kept = Kept::new();
        if plan.method.lag() > 0 {
            return Ok(kept);
        }
        let (span, still) = (plan.method.span().max(1), Builder { optimizer: None, ..*b });
        for (j, &block) in range.clone().flat_map(|j| self.followed(j).iter().map(move |b| (j, b))) {
            let Some(m) = self.partition.module_of(block).filter(|m| range.contains(m)) else { continue };
            // Module m is closed behind the losses of module m + span - 1.
            if m + span <= j && !kept.contains_key(&block) {
                kept.insert(block, backbone.block(block, &backbone.blocks()[block].name, &still)?);
            }
        }
        Ok(kept)
    }
}
