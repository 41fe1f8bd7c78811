//! Batches to the device: their images, or which parts of images that are there already.

use crate::Result;
use crate::data::{Augment, Batch, Dataset, Deliver, Extras};
use mlaan_engine::ops::{Labels, Mixed, Padding, PixelScale, draw};
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory, Tensor};
use std::ops::Range;

/// Images normalised on the device, and labels.
#[derive(Debug)]
pub struct DeviceBatch {
    /// `[n, size, size, 3]`.
    pub images: Tensor,
    /// What they are of.
    pub labels: Classes,
}

/// Labels on the device.
#[derive(Debug)]
pub struct Classes {
    /// `[n]`.
    pub own: Tensor,
    /// Of mixtures: the second labels `[n]`, and the shares of the first `[n]`.
    pub mixed: Option<(Tensor, Tensor)>,
}

impl<'a> From<&'a Classes> for Labels<'a> {
    fn from(classes: &'a Classes) -> Self {
        let mixed = classes.mixed.as_ref().map(|(other, share)| Mixed { other, share });
        Labels { own: &classes.own, mixed }
    }
}

/// Where the images of batches come from.
#[derive(Debug)]
pub enum BatchSource {
    /// From the host, as bytes, with every batch.
    Host,
    /// Likewise, as mixtures of two, with two labels an image.
    Mixed,
    /// From the device, which keeps a whole set: with a batch comes which parts of which images it shows.
    Device(Kept),
}

/// A set of images on a device.
#[derive(Debug)]
pub struct Kept {
    /// `[images, size, size, 3]` bytes.
    set: Tensor,
    padding: Padding,
}

impl Kept {
    /// Bytes of what is kept, at the most, training and test images together: of a small GPU's memory a quarter. A number rather than a part of the
    /// memory at hand, so that a plan needs no GPU.
    pub const MOST: usize = 2 << 30;
}

impl BatchSource {
    /// Whether a device of this kind keeps the set and makes its batches itself: images of the size fed to the network,
    /// of which batches show parts.
    pub fn keeps(
        kind: DeviceKind,
        data: &dyn Dataset,
        (augment, extras): (&Augment, &Extras),
        size: usize,
    ) -> bool {
        let border = |n| Self::border(kind, (augment, extras), n);
        let suits = |n: usize| n == data.len() * size * size * 3 && border(n).is_some();
        data.whole().is_some_and(|(side, bytes)| side == size && suits(bytes.len()))
    }

    /// Whether a device that keeps the training images keeps those for testing as well: there is room for both, and they
    /// are shown as they are.
    pub fn keeps_test(kind: DeviceKind, [train, test]: [&dyn Dataset; 2], size: usize) -> bool {
        let bytes = |data: &dyn Dataset| data.whole().map_or(usize::MAX, |(_, bytes)| bytes.len());
        bytes(train).saturating_add(bytes(test)) <= Kept::MOST
            && Self::keeps(kind, test, (&Augment::None, &Extras::default()), size)
    }

    /// The border of images of which a device of this kind keeps `bytes` bytes; none where it does not.
    pub(crate) fn border(
        kind: DeviceKind,
        (augment, extras): (&Augment, &Extras),
        bytes: usize,
    ) -> Option<Padding> {
        augment.padding().filter(|_| kind.keeps_data() && extras.is_none() && bytes <= Kept::MOST)
    }

    /// From the host, with what `extras` need.
    pub fn host(extras: &Extras) -> Self {
        if extras.mixes() { BatchSource::Mixed } else { BatchSource::Host }
    }

    /// Room for `images` images of side `size` on a device, with values when `bytes` are given (a plan has none).
    ///
    /// # Errors
    /// Out of memory; bytes that are not so many images.
    pub fn kept(
        device: &Device,
        (images, size): (usize, usize),
        padding: Padding,
        bytes: Option<&[u8]>,
    ) -> Result<Self> {
        let mut set = device.alloc([images, size, size, 3], DType::U8, MemoryCategory::Data)?;
        if let Some(bytes) = bytes {
            device.upload(&mut set, bytes)?;
        }
        Ok(BatchSource::Device(Kept { set, padding }))
    }

