//! Operations on the values of pixels, in the arithmetic of torchvision's byte tensors.

use crate::data::extras::colour::grey;

/// Towards black, or away from it.
pub(super) fn brightness(rgb: &mut [u8], factor: f64) {
    let blend = Blend::new(factor);
    every_byte(rgb, |v| blend.of(v, 0.0));
}

/// Towards each pixel's grey, or away from it.
pub(super) fn color(rgb: &mut [u8], factor: f64) {
    let blend = Blend::new(factor);
    for pixel in rgb.chunks_exact_mut(3) {
        let grey = grey(pixel);
        pixel.iter_mut().for_each(|v| *v = blend.of(*v, grey));
    }
}

/// Towards the image's mean grey, or away from it.
pub(super) fn contrast(rgb: &mut [u8], factor: f64) {
    let blend = Blend::new(factor);
    let sum: u64 = rgb.chunks_exact(3).map(|p| grey(p) as u64).sum();
    let mean = sum as f32 / (rgb.len() / 3).max(1) as f32;
    every_byte(rgb, |v| blend.of(v, mean));
}

/// Towards the image smoothed by a 3x3 window, or away from it; the outermost pixels are not
/// smoothed (rounding may still lower them by one).
pub(super) fn sharpness(rgb: &mut [u8], size: usize, factor: f64) {
    if size <= 2 {
        return;
    }
    let (blend, row) = (Blend::new(factor), size * 3);
    // The rows above and here as they were: the row below is not changed yet.
    let (mut above, mut here) = (rgb[..row].to_vec(), vec![0; row]);
    let edge = |part: &mut [u8]| part.iter_mut().for_each(|v| *v = blend.of(*v, f32::from(*v)));
    edge(&mut rgb[..row]);
    for y in 1..size - 1 {
        let (changed, below) = rgb[y * row..].split_at_mut(row);
        here.copy_from_slice(changed);
        edge(&mut changed[..3]);
        edge(&mut changed[row - 3..]);
        for x in 3..row - 3 {
            let three = |line: &[u8]| [x - 3, x, x + 3].map(|at| u32::from(line[at])).iter().sum::<u32>();
            let sum = three(&above) + three(&here) + three(below) + 4 * u32::from(here[x]);
            // Thirteenths are never halfway between two bytes.
            changed[x] = blend.of(here[x], ((sum + 6) / 13) as f32);
        }
        std::mem::swap(&mut above, &mut here);
    }
    edge(&mut rgb[(size - 1) * row..]);
}

/// Drops all but the first bits.
pub(super) fn posterize(rgb: &mut [u8], bits: u32) {
    let mask = 0xFF_u8.checked_shl(8 - bits.min(8)).unwrap_or(0);
    rgb.iter_mut().for_each(|v| *v &= mask);
}

/// Inverts values from a threshold on.
pub(super) fn solarize(rgb: &mut [u8], threshold: f32) {
    every_byte(rgb, |v| if f32::from(v) >= threshold { 255 - v } else { v });
}

/// Stretches each channel over all values.
pub(super) fn autocontrast(rgb: &mut [u8]) {
    for channel in 0..3 {
        let values = || rgb.iter().skip(channel).step_by(3).copied();
        let (Some(least), Some(most)) = (values().min(), values().max()) else { return };
        if least == most {
            continue;
        }
        // torch divides a number by a tensor by way of reciprocals.
        let scale = 1.0 / (f32::from(most) - f32::from(least)) * 255.0;
        every_byte_of(rgb, channel, |v| ((f32::from(v) - f32::from(least)) * scale).clamp(0.0, 255.0) as u8);
    }
}

/// Makes all values of a channel about as frequent.
pub(super) fn equalize(rgb: &mut [u8]) {
    for channel in 0..3 {
        let mut counts = [0_usize; 256];
        rgb.iter().skip(channel).step_by(3).for_each(|v| counts[usize::from(*v)] += 1);
        let last = counts.iter().rev().find(|n| **n > 0).copied().unwrap_or_default();
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            continue;
        }
        let mut below = 0;
        let table = counts.map(|n| {
            let value = if below == 0 { 0 } else { ((below + step / 2) / step).min(255) };
            below += n;
            value as u8
        });
        every_byte_of(rgb, channel, |v| table[usize::from(v)]);
    }
}

/// A part of one value and the rest of another, in 32 bits each; the fraction is dropped.
#[derive(Clone, Copy)]
struct Blend {
    own: f32,
    other: f32,
}

impl Blend {
    fn new(factor: f64) -> Self {
        Blend { own: factor as f32, other: (1.0 - factor) as f32 }
    }

    fn of(self, v: u8, other: f32) -> u8 {
        (self.own * f32::from(v) + self.other * other).clamp(0.0, 255.0) as u8
    }
}

/// Replaces bytes by a function of each: 256 values to compute, however many bytes.
fn every_byte(rgb: &mut [u8], f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as u8));
    rgb.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
}

/// Likewise those of a channel.
fn every_byte_of(rgb: &mut [u8], channel: usize, f: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|v| f(v as u8));
    rgb.iter_mut().skip(channel).step_by(3).for_each(|v| *v = table[usize::from(*v)]);
}
