//! One step with the labels of one loss changed, and what it left in every parameter.

use crate::Result;
use crate::data::Classes;
use crate::local::{HeadLoss, Learner, LossOf, Owner, StepOptions, Targets};
use crate::rng::{RandomStream, Rng};
use mlaan_engine::ops::LossTarget;
use mlaan_engine::{DType, Device, MemoryCategory as Memory, Tensor};

/// Classes of the made-up labels.
pub(super) const CLASSES: usize = 10;

/// Learning rate of the step: large enough that the smallest weight of a loss (0.001 in MLM) moves a 32-bit parameter.
const RATE: f32 = 0.1;

/// Targets that are other ones for one loss alone.
pub struct Altered {
    /// For all losses.
    pub plain: Classes,
    /// For the loss of [`Altered::loss`].
    pub other: Classes,
    /// None: plain for all.
    pub loss: Option<LossOf>,
}

impl Targets for Altered {
    fn loss(
        &self,
        device: &Device,
        loss: HeadLoss<'_>,
        output: &Tensor,
        target: LossTarget<'_>,
    ) -> Result<()> {
        let classes = if loss.of == self.loss { &self.other } else { &self.plain };
        classes.loss(device, loss, output, target)
    }
}

/// A parameter or buffer after a step.
pub(super) struct Value {
    pub owner: Owner,
    pub name: String,
    /// Whether it is a parameter that learns.
    pub learns: bool,
    pub bits: Vec<u32>,
}

/// The images and labels of all steps.
pub(super) struct Probe {
    batch: usize,
    seed: u64,
}

impl Probe {
    pub fn new(batch: usize, seed: u64) -> Self {
        Probe { batch, seed }
    }

    /// The values that a step leaves, with the labels of `loss` changed.
    pub fn step(&mut self, mut learner: Learner, loss: Option<LossOf>) -> Result<Vec<Value>> {
        let device = learner.device().clone();
        let images = self.images(&device, &learner)?;
        let targets =
            Altered { plain: self.labels(&device, false)?, other: self.labels(&device, true)?, loss };
        learner.step_against(images, &targets, &StepOptions::uniform(RATE, 1))?;
        let mut values = Vec::new();
        learner.visit_owned(&mut |owner, device, param| {
            let bits = device.download(param.value)?.into_iter().map(f32::to_bits).collect();
            values.push(Value { owner, name: param.name(), learns: param.state().is_some(), bits });
            Ok(())
        })?;
        Ok(values)
    }

    fn images(&self, device: &Device, learner: &Learner) -> Result<Tensor> {
        let image = learner.task().image;
        let shape = [self.batch, image.height, image.width, image.channels];
        let mut random = Rng::new(self.seed, RandomStream::Synthetic, 0, 0);
        let pixels: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal() as f32).collect();
        let mut images = device.alloc(shape, DType::F32, Memory::Data)?;
        device.upload(&mut images, &pixels)?;
        Ok(images)
    }

    /// Neighbours share a class; with `other`, all classes are others, and other neighbours share them, which is all that a
    /// contrastive loss sees.
    fn labels(&self, device: &Device, other: bool) -> Result<Classes> {
        let class = |i: usize| if other { i.div_ceil(2) + CLASSES / 2 } else { i / 2 };
        let classes: Vec<u32> = (0..self.batch).map(|i| (class(i) % CLASSES) as u32).collect();
        let mut own = device.alloc([self.batch], DType::U32, Memory::Data)?;
        device.upload(&mut own, &classes)?;
        Ok(Classes { own, mixed: None })
    }
}

/// What differs between two steps: of each owner in order, its parameters that learn, and the names of those that differ.
pub(super) fn differences(a: &[Value], b: &[Value]) -> Vec<(Owner, usize, Vec<String>)> {
    let mut owners: Vec<(Owner, usize, Vec<String>)> = Vec::new();
    for (a, b) in a.iter().zip(b) {
        if owners.last().is_none_or(|(owner, ..)| *owner != a.owner) {
            owners.push((a.owner, 0, Vec::new()));
        }
        let Some((_, all, changed)) = owners.last_mut() else { continue };
        *all += usize::from(a.learns);
        if a.bits != b.bits {
            changed.push(a.name.clone());
        }
    }
    owners
}