    /// What a loader makes for it.
    pub fn deliver(&self) -> Deliver {
        match self {
            BatchSource::Host | BatchSource::Mixed => Deliver::Images,
            BatchSource::Device(_) => Deliver::Draws,
        }
    }

    /// As [`BatchSource::part`], all of a batch of `n` images.
    ///
    /// # Errors
    /// Out of memory.
    pub fn to_device(
        &self,
        device: &Device,
        batch: Option<&Batch>,
        n: usize,
        size: usize,
        scale: PixelScale,
    ) -> Result<DeviceBatch> {
        self.part(device, batch, 0..n, size, scale)
    }

    /// Room for the images `part` of a batch, with values when `batch` is given (a plan has none).
    ///
    /// # Errors
    /// Out of memory.
    pub fn part(
        &self,
        device: &Device,
        batch: Option<&Batch>,
        part: Range<usize>,
        size: usize,
        scale: PixelScale,
    ) -> Result<DeviceBatch> {
        let n = part.len();
        let mut own = device.alloc([n], DType::U32, MemoryCategory::Data)?;
        let mut images = device.alloc([n, size, size, 3], DType::F32, MemoryCategory::Data)?;
        // All that is brought comes before anything that is computed: a step is recorded from its first operation on.
        let mixed = self.bring_labels(device, batch, &part, &mut own)?;
        match self {
            BatchSource::Host | BatchSource::Mixed => {
                let mut bytes = device.alloc([n, size, size, 3], DType::U8, MemoryCategory::Data)?;
                if let Some(b) = batch {
                    device.upload(&mut bytes, of(&b.bytes, &part, size * size * 3))?;
                }
                device.images_from_bytes(&bytes, scale, &mut images)?;
            }
            BatchSource::Device(kept) => {
                let mut draws = device.alloc([n, draw::COLUMNS], DType::U32, MemoryCategory::Data)?;
                if let Some(b) = batch {
                    device.upload(&mut draws, of(&b.draws, &part, draw::COLUMNS))?;
                }
                device.images_from_set(&kept.set, &draws, kept.padding, scale, &mut images)?;
            }
        }
        Ok(DeviceBatch { images, labels: Classes { own, mixed } })
    }

    /// As [`BatchSource::part`], without images.
    ///
    /// # Errors
    /// Out of memory.
    pub fn labels(&self, device: &Device, batch: Option<&Batch>, part: Range<usize>) -> Result<Classes> {
        let mut own = device.alloc([part.len()], DType::U32, MemoryCategory::Data)?;
        let mixed = self.bring_labels(device, batch, &part, &mut own)?;
        Ok(Classes { own, mixed })
    }

    /// The labels of a batch into `own`, and those of mixtures beside.
    fn bring_labels(
        &self,
        device: &Device,
        batch: Option<&Batch>,
        part: &Range<usize>,
        own: &mut Tensor,
    ) -> Result<Option<(Tensor, Tensor)>> {
        if let Some(b) = batch {
            device.upload(own, of(&b.labels, part, 1))?;
        }
        match self {
            BatchSource::Mixed => Ok(Some(second(device, batch, part)?)),
            _ => Ok(None),
        }
    }
}

/// What a batch has of some of its images, `each` values of every one. Where it has fewer, all: the upload says it.
fn of<'a, T>(values: &'a [T], part: &Range<usize>, each: usize) -> &'a [T] {
    values.get(part.start * each..part.end * each).unwrap_or(values)
}

/// The second labels of mixtures, and the shares of the first.
fn second(device: &Device, batch: Option<&Batch>, part: &Range<usize>) -> Result<(Tensor, Tensor)> {
    let n = part.len();
    let mut other = device.alloc([n], DType::U32, MemoryCategory::Data)?;
    let mut share = device.alloc([n], DType::F32, MemoryCategory::Data)?;
    if let Some(b) = batch {
        device.upload(&mut other, of(&b.other, part, 1))?;
        device.upload(&mut share, of(&b.shares, part, 1))?;
    }
    Ok((other, share))
}
