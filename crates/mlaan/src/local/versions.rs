//! Earlier values of mirrored blocks, for copies that lag behind (METHOD §6, `local.leap.lag`).
//!
//! After step t copies follow their sources as of step max(t - lag, 0). So a stage keeps the parameters of every block that
//! its copies follow as they were in the last `lag` steps, wherever the block lies: its own are kept when their module was
//! updated, another stage's as they arrive. Between two batches there are always `lag` versions, which is what a
//! checkpoint holds, however many stages there are.

use super::link::{Link, MessageKind, Values, broken};
use super::sources::Blocks;
use crate::Result;
use crate::nn::{Layer, Param};
use mlaan_engine::{Device, MemoryCategory, Shape, Tensor};
use std::collections::{BTreeMap, VecDeque};

/// The parameters of a block, in the order of [`Layer::visit`].
type Version = Vec<Tensor>;

/// Of a block that copies of a stage follow.
struct Followed {
    /// The stage that has the block.
    owner: usize,
    /// The last module here whose copies follow it.
    last: usize,
    /// The oldest first: what the coming step follows.
    held: VecDeque<Version>,
    /// Room for what comes next.
    free: Vec<Version>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Versions {
    lag: usize,
    blocks: BTreeMap<usize, Followed>,
    /// For every other stage whose blocks are followed, batches whose values have not been taken from the link.
    awaited: BTreeMap<usize, VecDeque<u64>>,
}

impl Versions {
    /// Room for `lag` versions of the blocks in `followed`: number, stage and last module here whose copies follow it.
    ///
    /// # Errors
    /// Out of memory.
    pub fn new(
        device: &Device,
        lag: usize,
        followed: &[(usize, usize, usize)],
        blocks: &mut Blocks<'_>,
    ) -> Result<Self> {
        let mut made = Versions { lag, ..Versions::default() };
        if lag == 0 {
            return Ok(made);
        }
        for &(block, owner, last) in followed {
            let layer = blocks.get(block).ok_or_else(|| missing(block))?;
            let version = |layer: &mut dyn Layer| {
                let mut version = Vec::new();
                parameters(layer, &mut |p| {
                    version.push(device.alloc(
                        p.value.shape(),
                        p.value.dtype(),
                        MemoryCategory::Parameters,
                    )?);
                    Ok(())
                })?;
                Ok::<_, crate::Error>(version)
            };
            let free = (0..lag).map(|_| version(layer)).collect::<Result<_>>()?;
            made.blocks.insert(block, Followed { owner, last, held: VecDeque::new(), free });
            if owner != blocks.replicas.stage {
                made.awaited.entry(owner).or_default();
            }
        }
        Ok(made)
    }

    /// The blocks that copies here follow late.
    pub fn blocks(&self) -> impl Iterator<Item = usize> + '_ {
        self.blocks.keys().copied()
    }

    /// Whether copies lag behind.
    pub fn are_kept(&self) -> bool {
        self.lag > 0
    }

    /// All versions become what the blocks are now.
    pub fn restart(&mut self, device: &Device, blocks: &mut Blocks<'_>) -> Result<()> {
        self.awaited.values_mut().for_each(VecDeque::clear);
        for (&block, of) in &mut self.blocks {
            of.free.extend(of.held.drain(..));
            let layer = blocks.get(block).ok_or_else(|| missing(block))?;
            while let Some(mut version) = of.free.pop() {
                keep(device, layer, &mut version)?;
                of.held.push_back(version);
            }
        }
        Ok(())
    }

    /// Forgets what a step that stopped half-way left: nothing is awaited any more, and there are as many versions as between
    /// two batches.
    pub fn release(&mut self) {
        self.awaited.values_mut().for_each(VecDeque::clear);
        self.blocks.values_mut().for_each(|of| of.held.extend(of.free.drain(..)));
    }

    /// What the copies of the coming or present step follow, by block.
    pub fn oldest(&self, block: usize) -> Option<&[Tensor]> {
        self.blocks.get(&block).and_then(|of| of.held.front()).map(Vec::as_slice)
    }

    /// The copies of module `module` have followed: what no other module here follows any more makes room.
    pub fn followed(&mut self, module: usize) {
        for of in self.blocks.values_mut().filter(|of| of.last == module) {
            of.free.extend(of.held.pop_front());
        }
    }

