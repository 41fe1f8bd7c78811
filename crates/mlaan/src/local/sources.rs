//! Blocks that leap chains mirror, wherever they are: in the stage itself, or in another one that sends their values.

use super::Partition;
use super::link::{Values, broken};
use super::module::Module;
use crate::Result;
use crate::backbone::Backbone;
use crate::nn::{Builder, Layer};
use mlaan_engine::Device;
use std::collections::BTreeMap;

/// Copies of blocks, by the blocks' numbers.
pub(super) type Kept = BTreeMap<usize, Box<dyn Layer>>;

/// What a stage knows of blocks that cross its edge.
#[derive(Default)]
pub(super) struct Replicas {
    /// The stage's number.
    pub stage: usize,
    /// Blocks of this stage that others mirror, by stage.
    sent: BTreeMap<usize, Vec<usize>>,
    /// Blocks of others that this stage mirrors, by stage.
    received: BTreeMap<usize, Vec<usize>>,
    /// Those blocks, as they were at the end of the last batch.
    blocks: Kept,
}

impl Replicas {
    /// Of stage `stage`; `crossing`: owner, receiver and number of every block that a stage mirrors of another, ascending.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        stage: usize,
        crossing: &[(usize, usize, usize)],
        backbone: &dyn Backbone,
        b: &Builder<'_>,
    ) -> Result<Self> {
        let mut made = Replicas { stage, ..Replicas::default() };
        let still = Builder { optimizer: None, ..*b };
        for &(owner, receiver, block) in crossing {
            if owner == stage {
                made.sent.entry(receiver).or_default().push(block);
            }
            if receiver == stage {
                made.received.entry(owner).or_default().push(block);
                let name = &backbone.blocks()[block].name;
                made.blocks.insert(block, backbone.block(block, name, &still)?);
            }
        }
        Ok(made)
    }

    /// The blocks of this stage that stage `to` mirrors.
    pub fn sent_to(&self, to: usize) -> Vec<usize> {
        self.sent.get(&to).cloned().unwrap_or_default()
    }

    /// The stages that blocks come from.
    pub fn owners(&self) -> Vec<usize> {
        self.received.keys().copied().collect()
    }

    /// Takes over what stage `from` sent.
    pub fn take_over(&mut self, device: &Device, from: usize, values: &[Values]) -> Result<()> {
        let mut values = values.iter();
        for block in self.received.get(&from).into_iter().flatten() {
            let Some(layer) = self.blocks.get_mut(block) else { continue };
            layer.visit(&mut |param| {
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
