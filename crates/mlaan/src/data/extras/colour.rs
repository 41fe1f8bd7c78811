//! Random colours: torchvision's `ColorJitter`, in the arithmetic of its byte tensors.

use crate::rng::Rng;
use crate::{Error, Result};

/// By how much colours change at the most: factors are uniform in `[max(0, 1 - x), 1 + x]`, the hue's shift in
/// `[-hue, hue]` of a turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourJitter {
    /// Of brightness.
    pub brightness: f64,
    /// Of contrast.
    pub contrast: f64,
    /// Of saturation.
    pub saturation: f64,
    /// Of hue, at most 0.5.
    pub hue: f64,
}

/// One change of all pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Change {
    /// Towards black.
    Brightness(f32),
    /// Towards the image's mean grey.
    Contrast(f32),
    /// Towards each pixel's grey.
    Saturation(f32),
    /// Around the circle of colours, in turns.
    Hue(f32),
}

/// Changes, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Changes([Option<Change>; 4]);

impl ColourJitter {
    pub(super) fn validate(&self) -> Result<()> {
        let parts = [self.brightness, self.contrast, self.saturation];
        if parts.iter().all(|v| *v >= 0.0 && v.is_finite()) && (0.0..=0.5).contains(&self.hue) {
            return Ok(());
        }
        let message = format!(
            "found brightness {}, contrast {}, saturation {}, hue {}; they cannot be below 0, nor hue above 0.5",
            self.brightness, self.contrast, self.saturation, self.hue
        );
        Err(Error::recipe("data.colour_jitter", message))
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> Changes {
        let mut factor = |by: f64| rng.range((1.0 - by).max(0.0), 1.0 + by) as f32;
        let mut changes = [
            (self.brightness > 0.0).then(|| Change::Brightness(factor(self.brightness))),
            (self.contrast > 0.0).then(|| Change::Contrast(factor(self.contrast))),
            (self.saturation > 0.0).then(|| Change::Saturation(factor(self.saturation))),
            None,
        ];
        changes[3] = (self.hue > 0.0).then(|| Change::Hue(rng.range(-self.hue, self.hue) as f32));
        rng.shuffle(&mut changes);
        Changes(changes)
    }
}

impl Changes {
    pub(super) fn apply(&self, rgb: &mut [u8]) {
        self.0.iter().flatten().for_each(|change| change.apply(rgb));
    }
}

impl Change {
    pub(super) fn apply(self, rgb: &mut [u8]) {
        match self {
            Change::Brightness(factor) => every_byte(rgb, |v| blend(v, 0.0, factor)),
            Change::Contrast(factor) => {
                let sum: u64 = rgb.chunks_exact(3).map(|p| grey(p) as u64).sum();
                let mean = (sum as f64 / (rgb.len() / 3).max(1) as f64) as f32;
                every_byte(rgb, |v| blend(v, mean, factor));
            }
            Change::Saturation(factor) => {
                for pixel in rgb.chunks_exact_mut(3) {
                    let grey = grey(pixel);
                    pixel.iter_mut().for_each(|v| *v = blend(f32::from(*v), grey, factor));
                }
            }
            Change::Hue(shift) => {
                for pixel in rgb.chunks_exact_mut(3) {
                    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|v| f32::from(v) / 255.0);
                    let [h, s, v] = hsv([r, g, b]);
                    let turned = (h + shift).rem_euclid(1.0);
                    // torchvision's way from [0, 1] to bytes.
                    let byte = |v: f32| (v * (255.0 + 1.0 - 1e-3)) as u8;
                    pixel.copy_from_slice(&of_hsv([turned, s, v]).map(byte));
                }
            }
        }
    }
}

/// Replaces bytes by a function of each: 256 values to compute, however many bytes.
fn every_byte(rgb: &mut [u8], f: impl Fn(f32) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as f32));
    rgb.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
}

/// `factor` of `v` and the rest of `other`; the fraction is dropped, as torchvision does.
fn blend(v: f32, other: f32, factor: f32) -> u8 {
    (factor * v + (1.0 - factor) * other).clamp(0.0, 255.0) as u8
}

/// A pixel's luma, a whole number.
pub(super) fn grey(pixel: &[u8]) -> f32 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
    (0.2989 * r + 0.587 * g + 0.114 * b).floor()
}

/// Hue in turns, saturation, value.
fn hsv([r, g, b]: [f32; 3]) -> [f32; 3] {
    let (most, least) = (r.max(g).max(b), r.min(g).min(b));
    let range = most - least;
    if range == 0.0 {
        return [0.0, 0.0, most];
    }
    let [r_off, g_off, b_off] = [r, g, b].map(|v| (most - v) / range);
    let sixths = if most == r {
        b_off - g_off
    } else if most == g {
        2.0 + r_off - b_off
    } else {
        4.0 + g_off - r_off
    };
    [(sixths / 6.0 + 1.0) % 1.0, range / most, most]
}

fn of_hsv([h, s, v]: [f32; 3]) -> [f32; 3] {
    let sector = (h * 6.0).floor();
    let f = h * 6.0 - sector;
    let level = |x: f32| (v * (1.0 - x)).clamp(0.0, 1.0);
    let (p, q, t) = (level(s), level(s * f), level(s * (1.0 - f)));
    match sector as u32 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