    /// Keeps what the block has become in this batch, if any copy here follows it.
    pub fn keep(&mut self, device: &Device, block: usize, layer: &mut dyn Layer) -> Result<()> {
        let Some(of) = self.blocks.get_mut(&block) else { return Ok(()) };
        let mut version =
            of.free.pop().ok_or_else(|| broken(format!("block {block} has no room for a version")))?;
        keep(device, layer, &mut version)?;
        of.held.push_back(version);
        Ok(())
    }

    /// Batch `number` is about to follow blocks of stage `from`: takes their values from the link unless they are here.
    pub fn await_from(
        &mut self,
        device: &Device,
        from: usize,
        number: u64,
        link: &mut dyn Link,
    ) -> Result<()> {
        let Some(awaited) = self.awaited.get_mut(&from) else { return Ok(()) };
        awaited.push_back(number);
        match self.blocks.values().find(|of| of.owner == from).is_some_and(|of| of.held.is_empty()) {
            true => self.take(device, from, link),
            false => Ok(()),
        }
    }

    /// No batch follows for now: takes what is still on its way.
    pub fn drain(&mut self, device: &Device, link: &mut dyn Link) -> Result<()> {
        let owners: Vec<usize> = self.awaited.keys().copied().collect();
        for from in owners {
            while self.awaited.get(&from).is_some_and(|awaited| !awaited.is_empty()) {
                self.take(device, from, link)?;
            }
        }
        Ok(())
    }

    /// The next version of the blocks of stage `from`.
    fn take(&mut self, device: &Device, from: usize, link: &mut dyn Link) -> Result<()> {
        let number = self.awaited.get_mut(&from).and_then(VecDeque::pop_front);
        let number = number.ok_or_else(|| broken(format!("no values of stage {from} are awaited")))?;
        let message = link.receive(from, MessageKind::Sources, number)?;
        if message.batch != number {
            let came = message.batch;
            return Err(broken(format!("sources of batch {came} came for those of batch {number}")));
        }
        let mut values = message.values.iter();
        for of in self.blocks.values_mut().filter(|of| of.owner == from) {
            let mut version = of.free.pop().ok_or_else(|| broken("there is no room for a version".into()))?;
            for tensor in &mut version {
                let values: Option<&Values> = values.next();
                let values = values.ok_or_else(|| broken("values of a block are missing".into()))?;
                values.copy_to(device, tensor)?;
            }
            of.held.push_back(version);
        }
        Ok(())
    }

    /// Calls `f` with the name and the tensor of every version, between two batches: `lag.K.NAME` is parameter NAME as it was
    /// K steps before the coming one, K from `lag` down to 1. `skip` names blocks that another stage has shown.
    pub fn visit(
        &mut self,
        blocks: &mut Blocks<'_>,
        skip: &mut dyn FnMut(usize) -> bool,
        f: &mut dyn FnMut(&str, Shape, &mut Tensor) -> Result<()>,
    ) -> Result<()> {
        let lag = self.lag;
        for (&block, of) in &mut self.blocks {
            if skip(block) {
                continue;
            }
            let layer = blocks.get(block).ok_or_else(|| missing(block))?;
            for (i, version) in of.held.iter_mut().enumerate() {
                let mut tensors = version.iter_mut();
                parameters(layer, &mut |p| {
                    let tensor = tensors.next().ok_or_else(|| missing(block))?;
                    f(&format!("lag.{}.{}", lag - i, p.name()), p.shape, tensor)
                })?;
            }
        }
        Ok(())
    }
}

fn missing(block: usize) -> crate::Error {
    broken(format!("block {block}, which copies follow, is not there"))
}

fn keep(device: &Device, layer: &mut dyn Layer, version: &mut Version) -> Result<()> {
    let mut tensors = version.iter_mut();
    parameters(layer, &mut |p| match tensors.next() {
        Some(tensor) => Ok(device.copy(tensor, p.value)?),
        None => Ok(()),
    })
}

/// The parameters of a layer; not its buffers, which no copy follows.
fn parameters(layer: &mut dyn Layer, f: &mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()> {
    layer.visit(&mut |p| if p.is_buffer() { Ok(()) } else { f(p) })
}
