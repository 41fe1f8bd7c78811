//! A network's tensors in the order of checkpoints: section by section, each over all stages, so that it does not depend on how
//! many there are or which process has them.

use super::average::Average;
use super::learner::Learner;
use super::sources::{Blocks, Sent};
use super::stage::Stage;
use crate::Result;
use crate::nn::{Chain, Layer, Param};
use mlaan_engine::{Device, Shape, Tensor};

/// Is shown a tensor with its device and its EMA.
pub type Averaged<'a> = &'a mut dyn FnMut(&Device, Param<'_>, Option<&mut Tensor>) -> Result<()>;

/// Is shown an earlier value of a mirrored block: device, name, sizes in checkpoints and values.
pub(crate) type Earlier<'a> = &'a mut dyn FnMut(&Device, &str, Shape, &mut Tensor) -> Result<()>;

/// A part of what a checkpoint holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// The backbone's modules.
    Modules,
    /// The network's own classifier.
    Classifier,
    /// The auxiliary networks.
    Auxiliaries,
    /// What a block was in earlier steps, where copies lag behind (`local.leap.lag`).
    Earlier {
        /// Which.
        block: usize,
        /// The first stage whose copies follow it.
        stage: usize,
    },
}

impl Section {
    /// As a number, to be sent to another rank.
    pub fn number(self) -> u64 {
        match self {
            Section::Modules => 0,
            Section::Classifier => 1,
            Section::Auxiliaries => 2,
            Section::Earlier { block, .. } => 3 + block as u64,
        }
    }
}

impl Learner {
    /// All sections there are.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let earlier = self.earlier.iter().map(|&(block, stage)| Section::Earlier { block, stage });
        [Section::Modules, Section::Classifier, Section::Auxiliaries].into_iter().chain(earlier).collect()
    }

    /// As [`Learner::visit_on`], with a tensor's EMA where one is kept.
    ///
    /// # Errors
    /// As [`Learner::visit_on`].
    pub fn visit_averaged(&mut self, f: Averaged<'_>) -> Result<()> {
        [Section::Modules, Section::Classifier, Section::Auxiliaries]
            .into_iter()
            .try_for_each(|section| self.visit_section(section, f))
    }

    /// One section of [`Learner::visit_averaged`], of the stages of this process.
    pub(crate) fn visit_section(&mut self, section: Section, f: Averaged<'_>) -> Result<()> {
        self.idle()?;
        self.stages.iter_mut().try_for_each(|stage| visit_section_of(stage, section, f))
    }

    /// As [`Learner::visit_averaged`], of one stage of this process.
    pub(crate) fn visit_stage(&mut self, stage: usize, f: Averaged<'_>) -> Result<()> {
        self.idle()?;
        let Some(stage) = self.stages.get_mut(stage) else { return Ok(()) };
        [Section::Modules, Section::Classifier, Section::Auxiliaries]
            .into_iter()
            .try_for_each(|section| visit_section_of(stage, section, f))
    }

    /// Bytes of the parameters of blocks that stage `from` sends to stage `to` after every step.
    pub(crate) fn sources_bytes(&mut self, from: usize, to: usize) -> Result<usize> {
        self.idle()?;
        let Some(stage) = self.stages.get_mut(from) else { return Ok(0) };
        let values = stage.sources_for(to, Sent::Followed)?;
        Ok(values.iter().map(|v| 64 + v.shape().elements() * v.dtype().bytes()).sum())
    }

    /// Calls `f` with what mirrored blocks were in earlier steps, where copies lag behind (`local.leap.lag`): those of every
    /// stage of this process, or of block `of` alone and its first stage.
    ///
    /// # Errors
    /// What `f` returns; what went wrong in a step that is not through.
    pub(crate) fn visit_earlier(&mut self, of: Option<Section>, f: Earlier<'_>) -> Result<()> {
        self.idle()?;
        for stage in &mut self.stages {
            let at = stage.index();
            let Stage { plan, device, range, modules, replicas, versions, .. } = stage;
            let mut skip = |b| match of {
                Some(Section::Earlier { block, stage }) => (b, at) != (block, stage),
                Some(_) => true,
                None => false,
            };
            let partition = &plan.partition;
            let mut blocks = Blocks { first: range.start, modules, partition, replicas, kept: None };
            versions
                .visit(&mut blocks, &mut skip, &mut |name, shape, tensor| f(device, name, shape, tensor))?;
        }
        Ok(())
    }
}

fn visit_section_of(stage: &mut Stage, section: Section, f: Averaged<'_>) -> Result<()> {
    let Stage { device, modules, classifier, classifier_average, .. } = stage;
    match section {
        Section::Modules => {
            modules.iter_mut().try_for_each(|m| averaged(&mut m.chain, m.average.as_mut(), device, f))
        }
        Section::Classifier => {
            let average = classifier_average.as_mut();
            classifier.as_mut().map_or(Ok(()), |c| averaged(c, average, device, f))
        }
        Section::Auxiliaries => stage.visit_auxiliaries(&mut |_, device, p| f(device, p, None)),
        Section::Earlier { .. } => Ok(()),
    }
}

fn averaged(
    chain: &mut Chain,
    average: Option<&mut Average>,
    device: &Device,
    f: Averaged<'_>,
) -> Result<()> {
    match average {
        Some(average) => average.each(chain, &mut |p, average| f(device, p, Some(average))),
        None => chain.visit(&mut |p| f(device, p, None)),
    }
}
