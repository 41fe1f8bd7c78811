//! Auxiliary networks that are kept in host memory: those of a module come to the device before they train it, and go back
//! behind their update.
//!
//! At most two modules' are on the device. Half-way through the losses behind a module, when its auxiliary networks turn from
//! forward to backward, the memory of the ones before is given back and the next ones' copies begin: so each way has about half of a
//! module's work to hide behind. Between steps none is there.
//!
//! Mirrors and shadows that are away follow their sources when they are fetched next, by the values that the sources had at the
//! end of the step. A source in a module that is not closed before they train has these still; of others a copy is kept.

use super::Auxiliary;
use super::sources::{Blocks, Kept};
use crate::nn::{Learned, zip};
use crate::{Error, Result};
use mlaan_engine::{Device, Offloaded, Tensor};

/// The auxiliary networks of a module, as a stage has them.
pub(super) type Pair = [Option<Auxiliary>; 2];

/// Those that are fetched together.
struct Unit {
    group: Offloaded,
    /// The module's place in the stage.
    at: usize,
    /// The step behind which mirrors and shadow have still to follow their sources.
    owes: Option<u64>,
}

/// Sizes that rooms on the device have, in equal steps to the largest. Of ResNet-34, -101 and -152 with leap chains, fewer or more leave
/// more of a device's memory unused: within rooms, or between them.
const ROOMS: usize = 8;

/// The auxiliary networks of a stage. See the module.
#[derive(Default)]
pub(super) struct Offload {
    /// In the order in which they train.
    units: Vec<Unit>,
    /// Copies of source blocks that learn before all who mirror them have followed.
    pub kept: Kept,
}

impl Offload {
    /// Moves the auxiliary networks of a module, which were just built, to host memory. Modules come in their order.
    ///
    /// # Errors
    /// From the device.
    pub fn add(&mut self, device: &Device, at: usize, pair: &mut Pair) -> Result<()> {
        if pair.iter().any(Option::is_some) {
            let group = device.offload::<Error>(&mut |f| tensors(pair, f))?;
            self.units.push(Unit { group, at, owes: None });
        }
        Ok(())
    }

    /// When all were added: those of nearly one size take equal room on the device, which is one of [`ROOMS`].
    pub fn share_rooms(&mut self) {
        let largest = self.units.iter().map(|unit| unit.group.bytes()).max().unwrap_or(0);
        let part = largest.div_ceil(ROOMS).max(1);
        self.units
            .iter_mut()
            .for_each(|unit| unit.group.take_room(unit.group.bytes().next_multiple_of(part)));
    }

    /// Bytes of a module's auxiliary networks, which a pass over it brings to the device, and as many back.
    pub fn moved(&self, at: usize) -> usize {
        self.units.iter().find(|u| u.at == at).map_or(0, |unit| unit.group.bytes())
    }

    /// At the beginning of a pass over all modules: has the first module's brought.
    ///
    /// # Errors
    /// Out of memory.
    pub fn begin(&mut self, device: &Device) -> Result<()> {
        self.units.first_mut().map_or(Ok(()), |unit| Ok(device.prefetch(&mut unit.group)?))
    }

    /// Brings the auxiliary networks of a module to the device; the step behind which they have still to follow
    /// their sources.
    ///
    /// # Errors
    /// From the device.
    pub fn fetch(&mut self, device: &Device, at: usize, pair: &mut Pair) -> Result<Option<u64>> {
        let Some(unit) = self.units.iter_mut().find(|u| u.at == at) else { return Ok(None) };
        device.fetch::<Error>(&mut unit.group, &mut |f| tensors(pair, f))?;
        Ok(unit.owes)
    }

    /// Half-way through the losses behind a module: takes back the memory of those before, and has the next ones brought.
    ///
    /// # Errors
    /// Out of memory.
    pub fn turn(&mut self, device: &Device, at: usize) -> Result<()> {
        for unit in self.units.iter_mut().filter(|u| u.at < at) {
            device.release(&mut unit.group);
        }
        match self.units.iter_mut().find(|u| u.at > at) {
            Some(next) => Ok(device.prefetch(&mut next.group)?),
            None => Ok(()),
        }
    }

    /// Takes the auxiliary networks of a module back to host memory.
    ///
    /// # Errors
    /// None in practice; visiting tensors is fallible.
    pub fn store(&mut self, device: &Device, at: usize, pair: &mut Pair) -> Result<()> {
        match self.units.iter_mut().find(|u| u.at == at) {
            Some(unit) => device.store::<Error>(&mut unit.group, &mut |f| tensors(pair, f)),
            None => Ok(()),
        }
    }

    /// Takes back the memory of all that are not in use.
    pub fn release(&mut self, device: &Device) {
        self.units.iter_mut().for_each(|unit| device.release(&mut unit.group));
    }

    /// At the end of step `step`: from now on mirrors and shadows have to follow, by the values that `blocks` have now.
    ///
    /// # Errors
    /// From the device.
    pub fn owe(&mut self, device: &Device, blocks: &mut Blocks<'_>, step: u64) -> Result<()> {
        for (&block, copy) in &mut self.kept {
            let Some(source) = blocks.get(block) else { continue };
            zip(copy.as_mut(), source, |copy, source| match copy.is_buffer() {
                true => Ok(()),
                false => Ok(device.copy(copy.value, source.value)?),
            })?;
        }
        self.units.iter_mut().for_each(|unit| unit.owes = Some(step));
        Ok(())
    }

    /// Notes that the mirrors and shadows of a module have followed their sources.
    pub fn followed(&mut self, at: usize) {
        self.units.iter_mut().filter(|u| u.at == at).for_each(|unit| unit.owes = None);
    }

    /// The modules whose mirrors and shadows have still to follow their sources.
    pub fn owing(&self) -> Vec<usize> {
        self.units.iter().filter(|u| u.owes.is_some()).map(|u| u.at).collect()
    }
}

/// Shows all tensors of auxiliary networks that outlive a step.
fn tensors(pair: &mut Pair, f: &mut dyn FnMut(&mut Tensor) -> Result<()>) -> Result<()> {
    pair.iter_mut().flatten().try_for_each(|auxiliary| {
        auxiliary.visit(&mut |param| {
            f(param.value)?;
            match param.learned {
                Some(Learned { state: Some(state), .. }) => state.tensors_mut().try_for_each(|(_, t)| f(t)),
                _ => Ok(()),
            }
        })
    })
}
