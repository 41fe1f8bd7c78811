//! The built-in set: drawn shapes and textures, made in memory so that nothing need be downloaded.
//!
//! Ten classes, 32x32 RGB. Position, scale, rotation and all colours are random per image and
//! distributed alike for every class; backgrounds have gradients, waves and clutter. So neither the
//! mean colour nor any single pixel says much about the class, but a small convolutional network
//! learns it in a few epochs.

use rayon::prelude::*;

use super::shapes::{CLASSES, Shape};
use super::{ImageView, Memory, Orientation, Splits};
use crate::Result;
use crate::rng::{RandomStream, Rng};

/// Height and width of the built-in images.
pub const SIDE: usize = 32;
/// Training images of the built-in set.
pub const TRAIN: usize = 5_000;
/// Test images of the built-in set.
pub const TEST: usize = 1_000;

/// Difference in lightness between an object and its ground, of 1; the set's difficulty depends on it most.
const CONTRAST: f32 = 0.4;

type Colour = [f32; 3];

/// Both splits of the built-in set for `seed`, with so many images each; every prefix of a split is
/// the same for any size, and the classes take turns (image `i` has label `i % 10`).
///
/// # Errors
/// When memory runs out.
pub fn splits(seed: u64, train: usize, test: usize) -> Result<Splits> {
    let train: Vec<usize> = (0..train).collect();
    of_images(seed, &train, None, test)
}

/// As [`splits()`], with these of the images of the training split, to train and to validate on.
pub(super) fn of_images(
    seed: u64,
    train: &[usize],
    validation: Option<&[usize]>,
    test: usize,
) -> Result<Splits> {
    let validation = validation.map(|images| these(seed, 0, images)).transpose()?;
    Ok(Splits {
        name: "builtin".into(),
        train: std::sync::Arc::new(these(seed, 0, train)?),
        validation: validation.map(|set| std::sync::Arc::new(set) as _),
        test: std::sync::Arc::new(generate(seed, 1, test)?),
        skipped: 0,
        notes: super::Notes::default(),
        format: "built-in",
        known: None,
        orientation: Orientation::Exif,
    })
}

/// `count` images of split `split` (0: training, 1: test), drawn on rayon's current pool.
///
/// # Errors
/// When memory runs out.
pub fn generate(seed: u64, split: u64, count: usize) -> Result<Memory> {
    these(seed, split, &(0..count).collect::<Vec<_>>())
}

/// The label of image `index`.
pub(super) fn label(index: usize) -> u32 {
    (index % CLASSES.len()) as u32
}

fn these(seed: u64, split: u64, indices: &[usize]) -> Result<Memory> {
    let mut set = Memory::new(CLASSES.iter().map(|(name, _)| (*name).into()).collect());
    let images: Vec<Vec<u8>> = indices
        .par_iter()
        .map(|&i| {
            let mut rng = Rng::new(seed, RandomStream::Synthetic, split, i as u64);
            draw(CLASSES[i % CLASSES.len()].1, &mut rng)
        })
        .collect();
    for (at, (rgb, &i)) in images.iter().zip(indices).enumerate() {
        let (height, width) = (SIDE, SIDE);
        set.push(ImageView { height, width, rgb }, i % CLASSES.len())?;
        if at == 0 {
            set.expect(indices.len() - 1)?;
        }
    }
    set.shrink();
    Ok(set)
}

/// One image of `shape`: background, clutter, the object, sometimes a line across it, noise.
fn draw(shape: Shape, rng: &mut Rng) -> Vec<u8> {
    let (mut canvas, ground) = background(rng);
    for _ in 0..rng.below(5) {
        clutter(&mut canvas, rng);
    }
    object(&mut canvas, shape, ground, rng);
    if rng.uniform() < 0.15 {
        line(&mut canvas, rng);
    }
    finish(&canvas, rng)
}

fn colour(rng: &mut Rng) -> Colour {
    [0; 3].map(|_| rng.range(0.05, 0.95) as f32)
}

/// A random colour, made lighter or darker as far as it needs to stand out from `other`.
fn contrasting(other: Colour, rng: &mut Rng) -> Colour {
    let light = |c: Colour| 0.3 * c[0] + 0.6 * c[1] + 0.1 * c[2];
    let own = colour(rng);
    // Away from the nearer end of the scale, so that there is always room for the contrast.
    let (end, target) = match light(other) {
        ground if ground < 0.5 => (1.0, (ground + CONTRAST).max(light(own))),
        ground => (0.0, (ground - CONTRAST).min(light(own))),
    };
    let share = ((target - light(own)) / (end - light(own))).clamp(0.0, 1.0);
    own.map(|v| v + share * (end - v))
}

