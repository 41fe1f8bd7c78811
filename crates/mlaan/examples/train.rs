//! Trains a built-in recipe from Rust: `cargo run --release -p mlaan --example train`.

use mlaan::Device;
use mlaan::recipe::Recipe;
use mlaan::train::{Progress, Trainer};
use std::path::Path;
use std::sync::atomic::AtomicBool;

fn main() -> mlaan::Result<()> {
    let mut recipe = Recipe::load("quickstart")?;
    recipe.set("local.cascade.span=3")?;
    let device = Device::cpu(None)?;
    let mut trainer = Trainer::from_recipe(&recipe, &device)?;
    println!("{} bytes planned", trainer.plan().memory());
    let outcome = trainer.run(Path::new("runs/example"), true, &AtomicBool::new(false), &mut |p| {
        if let Progress::Epoch(e) = p {
            println!(
                "epoch {}: test accuracy {:.2} %, {:.0} images/s",
                e.epoch, e.test_accuracy, e.images_per_second
            );
        }
    })?;
    println!("{outcome:?}");
    Ok(())
}
