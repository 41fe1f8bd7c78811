//! Between types of stored values, and moving averages in half-size floats.

use super::checks::*;
use super::traffic::size;
use super::{Label, Operation};
use crate::{DType, Result, Tensor};

/// See [`Device::convert`](crate::Device::convert).
pub(crate) struct Convert<'a> {
    pub(crate) target: &'a mut Tensor,
    pub(crate) source: &'a Tensor,
}

impl Operation for Convert<'_> {
    const NAME: &'static str = "convert";

    type Made = ();

    fn check(&self) -> Result<()> {
        [&*self.target, self.source].into_iter().try_for_each(|t| floats(Self::NAME, t))?;
        same_sizes(Self::NAME, self.target, self.source)
    }

    fn bytes(&self) -> usize {
        2 * size(self.target) + size(self.source)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.source.shape())
    }
}

/// See [`Device::ema_rounded`](crate::Device::ema_rounded).
pub(crate) struct EmaRounded<'a> {
    pub(crate) target: &'a mut Tensor,
    pub(crate) source: &'a Tensor,
    pub(crate) m: f32,
    pub(crate) key: u64,
}

impl EmaRounded<'_> {
    /// The key's halves.
    pub(crate) fn keys(&self) -> [u32; 2] {
        [self.key as u32, (self.key >> 32) as u32]
    }
}

impl Operation for EmaRounded<'_> {
    const NAME: &'static str = "ema_rounded";

    type Made = ();

    fn check(&self) -> Result<()> {
        of_type(Self::NAME, DType::Bf16, self.target)?;
        f32_only(Self::NAME, &[self.source])?;
        same_sizes(Self::NAME, self.target, self.source)
    }

    fn bytes(&self) -> usize {
        2 * size(self.target) + size(self.source)
    }

    fn label(&self) -> Label {
        Label::new(Self::NAME, self.source.shape())
    }
}

fn same_sizes(operation: &'static str, target: &Tensor, source: &Tensor) -> Result<()> {
    ensure(target.shape() == source.shape(), operation, || {
        format!("{:?} beside {:?}", target.shape().dims(), source.shape().dims())
    })
}
