//! Networks with values that a training leaves: running statistics that are not trivial.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used)] // In helpers of tests a failure is a failed test.

use mlaan::Device;
use mlaan::local::{Learner, Method, Task};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::{MeanStd, Normalise, Recipe};
use mlaan::train::checkpoint::{self, Manifest};
use mlaan::train::{EpochStats, setup};
use std::path::Path;

/// Numbers that look random, from -1 to 1.
pub fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Pictures of `size x size` pixels.
pub fn pictures(count: usize, size: usize) -> Vec<Vec<u8>> {
    let mut draw = noise(7);
    (0..count).map(|_| (0..size * size * 3).map(|_| (127.5 + 127.0 * draw()) as u8).collect()).collect()
}

/// The recipe of a small network: `backbone`, channels of the first stage, side of the images.
pub fn recipe(backbone: &str, width: usize, size: usize) -> Recipe {
    let mut recipe = Recipe::default();
    recipe.set(&format!("model.backbone={backbone}")).unwrap();
    recipe.model.width = Some(width);
    recipe.local = Method::default();
    recipe.data.size = size;
    recipe.data.normalise = Normalise::Values(MeanStd { mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3] });
    recipe
}

/// A checkpoint in `run` of such a network with `classes` classes and values drawn from `seed`.
pub fn checkpoint(run: &Path, recipe: &Recipe, classes: usize, seed: u64) -> Learner {
    let device = Device::cpu(Some(2)).unwrap();
    let Normalise::Values(normalise) = recipe.data.normalise else { unreachable!("see `recipe`") };
    let image = ImageShape::square(recipe.data.size, 3);
    let task = Task { image, classes, pixels: setup::pixel_scale(&normalise) };
    let backbone = setup::backbone(&recipe.model).unwrap();
    let mut learner =
        Learner::new(&device, &backbone, &Method::default(), task, seed, Optimizer::default()).unwrap();
    let mut draw = noise(seed + 1);
    learner
        .visit(&mut |p| {
            let mut values: Vec<f32> = (0..p.shape.elements()).map(|_| draw()).collect();
            let norm = p.owner.contains("bn") || p.owner.ends_with("downsample.1");
            match p.leaf {
                "running_var" => values.iter_mut().for_each(|v| *v = 1.0 + 0.5 * *v),
                "running_mean" => {}
                "weight" if norm => values.iter_mut().for_each(|v| *v = 0.7 + 0.2 * *v),
                "bias" => values.iter_mut().for_each(|v| *v *= 0.3),
                _ => return Ok(()),
            }
            Ok(device.upload(p.value, &values)?)
        })
        .unwrap();
    let manifest = Manifest {
        epoch: 3,
        step: 12,
        seed: 0,
        recipe: recipe.to_toml().unwrap(),
        classes: (0..classes).map(|i| format!("class {i}")).collect(),
        images: [8, 2],
        val_images: None,
        val_error: None,
        epochs_without_improvement: None,
        normalise,
        size: recipe.data.size,
        best: None,
        test_error: 50.0,
        seconds: 1.0,
        peak_bytes: 0,
        peak_memory_bytes: None,
        partial: EpochStats::default(),
        rate_batch: None,
        fingerprint: None,
    };
    checkpoint::save(&run.join(checkpoint::FOLDER), &manifest, &mut learner, true).unwrap();
    learner
}
