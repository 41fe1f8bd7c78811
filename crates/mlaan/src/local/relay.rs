//! What stages tell while they work: to the learner of their process, or to that of rank 0.

use super::losses::{BranchLoss, ModuleLosses};
use super::wire::{Reader, Writer};
use crate::ranks::{Lane, World, panicked};
use crate::{Error, Result};
use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// What a stage tells.
pub(super) enum Told {
    /// The losses of its modules in a batch.
    Losses { stage: usize, number: u64, losses: Vec<ModuleLosses> },
    /// Its last word, however it ended.
    Ended { stage: usize },
}

/// How the work of a stage ended.
pub(super) enum End {
    Done(Result<()>),
    Panicked(Box<dyn Any + Send>),
}

/// To whom a stage tells.
#[derive(Clone)]
pub(super) enum Tell {
    /// The learner of its process.
    Here(Sender<Told>),
    /// That of rank 0.
    Leader(Arc<World>),
}

impl Tell {
    pub fn tell(&self, told: Told) {
        // Nobody to be told: the learner is gone, or the job ends.
        let _ = match (self, told) {
            (Tell::Here(learner), told) => learner.send(told).map_err(drop),
            (Tell::Leader(world), Told::Losses { number, losses, .. }) => {
                world.send(0, Lane::Losses, write_losses(number, &losses)).map_err(drop)
            }
            (Tell::Leader(world), Told::Ended { .. }) => {
                world.send(0, Lane::Losses, Vec::new()).map_err(drop)
            }
        };
    }
}

/// Between the stage of this process and those of other ranks.
pub(super) struct Relay {
    pub world: Arc<World>,
    /// Stages of all ranks.
    pub stages: usize,
}

impl Relay {
    /// Tells the other ranks why the job ends, unless it ends already.
    pub fn report(&self, end: &End) {
        match end {
            End::Done(Ok(()) | Err(Error::StageEnded { .. } | Error::Rank { .. })) => {}
            End::Done(Err(e)) => self.world.fail(&e.to_string()),
            End::Panicked(payload) => self.world.fail(&panicked(payload.as_ref())),
        }
    }
}

/// The losses of a stage in a batch, as bytes.
fn write_losses(number: u64, losses: &[ModuleLosses]) -> Vec<u8> {
    let bits = |x: Option<f32>| x.map_or(u64::MAX, |x| u64::from(x.to_bits()));
    let header = Writer::default().number(number).number(losses.len() as u64);
    let each = losses.iter().flatten();
    each.fold(header, |to, l| to.number(bits(l.map(|l| l.loss))).number(bits(l.and_then(|l| l.wrong)))).done()
}

/// What [`write_losses`] wrote.
fn read_losses(bytes: &[u8]) -> Result<(u64, Vec<ModuleLosses>)> {
    let mut from = Reader(bytes);
    let (number, n) = (from.number()?, from.count()?);
    let mut value = || Ok::<_, Error>(u32::try_from(from.number()?).ok().map(f32::from_bits));
    let mut branch = || {
        let (loss, wrong) = (value()?, value()?);
        Ok::<_, Error>(loss.map(|loss| BranchLoss { loss, wrong }))
    };
    let losses = (0..n).map(|_| Ok([branch()?, branch()?])).collect::<Result<_>>()?;
    Ok((number, losses))
}

/// Losses of other ranks' stages, as they come, until all have ended.
pub(super) fn listen(world: &World, tell: &dyn Fn(Told)) {
    let mut left: Vec<usize> = world.others().collect();
    while !left.is_empty() {
        let said = world.receive_any(Lane::Losses, &|| "losses of a step".into());
        let told = said.and_then(|(rank, bytes)| match bytes.is_empty() {
            true => Ok((rank, None)),
            false => Ok((rank, Some(read_losses(&bytes)?))),
        });
        match told {
            Ok((stage, Some((number, losses)))) => tell(Told::Losses { stage, number, losses }),
            Ok((stage, None)) => {
                left.retain(|rank| *rank != stage);
                tell(Told::Ended { stage });
            }
            // Why is known to the world.
            Err(_) => return left.iter().for_each(|&stage| tell(Told::Ended { stage })),
        }
    }
}