/// Two related colours blended along a random direction, with a soft wave; also the mean colour.
fn background(rng: &mut Rng) -> (Vec<Colour>, Colour) {
    let from = colour(rng);
    let to = from.map(|v| v + 0.1 * rng.normal() as f32);
    let wave = from.map(|_| 0.03 * rng.normal() as f32);
    let (sin, cos) = (rng.range(0.0, std::f64::consts::TAU) as f32).sin_cos();
    let (pitch, phase) = (rng.range(0.2, 0.8) as f32, rng.range(0.0, 6.3) as f32);
    let canvas = pixels()
        .map(|(x, y)| {
            let (x, y) = (x - SIDE as f32 / 2.0, y - SIDE as f32 / 2.0);
            let along = (cos * x + sin * y) / SIDE as f32 + 0.5;
            let swell = (pitch * (cos * y - sin * x) + phase).sin();
            std::array::from_fn(|k| from[k] + along * (to[k] - from[k]) + swell * wave[k])
        })
        .collect();
    let mean = std::array::from_fn(|k| 0.5 * (from[k] + to[k]));
    (canvas, mean)
}

/// Centres of the pixels, row by row.
fn pixels() -> impl Iterator<Item = (f32, f32)> {
    (0..SIDE * SIDE).map(|i| ((i % SIDE) as f32 + 0.5, (i / SIDE) as f32 + 0.5))
}

/// Blends `paint` over the canvas where `distance` (in pixels, negative inside) says so; the edge is
/// one pixel soft.
fn stamp(canvas: &mut [Colour], opacity: f32, paint: Colour, distance: impl Fn(f32, f32) -> f32) {
    for (pixel, (x, y)) in canvas.iter_mut().zip(pixels()) {
        let cover = opacity * (0.5 - distance(x, y)).clamp(0.0, 1.0);
        if cover > 0.0 {
            for (p, c) in pixel.iter_mut().zip(paint) {
                *p += cover * (c - *p);
            }
        }
    }
}

/// A small disc, box or triangle somewhere.
fn clutter(canvas: &mut [Colour], rng: &mut Rng) {
    let shape = [Shape::Disc, Shape::Square, Shape::Triangle][rng.below(3)];
    let radius = rng.range(1.2, 3.2);
    let place = Place::random(rng, radius, 0.0);
    let opacity = rng.range(0.4, 0.9) as f32;
    let paint = colour(rng);
    stamp(canvas, opacity, paint, |x, y| place.distance(shape, x, y));
}

/// The object that makes the class, in a colour unlike the background's.
fn object(canvas: &mut [Colour], shape: Shape, ground: Colour, rng: &mut Rng) {
    let radius = rng.range(8.5, 13.0);
    let place = Place::random(rng, radius, 0.85 * radius);
    let paint = contrasting(ground, rng);
    if shape.is_texture() {
        let window = [Shape::Disc, Shape::Square][rng.below(2)];
        let base = contrasting(paint, rng);
        stamp(canvas, 1.0, base, |x, y| place.distance(window, x, y));
        stamp(canvas, 1.0, paint, |x, y| place.distance(shape, x, y).max(place.distance(window, x, y)));
    } else {
        stamp(canvas, 1.0, paint, |x, y| place.distance(shape, x, y));
    }
}

/// A thin straight line across the image, over everything.
fn line(canvas: &mut [Colour], rng: &mut Rng) {
    let place = Place::random(rng, 1.0, 8.0);
    let half = rng.range(0.4, 1.0) as f32;
    let paint = colour(rng);
    stamp(canvas, 1.0, paint, |x, y| place.local(x, y).1.abs() - half);
}

/// Brightness, contrast and pixel noise; then bytes.
fn finish(canvas: &[Colour], rng: &mut Rng) -> Vec<u8> {
    let gain = rng.range(0.75, 1.15) as f32;
    let lift = rng.range(-0.08, 0.08) as f32;
    let noise = rng.range(0.0, 0.03) as f32;
    canvas
        .iter()
        .flatten()
        .map(|v| {
            // Four uniforms of 16 bits, summed: close to normal and much cheaper than Box-Muller.
            let bits = rng.bits();
            let sum: u32 = (0..4).map(|k| (bits >> (16 * k)) as u32 & 0xFFFF).sum();
            let z = (sum as f32 / 65_535.0 - 2.0) * 3f32.sqrt();
            let v = 0.5 + gain * (v - 0.5) + lift + noise * z;
            (v * 255.0 + 0.5).clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// Where a shape lies: centre, size, rotation.
struct Place {
    x: f32,
    y: f32,
    radius: f32,
    sin: f32,
    cos: f32,
}

impl Place {
    /// A random place at least `margin` pixels inside the edges.
    fn random(rng: &mut Rng, radius: f64, margin: f64) -> Self {
        let high = SIDE as f64 - margin;
        let (x, y) = (rng.range(margin, high) as f32, rng.range(margin, high) as f32);
        let (sin, cos) = (rng.range(0.0, std::f64::consts::TAU) as f32).sin_cos();
        let radius = radius as f32;
        Place { x, y, radius, sin, cos }
    }

    /// The point in the shape's own frame, still in pixels.
    fn local(&self, x: f32, y: f32) -> (f32, f32) {
        let (dx, dy) = (x - self.x, y - self.y);
        (self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx)
    }

    fn distance(&self, shape: Shape, x: f32, y: f32) -> f32 {
        let (u, v) = self.local(x, y);
        self.radius * shape.distance(u / self.radius, v / self.radius)
    }
}
