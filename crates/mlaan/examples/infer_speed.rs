//! How long a network takes to classify: as an evaluation computes it, and as `predict` does.
//!
//! `cargo run --release --example infer_speed -- RECIPE BATCH [--profile]`

use mlaan::local::{Learner, Method, Task};
use mlaan::nn::Extent;
use mlaan::recipe::Recipe;
use mlaan::train::setup;
use mlaan::{Device, Result};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Purpose};
use std::time::Instant;

/// Rounds; plain and folded alternate.
const ROUNDS: usize = 7;
/// Seconds of a round, about.
const SECONDS: f64 = 0.5;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let recipe = Recipe::load(args.first().map_or("bp-resnet32", String::as_str))?;
    let batch = args.get(1).and_then(|b| b.parse().ok()).unwrap_or(1);
    let device = Device::cpu(None)?.with_precision(recipe.train.precision.into());
    let backbone = setup::backbone(&recipe.model)?;
    let size = recipe.data.size;
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: Extent::square(size, 3), classes: if size > 96 { 1000 } else { 10 }, pixels };
    let mut plain = Learner::new(&device, &backbone, &Method::default(), task, 0)?;
    let mut folded = Learner::new(&device, &backbone, &Method::default(), task, 0)?;
    folded.fold()?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (network, times) in [&mut plain, &mut folded].into_iter().zip(&mut times) {
            let (mut count, begin) = (0, Instant::now());
            while begin.elapsed().as_secs_f64() < SECONDS {
                once(&device, network, batch, size)?;
                count += 1;
            }
            times.push(begin.elapsed().as_secs_f64() / f64::from(count));
        }
    }
    let [plain_ms, folded_ms] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[ROUNDS / 2] * 1e3
    });
    println!(
        "{} batch {batch} on {} threads: plain {plain_ms:.3} ms, folded {folded_ms:.3} ms, {:.2}x",
        recipe.model.backbone,
        device.threads(),
        plain_ms / folded_ms
    );
    if args.iter().any(|a| a == "--profile") {
        for fold in [false, true] {
            let profiled = device.profiled();
            let mut network = Learner::new(&profiled, &backbone, &Method::default(), task, 0)?;
            if fold {
                network.fold()?;
            }
            for _ in 0..10 {
                once(&profiled, &mut network, batch, size)?;
            }
            let costs = profiled.profile();
            let all: f64 = costs.iter().map(|c| c.seconds).sum();
            println!("{}: {:.3} ms", if fold { "folded" } else { "plain" }, all * 100.0);
            for c in costs.iter().take(14) {
                println!("  {:6.3} ms  {:4}  {}", c.seconds * 100.0, c.calls / 10, c.name);
            }
        }
    }
    Ok(())
}

fn once(device: &Device, network: &mut Learner, batch: usize, size: usize) -> Result<()> {
    let images = device.alloc([batch, size, size, 3], DType::F32, Purpose::Data)?;
    device.scope(|| network.infer(images)).unwrap_or_else(|| Ok(Vec::new())).map(drop)
}
