//! RandAugment (Cubuk et al. 2020): some of fourteen operations, one after the other, all of one strength; torchvision's
//! `RandAugment` of byte tensors, with its nearest interpolation.

mod geometry;
mod tones;

use crate::rng::Rng;
use crate::{Error, Result};

/// How many operations, and how strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandAugment {
    /// Operations that are drawn for an image, with replacement; at least one.
    pub ops: usize,
    /// Their strength: the number of one of [`RandAugment::BINS`] steps.
    pub magnitude: usize,
}

/// The operations, in torchvision's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

use Operation::{
    AutoContrast, Brightness, Color, Contrast, Equalize, Identity, Posterize, Rotate, Sharpness, ShearX,
    ShearY, Solarize, TranslateX, TranslateY,
};

const KINDS: [Operation; 14] = [
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
];

/// One operation that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Op {
    kind: Operation,
    magnitude: usize,
    negative: bool,
}

impl RandAugment {
    /// Steps of strength.
    pub const BINS: usize = 31;
    /// Operations for an image, at the most: a bound against mistyped numbers.
    pub const MOST: usize = 14;

    pub(super) fn validate(&self) -> Result<()> {
        if (1..=Self::MOST).contains(&self.ops) && self.magnitude < Self::BINS {
            return Ok(());
        }
        let message = format!(
            "found [{}, {}], expected [operations from 1 to {}, magnitude from 0 to {}]",
            self.ops,
            self.magnitude,
            Self::MOST,
            Self::BINS - 1
        );
        Err(Error::recipe("data.randaugment", message))
    }

    /// Changes an image of `size x size` RGB bytes; what lies outside of it becomes `fill`.
    pub(super) fn apply(&self, rgb: &mut [u8], size: usize, fill: [u8; 3], rng: &mut Rng) {
        for _ in 0..self.ops {
            let kind = KINDS[rng.below(KINDS.len())];
            let negative = kind.is_signed() && rng.below(2) == 1;
            Op { kind, magnitude: self.magnitude, negative }.apply(rgb, size, fill);
        }
    }
}

impl Operation {
    /// Whether half of its draws go the other way.
    fn is_signed(self) -> bool {
        !matches!(self, Identity | Posterize | Solarize | AutoContrast | Equalize)
    }

    /// What its strongest form takes (torchvision's `_augmentation_space`) of an image `size` pixels wide.
    fn strongest(self, size: usize) -> f64 {
        match self {
            ShearX | ShearY => 0.3,
            TranslateX | TranslateY => 150.0 / 331.0 * size as f64,
            Rotate => 30.0,
            Brightness | Color | Contrast | Sharpness => 0.9,
            _ => 0.0,
        }
    }
}

impl Op {
    fn apply(self, rgb: &mut [u8], size: usize, fill: [u8; 3]) {
        let value = f64::from(step([0.0, self.kind.strongest(size) as f32], self.magnitude));
        let value = if self.negative { -value } else { value };
        let factor = 1.0 + value;
        match self.kind {
            Identity => {}
            ShearX => geometry::shear(rgb, size, [value, 0.0], fill),
            ShearY => geometry::shear(rgb, size, [0.0, value], fill),
            // Whole pixels, towards 0.
            TranslateX => geometry::translate(rgb, size, [0, value as isize], fill),
            TranslateY => geometry::translate(rgb, size, [value as isize, 0], fill),
            Rotate => geometry::rotate(rgb, size, value, fill),
            Brightness => tones::brightness(rgb, factor),
            Color => tones::color(rgb, factor),
            Contrast => tones::contrast(rgb, factor),
            Sharpness => tones::sharpness(rgb, size, factor),
            Posterize => tones::posterize(rgb, bits(self.magnitude)),
            Solarize => tones::solarize(rgb, step([255.0, 0.0], self.magnitude)),
            AutoContrast => tones::autocontrast(rgb),
            Equalize => tones::equalize(rgb),
        }
    }
}

/// A value of `torch.linspace` in 32 bits, which counts from the nearer end. (With vectors of some processors, its 20th of 30
/// is one unit of the last place off.)
fn step([first, last]: [f32; 2], magnitude: usize) -> f32 {
    let width = (last - first) / (RandAugment::BINS - 1) as f32;
    if magnitude < RandAugment::BINS / 2 {
        first + width * magnitude as f32
    } else {
        last - width * (RandAugment::BINS - 1).saturating_sub(magnitude) as f32
    }
}

/// Bits of a byte that posterizing keeps: 8 to 4.
fn bits(magnitude: usize) -> u32 {
    8 - (magnitude as f32 / ((RandAugment::BINS - 1) as f32 / 4.0)).round_ties_even() as u32
}

#[cfg(test)]
mod tests;
