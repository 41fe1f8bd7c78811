//! A step over shards of its batch: gradient accumulation. Each shard goes forward and back by itself, with statistics of
//! its own; what shards leave in parameters and buffers is gathered here, in the order of the shards.

use crate::Result;
use crate::nn::{Learned, Param};
use mlaan_engine::{Device, MemoryCategory, Tensor};
use std::ops::Range;

/// A part of a step's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    index: usize,
    of: usize,
    /// Images of the batch.
    images: usize,
}

impl Shard {
    /// A batch in one piece.
    pub const WHOLE: Shard = Shard { index: 0, of: 1, images: 1 };

    /// The shards of a batch of `images` images: `wanted`, or as many as there are images. Their sizes differ by one
    /// image at the most, larger ones first.
    pub fn all(images: usize, wanted: usize) -> impl Iterator<Item = Shard> {
        let of = wanted.min(images).max(1);
        (0..of).map(move |index| Shard { index, of, images })
    }

    /// The `index`th of `of` times that something is used with it. For [`Gathered`] each use is a shard of its own.
    pub fn turn(self, index: usize, of: usize) -> Shard {
        Shard { index: self.index * of + index, of: self.of * of, ..self }
    }

    /// Its images within the batch.
    pub fn range(&self) -> Range<usize> {
        let begin = |index: usize| index * (self.images / self.of) + index.min(self.images % self.of);
        begin(self.index)..begin(self.index + 1)
    }

    /// Its part of the batch, by which its mean loss counts.
    pub fn share(&self) -> f32 {
        if self.of == 1 { 1.0 } else { (self.range().len() as f64 / self.images as f64) as f32 }
    }

    /// Whether the batch is cut at all.
    pub fn is_cut(&self) -> bool {
        self.of > 1
    }

    /// Whether the batch ends with it.
    pub fn is_last(&self) -> bool {
        self.index + 1 == self.of
    }
}

/// What the shards so far left in the tensors of a network's part, each in its place of the visit.
#[derive(Default)]
pub(super) struct Gathered {
    places: Vec<Place>,
}

#[derive(Default)]
struct Place {
    /// Of a parameter the sum of gradients, of a buffer the mean of what each shard made of it.
    found: Option<Tensor>,
    /// Of a buffer: its values before the step, from which every shard starts.
    start: Option<Tensor>,
}

/// Shows every parameter and buffer of a part.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Param<'_>) -> Result<()>) -> Result<()>;

impl Gathered {
    /// Before a shard goes forward: keeps what buffers are before the step.
    pub fn begin(&mut self, device: &Device, shard: Shard, visit: Visit<'_>) -> Result<()> {
        if !shard.is_cut() || shard.index > 0 {
            return Ok(());
        }
        self.each(visit, |param, place| {
            if param.is_buffer() {
                place.start = Some(copy(device, param.value, MemoryCategory::Parameters)?);
            }
            Ok(())
        })
    }

    /// After a shard went back. Of all but the last takes the gradients away and gives buffers their values from before
    /// the step; the last one leaves the sums of gradients, and in buffers the mean over shards.
    pub fn end(&mut self, device: &Device, shard: Shard, visit: Visit<'_>) -> Result<()> {
        if !shard.is_cut() {
            return Ok(());
        }
        self.each(visit, |param, place| match param {
            Param { value, learned: None, .. } => statistics(device, shard, value, place),
            Param { learned: Some(Learned { grad, .. }), .. } => gradient(device, shard, grad, place),
        })
    }

    fn each(
        &mut self,
        visit: Visit<'_>,
        mut f: impl FnMut(Param<'_>, &mut Place) -> Result<()>,
    ) -> Result<()> {
        let mut at = 0;
        visit(&mut |param| {
            if at == self.places.len() {
                self.places.push(Place::default());
            }
            at += 1;
            f(param, &mut self.places[at - 1])
        })
    }

    /// Forgets what a step that stopped half-way left.
    pub fn release(&mut self) {
        self.places.clear();
    }
}

/// Adds a shard's gradient to those before it.
fn gradient(device: &Device, shard: Shard, grad: &mut Option<Tensor>, place: &mut Place) -> Result<()> {
    match (&mut place.found, grad.take()) {
        (Some(sum), Some(next)) => device.add_assign(sum, &next)?,
        (None, Some(first)) => place.found = Some(first),
        (_, None) => {}
    }
    if shard.is_last() {
        *grad = place.found.take();
    }
    Ok(())
}

/// Takes a shard's part in the mean. Every shard moved the same values, so the mean of what they made of these is the one
/// move by the mean of their statistics.
fn statistics(device: &Device, shard: Shard, value: &mut Tensor, place: &mut Place) -> Result<()> {
    let before = shard.index as f32 / (shard.index + 1) as f32;
    match (&mut place.found, shard.is_last()) {
        (Some(mean), false) => device.ema(mean, value, before)?,
        // mean · before + value · (1 - before), in the place of the value.
        (Some(mean), true) => device.ema(value, mean, 1.0 - before)?,
        (None, _) => place.found = Some(copy(device, value, MemoryCategory::Parameters)?),
    }
    if shard.is_last() {
        (place.found, place.start) = (None, None);
    } else if let Some(start) = &place.start {
        device.copy(value, start)?;
    }
    Ok(())
}

fn copy(device: &Device, from: &Tensor, category: MemoryCategory) -> Result<Tensor> {
    let mut to = device.alloc(from.shape(), from.dtype(), category)?;
    device.copy(&mut to, from)?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_equal_to_within_one_image_and_make_the_batch() {
        for (images, wanted) in [(8, 4), (10, 4), (3, 4), (1, 4), (7, 1), (256, 3), (5, 5)] {
            let shards: Vec<Shard> = Shard::all(images, wanted).collect();
            assert_eq!(shards.len(), wanted.min(images));
            let ranges: Vec<_> = shards.iter().map(Shard::range).collect();
            assert!(ranges.windows(2).all(|w| w[0].end == w[1].start && w[0].len() >= w[1].len()));
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, images));
            assert!(ranges[0].len() - ranges[ranges.len() - 1].len() <= 1, "{ranges:?}");
            assert!((shards.iter().map(Shard::share).sum::<f32>() - 1.0).abs() < 1e-6);
            assert_eq!(shards.iter().filter(|s| s.is_last()).count(), 1);
        }
        assert_eq!(Shard::WHOLE.share(), 1.0);
    }
}
