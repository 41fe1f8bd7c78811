//! Mean and standard deviation of the channels.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Dataset;
use super::spread::spread;
use crate::{Error, Result};

/// `(byte / 255 - mean) / std`, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalise {
    /// Mean of red, green, blue, of 1.
    pub mean: [f32; 3],
    /// Standard deviation of red, green, blue, of 1; positive.
    pub std: [f32; 3],
}

impl Normalise {
    /// Names that [`Normalise::preset`] knows.
    pub const PRESETS: [&str; 4] = ["cifar", "svhn", "stl10", "imagenet"];

    /// The values the MLAAN experiments use for a data set.
    pub fn preset(name: &str) -> Option<Self> {
        let of_255 = |mean: [f32; 3], std: [f32; 3]| Normalise {
            mean: mean.map(|v| v / 255.0),
            std: std.map(|v| v / 255.0),
        };
        match name {
            "cifar" => Some(of_255([125.3, 123.0, 113.9], [63.0, 62.1, 66.7])),
            "svhn" | "stl10" => Some(of_255([127.5; 3], [127.5; 3])),
            "imagenet" => Some(Normalise { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] }),
            _ => None,
        }
    }

    /// Images of a set on disk that are measured, at the most.
    const SAMPLE: usize = 1024;

    /// Mean and standard deviation over all pixels of `data`; sums are whole numbers, so the result does
    /// not depend on the number of threads. A constant channel gets the standard deviation 1. Of a set whose images are decoded
    /// each time, up to 1024 are taken, evenly spread.
    ///
    /// # Errors
    /// When `data` is empty or an image cannot be read.
    pub fn measure(data: &dyn Dataset) -> Result<Self> {
        let all: Vec<usize> = (0..data.len()).collect();
        let most = if data.streams() { Self::SAMPLE } else { usize::MAX };
        let measured: Vec<usize> = spread(&all, most).copied().collect();
        let (pixels, sum, square) = measured
            .into_par_iter()
            .map_init(Vec::new, |scratch, i| -> Result<Sums> { Ok(sums(data.image(i, scratch)?.rgb)) })
            .try_reduce(Default::default, |a, b| Ok(both(a, b)))?;
        if pixels == 0 {
            return Err(Error::data("normalization", "the split has no images to measure"));
        }
        Ok(Self::of((pixels, sum, square)))
    }

    /// What to normalise with: those of the pixels that were summed, at least one, and 1 where a channel is constant.
    pub(super) fn of(summed: Sums) -> Self {
        let Normalise { mean, std } = Self::seen(summed);
        Normalise { mean, std: std.map(|s| if s > 0.0 { s } else { 1.0 }) }
    }

    /// Mean and standard deviation of the pixels that were summed, at least one; of a constant channel 0.
    pub(super) fn seen((pixels, sum, square): Sums) -> Self {
        let n = pixels as f64;
        let mean = sum.map(|s| s as f64 / n);
        let std = std::array::from_fn(|k| {
            let variance = (square[k] as f64 / n - mean[k] * mean[k]).max(0.0);
            if variance > 1e-9 { (variance.sqrt() / 255.0) as f32 } else { 0.0 }
        });
        let mean = mean.map(|m| (m / 255.0) as f32);
        Normalise { mean, std }
    }
}

/// Pixels, sums and sums of squares of the three channels.
pub(super) type Sums = (u64, [u64; 3], [u64; 3]);

/// Those of the pixels of both.
pub(super) fn both(a: Sums, b: Sums) -> Sums {
    let add = |x: [u64; 3], y: [u64; 3]| std::array::from_fn(|k| x[k] + y[k]);
    (a.0 + b.0, add(a.1, b.1), add(a.2, b.2))
}

/// Those of an image.
pub(super) fn sums(rgb: &[u8]) -> Sums {
    let (mut sum, mut square) = ([0; 3], [0; 3]);
    for pixel in rgb.chunks_exact(3) {
        for k in 0..3 {
            let v = u64::from(pixel[k]);
            sum[k] += v;
            square[k] += v * v;
        }
    }
    (rgb.len() as u64 / 3, sum, square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageView, Memory};

    #[test]
    fn measured_values_are_those_of_the_pixels() {
        let mut set = Memory::new(vec!["a".into()]);
        let mut add = |height, width, rgb: &[u8]| {
            set.push(ImageView { height, width, rgb }, 0).unwrap();
        };
        add(1, 1, &[0, 255, 7]);
        add(1, 3, &[0, 0, 7, 102, 255, 7, 102, 0, 7]);
        let measured = Normalise::measure(&set).unwrap();
        let near = |a: [f32; 3], b: [f32; 3]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6);
        assert!(near(measured.mean, [0.2, 0.5, 7.0 / 255.0]), "{measured:?}");
        assert!(near(measured.std, [0.2, 0.5, 1.0]), "{measured:?}");
        assert!(Normalise::measure(&Memory::default()).is_err());
    }

    #[test]
    fn every_named_preset_exists() {
        for name in Normalise::PRESETS {
            assert!(Normalise::preset(name).is_some(), "{name}");
        }
        assert_eq!(Normalise::preset("mnist"), None);
        let cifar = Normalise::preset("cifar").unwrap();
        assert!((cifar.mean[0] * 255.0 - 125.3).abs() < 1e-4);
    }
}
