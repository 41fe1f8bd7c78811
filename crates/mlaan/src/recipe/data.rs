//! `[data]`: which images, and what is done to them.

use crate::data::{Extras, RandAugment};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where images come from and how they reach the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// `builtin`, or the path of a file or folder (relative to the working folder).
    pub source: String,
    /// Side of the square images fed to the network, pixels.
    pub size: usize,
    /// Use only this many training images (chosen by the seed). Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Share of the training images, of those that `limit` and `test` leave, that is held out to validate on where the set has
    /// no validation split beside its test split; stratified, drawn by the seed. 0 does without the set's own. Default: the
    /// set's own, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Share that is held out to test on, where the set has no test split; the same for every seed. Default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// Where the images of a path live while a run goes on.
    pub load: Load,
    /// Whether pictures are turned as their EXIF orientation says.
    pub orientation: Orientation,
    /// How an epoch chooses its images.
    #[serde(skip_serializing_if = "Sampler::is_shuffle")]
    pub sampler: Sampler,
    /// Random changes to training images.
    pub augment: Augment,
    /// RandAugment behind `augment`: operations for an image, and their magnitude. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub randaugment: Option<[usize; 2]>,
    /// Changes of brightness, contrast, saturation and hue, behind `augment`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour_jitter: Option<ColourJitter>,
    /// Probability that a random rectangle of an image is erased. Default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<f64>,
    /// Side, pixels, of a square that is cut out of every image. Default: none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<usize>,
    /// Trains on mixtures of two images: the α of Beta(α, α), from which their shares are drawn. Default: on images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// Gives images a rectangle of another one: the α of Beta(α, α), from which their shares are drawn. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// Mean and standard deviation that pixels are normalised with.
    pub normalise: Normalise,
    /// Skip images that cannot be decoded, and count them, instead of stopping.
    pub skip_broken: bool,
    /// Shorter side of a test image before its centre is cut out, pixels; images of `size` are taken as they are. Default:
    /// `size * 256 / 224`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_side: Option<usize>,
}

impl Default for Data {
    fn default() -> Self {
        Data {
            source: "builtin".into(),
            size: 32,
            limit: None,
            validation: None,
            test: None,
            load: Load::Auto,
            orientation: Orientation::Auto,
            sampler: Sampler::Shuffle,
            augment: Augment::Auto,
            randaugment: None,
            colour_jitter: None,
            random_erasing: None,
            cutout: None,
            mixup: None,
            cutmix: None,
            normalise: Normalise::Named(Statistics::Auto),
            skip_broken: false,
            short_side: None,
        }
    }
}

/// Where images live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// In memory up to [`data::Load::MOST`](crate::data::Load::MOST) bytes, else on disk; a run keeps what was chosen.
    Auto,
    /// Decoded once, scaled down to `short_side`.
    Memory,
    /// On disk: decoded each time, so that random crops see all pixels.
    Stream,
}

impl From<Load> for crate::data::Load {
    fn from(load: Load) -> Self {
        match load {
            Load::Auto => Self::Auto,
            Load::Memory => Self::Memory,
            Load::Stream => Self::Stream,
        }
    }
}

/// Whether pictures are turned as their EXIF orientation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// They are in folders and archives of one's own pictures, and not in published sets; a run keeps what was chosen.
    Auto,
    /// As viewers show them.
    Exif,
    /// As they are stored.
    Ignore,
}

impl From<Orientation> for crate::data::Orientation {
    fn from(orientation: Orientation) -> Self {
        match orientation {
            Orientation::Auto => Self::Auto,
            Orientation::Exif => Self::Exif,
            Orientation::Ignore => Self::Ignore,
        }
    }
}

/// How an epoch chooses its training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampler {
    /// Each once, in a random order.
    Shuffle,
    /// As many, drawn with replacement, each class as often as any other.
    Balanced,
}

impl Sampler {
    /// Whether each image comes once; recipes do not spell that out.
    pub fn is_shuffle(&self) -> bool {
        *self == Sampler::Shuffle
    }

    /// Whether classes come equally often.
    pub fn is_balanced(&self) -> bool {
        *self == Sampler::Balanced
    }
}

/// Random changes to training images (METHOD §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augment {
    /// What suits the data set.
    Auto,
    /// Reflect-pad 4, random crop, flip.
    Cifar,
    /// Zero-pad 2, random crop.
    Svhn,
    /// Zero-pad 4, random crop, flip.
    Stl10,
    /// Random resized crop, flip.
    Imagenet,
    /// None.
    None,
}

/// By how much colours change at the most (torchvision's `ColorJitter`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColourJitter {
    /// Brightness, contrast and saturation alike; the hue stays.
    Same(f64),
    /// Brightness, contrast, saturation, hue.
    Each([f64; 4]),
}

impl From<ColourJitter> for crate::data::ColourJitter {
    fn from(jitter: ColourJitter) -> Self {
        let [brightness, contrast, saturation, hue] = match jitter {
            ColourJitter::Same(by) => [by, by, by, 0.0],
            ColourJitter::Each(by) => by,
        };
        Self { brightness, contrast, saturation, hue }
    }
}

/// What pixels are normalised with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Normalise {
    /// The statistics of a known data set.
    Named(Statistics),
    /// Given here.
    Values(MeanStd),
}

/// Known pixel statistics (METHOD §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistics {
    /// What suits the data set.
    Auto,
    /// CIFAR-10's.
    Cifar10,
    /// One half throughout.
    Svhn,
    /// One half throughout.
    Stl10,
    /// ImageNet's.
    Imagenet,
}

/// Mean and standard deviation of pixels counted from 0 to 1: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanStd {
    /// Mean per channel.
    pub mean: [f64; 3],
    /// Standard deviation per channel, above 0.
    pub std: [f64; 3],
}

impl MeanStd {
    /// The largest difference of a mean or a deviation.
    pub(crate) fn farthest(&self, other: &Self) -> f64 {
        let all = |m: &Self| m.mean.into_iter().chain(m.std).collect::<Vec<_>>();
        all(self).into_iter().zip(all(other)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

impl fmt::Display for MeanStd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:?}, std {:?}", self.mean, self.std)
    }
}

impl Data {
    /// The further random changes of images; what erased pixels become is set when their mean is known.
    pub fn extras(&self) -> Extras {
        Extras {
            randaugment: self.randaugment.map(|[ops, magnitude]| RandAugment { ops, magnitude }),
            colour_jitter: self.colour_jitter.map(Into::into),
            random_erasing: self.random_erasing,
            cutout: self.cutout,
            mixup: self.mixup,
            cutmix: self.cutmix,
            fill: [0; 3],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        self.extras().validate(self.size)?;
        match self.short_side {
            Some(side) if side < self.size => Err(Error::recipe(
                "data.short_side",
                format!(
                    "found {side}, but the center of {0}x{0} pixels (data.size) is cut out of it; it must be at least {0}",
                    self.size
                ),
            )),
            _ => Ok(()),
        }
    }
}
