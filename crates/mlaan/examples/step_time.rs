//! Seconds of one training step of a recipe, one number a line:
//! `cargo run --release -p mlaan --example step_time -- RECIPE [BATCH] [STEPS] [THREADS] [PRECISION]`.
//! `bench/compare.py` runs it in turn with PyTorch.

use mlaan::local::{Learner, StepOptions, Task};
use mlaan::nn::Extent;
use mlaan::recipe::Recipe;
use mlaan::train::{feed, setup};
use mlaan_engine::Device;
use mlaan_engine::ops::{PixelScale, Sgd};
use std::time::Instant;

fn main() -> mlaan::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut recipe = Recipe::load(&arguments.next().unwrap_or_else(|| "bp-resnet32".into()))?;
    let mut number = |default: usize| arguments.next().and_then(|a| a.parse().ok()).unwrap_or(default);
    let (batch, steps, threads) = (number(128), number(5), number(0));
    if let Some(precision) = arguments.next() {
        recipe.set(&format!("train.precision={precision}"))?;
    }
    let device = Device::cpu((threads > 0).then_some(threads))?.with_precision(recipe.train.precision.into());
    let size = recipe.data.size;
    let classes = if size > 96 { 1000 } else { 10 };
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: Extent::square(size, 3), classes, pixels };
    let mut learner = Learner::new(&device, &setup::backbone(&recipe.model)?, &recipe.local, task, 0)?;
    let sgd = Sgd { lr: 0.01, momentum: 0.9, weight_decay: 1e-4, nesterov: true };
    let options = StepOptions { backbone: sgd, independent: sgd, cascaded: sgd };
    let bytes: Vec<u8> = (0..batch * size * size * 3).map(|i| (i * 7919 % 251) as u8).collect();
    let labels: Vec<u32> = (0..batch).map(|i| (i % classes) as u32).collect();
    let indices = (0..batch).collect();
    let images = mlaan::data::Batch { bytes, labels, indices };
    for _ in 0..steps + 2 {
        let begin = Instant::now();
        let step = || -> mlaan::Result<()> {
            let fed = feed(&device, Some(&images), batch, size, pixels)?;
            learner.step(fed.images, &fed.labels, &options)?;
            Ok(())
        };
        device.scope(step).unwrap_or(Ok(()))?;
        println!("{}", begin.elapsed().as_secs_f64());
    }
    eprintln!("peak {} bytes", device.usage().footprint);
    Ok(())
}
