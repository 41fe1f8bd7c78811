//! Blocks that leap chains mirror, wherever they are: in the stage itself, or in another one that sends their values.

use super::Partition;
use super::link::{Values, broken};
use super::module::Module;
use crate::Result;
use crate::backbone::Backbone;
use crate::nn::{Builder, Layer, Param};
use mlaan_engine::Device;
use std::collections::{BTreeMap, BTreeSet};

/// What of mirrored blocks goes to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// All values of all of them, which mirrors begin with.
    All,
    /// Parameters of those that copies follow after every step.
    Followed,
}

impl Sent {
    /// Whether a value of a block is sent.
    pub fn has(self, param: &Param<'_>) -> bool {
        self == Sent::All || !param.is_buffer()
    }
}

/// A block that a stage mirrors of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crossing {
    /// The stage that has it.
    pub owner: usize,
    /// The stage that mirrors it.
    pub receiver: usize,
    /// Its number.
    pub block: usize,
    /// Whether copies follow it after every step.
    pub followed: bool,
}

/// Copies of blocks, by the blocks' numbers.
pub(super) type Kept = BTreeMap<usize, Box<dyn Layer>>;

/// What a stage knows of blocks that cross its edge.
#[derive(Default)]
pub(super) struct Replicas {
    /// The stage's number.
    pub stage: usize,
    /// Blocks of this stage that others mirror.
    sent: Vec<Crossing>,
    /// Blocks of others that this stage mirrors.
    received: Vec<Crossing>,
    /// Those blocks, as they were at the end of the last batch.
    blocks: Kept,
}

impl Replicas {
    /// Of stage `stage`; `crossing`: every block that a stage mirrors of another, ascending.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        stage: usize,
        crossing: &[Crossing],
        backbone: &dyn Backbone,
        b: &Builder<'_>,
    ) -> Result<Self> {
        let of = |is: fn(&Crossing) -> usize| crossing.iter().filter(|c| is(c) == stage).copied().collect();
        let (sent, received): (_, Vec<Crossing>) = (of(|c| c.owner), of(|c| c.receiver));
        let still = Builder { optimizer: None, ..*b };
        let replica =
            |c: &Crossing| Ok((c.block, backbone.block(c.block, &backbone.blocks()[c.block].name, &still)?));
        let blocks = received.iter().map(replica).collect::<Result<_>>()?;
        Ok(Replicas { stage, sent, received, blocks })
    }

    /// The blocks of this stage that stage `to` mirrors.
    pub fn sent_to(&self, to: usize, part: Sent) -> Vec<usize> {
        let wanted = self.sent.iter().filter(|c| c.receiver == to && (c.followed || part == Sent::All));
        wanted.map(|c| c.block).collect()
    }

    /// The stages that blocks come from.
    pub fn owners(&self) -> BTreeSet<usize> {
        self.received.iter().map(|c| c.owner).collect()
    }

    /// Takes over what stage `from` sent.
    pub fn take_over(&mut self, device: &Device, from: usize, part: Sent, values: &[Values]) -> Result<()> {
        let mut values = values.iter();
        let wanted = self.received.iter().filter(|c| c.owner == from && (c.followed || part == Sent::All));
        for Crossing { block, .. } in wanted {
            let Some(layer) = self.blocks.get_mut(block) else { continue };
            layer.visit(&mut |param| {
                if !part.has(&param) {
                    return Ok(());
                }
                let values = values.next().ok_or_else(|| broken("values of a block are missing".into()))?;
                values.copy_to(device, param.value)
            })?;
        }
        Ok(())
    }
}

/// The backbone's blocks that a stage has, its own and replicas.
pub(super) struct Blocks<'a> {
    /// The number of the stage's first module.
    pub first: usize,
    pub modules: &'a mut [Module],
    pub partition: &'a Partition,
    pub replicas: &'a mut Replicas,
    /// Where a block is looked for first, by whoever follows behind the step.
    pub kept: Option<&'a mut Kept>,
}

impl Blocks<'_> {
    /// Block `b` of the backbone.
    pub fn get(&mut self, b: usize) -> Option<&mut dyn Layer> {
        if let Some(copy) = self.kept.as_mut().and_then(|kept| kept.get_mut(&b)) {
            return Some(copy.as_mut() as &mut dyn Layer);
        }
        let j = self.partition.module_of(b)?;
        match j.checked_sub(self.first).and_then(|at| self.modules.get_mut(at)) {
            Some(module) => {
                let at = module.stem + b - self.partition.blocks(j).start;
                module.chain.layers_mut().get_mut(at).map(|l| l.as_mut() as &mut dyn Layer)
            }
            None => self.replicas.blocks.get_mut(&b).map(|l| l.as_mut() as &mut dyn Layer),
        }
    }
}
