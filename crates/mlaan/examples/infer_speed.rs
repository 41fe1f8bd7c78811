//! How long a network takes to classify: as an evaluation computes it, and as `predict` does.
//!
//! `cargo run --release --example infer_speed -- RECIPE BATCH [--threads N] [--rounds N] [--json | --profile]`

use mlaan::local::{Learner, Method, Task};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::setup;
use mlaan::{Device, Error, Result};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, MemoryCategory};
use std::time::Instant;

/// Seconds of a round, about.
const SECONDS: f64 = 0.5;

/// What is measured.
struct Wanted {
    recipe: Recipe,
    batch: usize,
    device: Device,
    rounds: usize,
}

impl Wanted {
    fn of(args: &[String]) -> Result<Self> {
        let recipe = Recipe::load(args.first().map_or("bp-resnet32", String::as_str))?;
        let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1));
        let number = |name: &str, text: Option<&String>| match text.map(|t| t.parse::<usize>()) {
            None => Ok(None),
            Some(Ok(n)) if n > 0 => Ok(Some(n)),
            Some(_) => Err(Error::recipe(name, "give a whole number above 0")),
        };
        let batch = number("BATCH", args.get(1).filter(|b| !b.starts_with("--")))?.unwrap_or(1);
        let device = Device::cpu(number("--threads", after("--threads"))?)?;
        let rounds = number("--rounds", after("--rounds"))?.unwrap_or(7);
        Ok(Wanted { batch, device: device.with_precision(recipe.train.precision.into()), rounds, recipe })
    }

    fn network(&self, device: &Device, fold: bool) -> Result<Learner> {
        let size = self.recipe.data.size;
        let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
        let classes = if size > 96 { 1000 } else { 10 };
        let task = Task { image: ImageShape::square(size, 3), classes, pixels };
        let backbone = setup::backbone(&self.recipe.model)?;
        let mut network = Learner::new(device, &backbone, &Method::default(), task, 0, Optimizer::default())?;
        if fold {
            network.fuse()?;
        }
        Ok(network)
    }

    fn once(&self, device: &Device, network: &mut Learner) -> Result<()> {
        let size = self.recipe.data.size;
        let images = device.alloc([self.batch, size, size, 3], DType::F32, MemoryCategory::Data)?;
        device.scope(|| network.infer(images)).unwrap_or_else(|| Ok(Vec::new())).map(drop)
    }

    /// Seconds of a batch, as evaluated and folded: medians of rounds that alternate.
    fn seconds(&self) -> Result<[f64; 2]> {
        let mut networks = [self.network(&self.device, false)?, self.network(&self.device, true)?];
        let mut times = [Vec::new(), Vec::new()];
        for network in &mut networks {
            self.once(&self.device, network)?;
        }
        for _ in 0..self.rounds {
            for (network, times) in networks.iter_mut().zip(&mut times) {
                let (mut count, begin) = (0, Instant::now());
                while begin.elapsed().as_secs_f64() < SECONDS {
                    self.once(&self.device, network)?;
                    count += 1;
                }
                times.push(begin.elapsed().as_secs_f64() / f64::from(count));
            }
        }
        Ok(times.map(|mut t| {
            t.sort_by(f64::total_cmp);
            t[self.rounds / 2]
        }))
    }

    fn profile(&self) -> Result<()> {
        for fold in [false, true] {
            let profiled = self.device.profiled();
            let mut network = self.network(&profiled, fold)?;
            for _ in 0..10 {
                self.once(&profiled, &mut network)?;
            }
            let costs = profiled.profile();
            let all: f64 = costs.iter().map(|c| c.seconds).sum();
            println!("{}: {:.3} ms", if fold { "folded" } else { "evaluated" }, all * 100.0);
            for c in costs.iter().take(14) {
                println!("  {:6.3} ms  {:4}  {}", c.seconds * 100.0, c.calls / 10, c.name);
            }
        }
        Ok(())
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = Wanted::of(&args)?;
    let [evaluated, folded] = wanted.seconds()?;
    if args.iter().any(|a| a == "--json") {
        println!("{{\"evaluated\": {evaluated}, \"folded\": {folded}}}");
        return Ok(());
    }
    println!(
        "{} batch {} on {} threads: evaluated {:.3} ms, folded {:.3} ms, {:.2}x",
        wanted.recipe.model.backbone,
        wanted.batch,
        wanted.device.threads(),
        evaluated * 1e3,
        folded * 1e3,
        evaluated / folded
    );
    if args.iter().any(|a| a == "--profile") { wanted.profile() } else { Ok(()) }
}
