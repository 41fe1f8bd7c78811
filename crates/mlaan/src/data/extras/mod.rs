//! Further random changes of training images, each an option of its own: colours, erased parts, mixtures.
//!
//! They come behind the crop, in this order: RandAugment, colours, an erased rectangle, a cut-out square, and last, over the whole
//! batch, mixtures of two images (Mixup or CutMix). All they draw derives from the seed, the epoch and the image.

mod beta;
mod colour;
mod cutmix;
mod erase;
mod mixtures;
mod mixup;
mod randaugment;

pub use colour::ColourJitter;
pub(super) use mixtures::mix;
pub use randaugment::RandAugment;

use crate::rng::{RandomStream, Rng};
use crate::{Error, Result};

/// See the module; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extras {
    /// Some of torchvision's fourteen operations, one after the other (Cubuk et al. 2020).
    pub randaugment: Option<RandAugment>,
    /// Brightness, contrast, saturation and hue change, in a random order.
    pub colour_jitter: Option<ColourJitter>,
    /// Probability that a random rectangle is erased (Zhong et al. 2020; torchvision's `RandomErasing`).
    pub random_erasing: Option<f64>,
    /// Side in pixels of a square that is cut out around a random pixel (DeVries and Taylor 2017).
    pub cutout: Option<usize>,
    /// Images become mixtures of two, with two labels (Zhang et al. 2018): the α of Beta(α, α), from which each image's
    /// share is drawn.
    pub mixup: Option<f64>,
    /// Images get a rectangle of another one, and two labels (Yun et al. 2019): the α of Beta(α, α), from which each
    /// image's share of the area is drawn. Beside `mixup`, each batch takes one of both, with equal probability.
    pub cutmix: Option<f64>,
    /// What erased pixels, and those beyond an image that was moved, become: the set's mean, so that they are 0 behind the normalisation.
    pub fill: [u8; 3],
}

impl Extras {
    /// Whether no image is changed.
    pub fn is_none(&self) -> bool {
        *self == Extras { fill: self.fill, ..Extras::default() }
    }

    /// Whether batches are mixtures of two images, with two labels an image.
    pub fn mixes(&self) -> bool {
        self.mixup.is_some() || self.cutmix.is_some()
    }

    /// Checks the numbers for images of `size x size`.
    ///
    /// # Errors
    /// A [`Error::Recipe`] under the key of the number that is impossible.
    pub fn validate(&self, size: usize) -> Result<()> {
        if let Some(side) = self.cutout.filter(|s| !(1..=size).contains(s)) {
            let message = format!("found {side}, but the images have {size} pixels a side; use 1 to {size}");
            return Err(Error::recipe("data.cutout", message));
        }
        if let Some(p) = self.random_erasing.filter(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::recipe(
                "data.random_erasing",
                format!("found {p}, expected a probability from 0 to 1"),
            ));
        }
        for (key, alpha) in [("data.mixup", self.mixup), ("data.cutmix", self.cutmix)] {
            if let Some(alpha) = alpha.filter(|a| !(*a > 0.0 && a.is_finite())) {
                return Err(Error::recipe(key, format!("found {alpha}, expected a number above 0")));
            }
        }
        self.randaugment.map_or(Ok(()), |r| r.validate())?;
        self.colour_jitter.map_or(Ok(()), |c| c.validate())
    }

    /// Changes an image of `size x size` RGB bytes by what `(seed, epoch, index)` draws; mixtures come later, when the
    /// batch is whole.
    pub fn apply(&self, rgb: &mut [u8], size: usize, (seed, epoch, index): (u64, usize, usize)) {
        let rng = |stream| Rng::new(seed, stream, epoch as u64, index as u64);
        if let Some(augment) = &self.randaugment {
            augment.apply(rgb, size, self.fill, &mut rng(RandomStream::RandAugment));
        }
        if let Some(jitter) = &self.colour_jitter {
            jitter.draw(&mut rng(RandomStream::Colour)).apply(rgb);
        }
        if let Some(probability) = self.random_erasing {
            let hole = erase::random(size, probability, &mut rng(RandomStream::Erase));
            hole.into_iter().for_each(|hole| erase::fill(rgb, size, hole, self.fill));
        }
        if let Some(side) = self.cutout {
            let hole = erase::square(size, side, &mut rng(RandomStream::Cutout));
            erase::fill(rgb, size, hole, self.fill);
        }
    }
}

#[cfg(test)]
mod tests;
