//! Batches on their way to the devices of stages.

use super::link::Values;
use super::targets::Targets;
use super::wire::{Reader, Writer};
use crate::data::{Batch, BatchSource, Classes};
use crate::{Error, Result};
use mlaan_engine::ops::{Labels, PixelScale};
use mlaan_engine::{Device, MemoryCategory, Tensor};
use std::ops::Range;
use std::sync::Arc;

/// A batch on a device.
pub struct StageInput {
    /// Normalised images `[n, h, w, 3]`; none where they are not needed.
    pub images: Option<Tensor>,
    /// For the losses.
    pub targets: Box<dyn Targets + Send>,
}

/// A batch that each stage brings to its device by itself, when it is ready for it.
pub trait ToDevice: Send + Sync {
    /// The batch on the device of stage `stage`; `images`: whether the stage needs them.
    ///
    /// # Errors
    /// Out of memory.
    fn to_device(&self, stage: usize, device: &Device, images: bool) -> Result<StageInput>;

    /// Images of the batch, where it can be had in parts.
    fn images(&self) -> Option<usize> {
        None
    }

    /// The batch as bytes for another process, with its images or without; none where it cannot be had so.
    fn pack(&self, images: bool) -> Option<Vec<u8>> {
        let _ = images;
        None
    }

    /// As [`ToDevice::to_device`], the images `part` of the batch alone.
    ///
    /// # Errors
    /// Out of memory; a batch without [`ToDevice::images`].
    fn part(&self, stage: usize, device: &Device, images: bool, part: Range<usize>) -> Result<StageInput> {
        let _ = (stage, device, images, part);
        Err(Error::recipe("train.shards", "this batch cannot be cut: its `ToDevice` has no parts"))
    }
}

/// A batch of a data set.
pub struct DatasetBatch {
    /// Where each stage has its images from.
    pub sources: Arc<Vec<BatchSource>>,
    /// None in a plan.
    pub batch: Option<Arc<Batch>>,
    /// Images.
    pub images: usize,
    /// Their side.
    pub size: usize,
    /// How they are normalised.
    pub scale: PixelScale,
}

impl DatasetBatch {
    /// A batch that [`ToDevice::pack`] wrote, and whether its images are mixtures.
    pub(super) fn unpack(bytes: &[u8]) -> Result<(Batch, bool)> {
        let mut from = Reader(bytes);
        let mixed = from.number()? == 1;
        let (labels, other, shares) = (from.words()?, from.words()?, from.words()?);
        let shares = shares.into_iter().map(f32::from_bits).collect();
        let bytes = from.bytes()?.to_vec();
        Ok((Batch { bytes, labels, other, shares, ..Batch::default() }, mixed))
    }
}

impl ToDevice for DatasetBatch {
    fn to_device(&self, stage: usize, device: &Device, images: bool) -> Result<StageInput> {
        self.part(stage, device, images, 0..self.images)
    }

    fn images(&self) -> Option<usize> {
        Some(self.images)
    }

    fn pack(&self, images: bool) -> Option<Vec<u8>> {
        let batch = self.batch.as_deref()?;
        let bytes: &[u8] = if images { &batch.bytes } else { &[] };
        if images && bytes.is_empty() {
            return None;
        }
        let mixed = matches!(self.sources.first(), Some(BatchSource::Mixed));
        let shares: Vec<u32> = batch.shares.iter().map(|s| s.to_bits()).collect();
        let to = Writer::default().number(mixed.into()).words(&batch.labels).words(&batch.other);
        Some(to.words(&shares).bytes(bytes).done())
    }

    fn part(&self, stage: usize, device: &Device, images: bool, part: Range<usize>) -> Result<StageInput> {
        let none = || Error::recipe("stages", format!("stage {stage} has no source of images"));
        let source = self.sources.get(stage).ok_or_else(none)?;
        let batch = self.batch.as_deref();
        if !images {
            return Ok(StageInput { images: None, targets: Box::new(source.labels(device, batch, part)?) });
        }
        let input = source.part(device, batch, part, self.size, self.scale)?;
        Ok(StageInput { images: Some(input.images), targets: Box::new(input.labels) })
    }
}

/// A batch in host memory, taken from a device that has it all.
pub(super) struct HostBatch {
    images: Values,
    own: Values,
    mixed: Option<(Values, Values)>,
}

impl HostBatch {
    pub fn of(device: &Device, images: &Tensor, labels: Labels<'_>) -> Result<Self> {
        let values = |t: &Tensor| Values::of(device, t);
        let mixed = match labels.mixed {
            Some(m) => Some((values(m.other)?, values(m.share)?)),
            None => None,
        };
        Ok(HostBatch { images: values(images)?, own: values(labels.own)?, mixed })
    }
}

impl ToDevice for HostBatch {
    fn to_device(&self, stage: usize, device: &Device, images: bool) -> Result<StageInput> {
        self.part(stage, device, images, 0..self.own.rows())
    }

    fn images(&self) -> Option<usize> {
        Some(self.own.rows())
    }

    fn part(&self, _: usize, device: &Device, images: bool, part: Range<usize>) -> Result<StageInput> {
        let on = |values: &Values| values.rows_on(part.clone(), device, MemoryCategory::Data);
        let own = on(&self.own)?;
        let images = if images { Some(on(&self.images)?) } else { None };
        let mixed = match &self.mixed {
            Some((other, share)) => Some((on(other)?, on(share)?)),
            None => None,
        };
        Ok(StageInput { images, targets: Box::new(Classes { own, mixed }) })
    }
}
