//! Learning rates in words.

use crate::format;
use mlaan::data::{BUILTIN, synthetic, validation_images};
use mlaan::recipe::{Recipe, Schedule, Train};
use mlaan::train::LearningRate;
use serde_json::{Value, json};

/// The part of the peak that a run should see.
const SEEN: f64 = 0.9;

/// The learning rates with steps of `batch` images, as far as it is known how many there are.
pub fn of(recipe: &Recipe, batch: usize) -> LearningRate {
    LearningRate::with_batch(&recipe.train, images(recipe).map_or(batch, |most| batch.min(most)))
}

/// Training images, as far as that is known without opening the set: those that a limit leaves, less those that are held out
/// to validate on.
pub fn images(recipe: &Recipe) -> Option<usize> {
    let data = &recipe.data;
    let all = (data.source == BUILTIN).then_some(synthetic::TRAIN);
    let most = all.into_iter().chain(data.limit).min()?;
    Some(most - data.validation.map_or(0, |share| validation_images(share, most)))
}

/// The peak, what it was scaled from, and the course over the epochs.
pub fn text(train: &Train, rates: &LearningRate) -> String {
    let peak = rates.peak();
    let others =
        [("auxiliary", train.lr_auxiliary, peak.auxiliary), ("cascaded", train.lr_cascaded, peak.cascaded)];
    let others = others.iter().filter_map(|(what, own, taken)| Some((what, (*own)?, *taken)));
    let rates_text = match train.lr_batch.filter(|batch| *batch != rates.batch()) {
        Some(batch) => {
            let (lr, taken) = (rate(train.lr), rate(peak.backbone));
            let others: String = others
                .map(|(what, own, taken)| format!(", {what} {} → {}", rate(own), rate(taken)))
                .collect();
            format!("{lr} at batch {batch} → {taken} at {}{others}", rates.batch())
        }
        None => {
            let others: String = others.map(|(what, _, taken)| format!(", {what} {}", rate(taken))).collect();
            format!("{}{others}", rate(peak.backbone))
        }
    };
    format!("{rates_text}; {}{}", warmup(train), course(train, rates))
}

/// The warm-up, and where it is not the recipe's.
fn warmup(train: &Train) -> String {
    if let Some(steps) = train.warmup_steps {
        return if steps == 0 {
            String::new()
        } else {
            format!("warm-up of {}, ", format::several(steps, "step"))
        };
    }
    let used = train.warmup_used();
    if used == 0 && train.warmup > 0 {
        return "no warm-up (the run is too short), ".into();
    }
    let shortened = match used < train.warmup {
        true => format!(" ({} shortened to a fifth of {})", train.warmup, train.epochs),
        false => String::new(),
    };
    match used {
        0 => String::new(),
        n => format!("warm-up of {}{shortened}, ", format::several(n, "epoch")),
    }
}

fn course(train: &Train, rates: &LearningRate) -> String {
    let per_step = train.moves_per_step();
    let moves = if per_step { " per step" } else { "" };
    let last = if per_step { "step" } else { "epoch" };
    let end = match rates.at(train.epochs).backbone {
        0.0 if rates.peak().backbone > 0.0 => format!(", 0 in the last {last}"),
        least if train.min_lr.is_some() => format!(", {} in the last {last}", rate(least)),
        _ => String::new(),
    };
    let gamma = rate(train.gamma_used());
    let said = match train.schedule {
        _ if train.epochs == 1 && !per_step => return "one epoch at that rate".into(),
        Schedule::Cosine => format!("cosine{moves}{end}"),
        Schedule::Linear => format!("linear{moves}{end}"),
        Schedule::Wsd => {
            format!(
                "constant, linear{moves} over the last {} %{end}",
                rate(100.0 * train.decay_fraction_used())
            )
        }
        Schedule::Step => {
            format!("times {gamma} every {}", format::several(train.step_size.unwrap_or_default(), "epoch"))
        }
        Schedule::MultiStep => {
            let after: Vec<_> = train.milestones.iter().flatten().map(ToString::to_string).collect();
            format!("times {gamma} after epochs {}", after.join(", "))
        }
        Schedule::Constant => "constant".into(),
    };
    // A course that moves once an epoch has left the peak behind in a first epoch that is a large part of it.
    let highest = rates.highest().filter(|highest| *highest < SEEN * rates.peak().backbone);
    let highest = highest.map_or_else(String::new, |highest| format!(", peak {}", rate(highest)));
    format!("{said}{highest}")
}

/// For machines.
pub fn json(train: &Train, rates: &LearningRate) -> Value {
    let (peak, last) = (rates.peak(), rates.at(train.epochs));
    json!({
        "batch": rates.batch(),
        "backbone": peak.backbone,
        "auxiliary": peak.auxiliary,
        "cascaded": peak.cascaded,
        "warmup_epochs": rates.warmup(),
        "last_epoch": last.backbone,
    })
}

/// A rate with up to four digits.
pub fn rate(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if rounded != 0.0 && rounded < 1e-3 { format!("{rounded:e}") } else { rounded.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan::recipe::Recipe;

    fn said(name: &str, set: &[&str], batch: usize) -> String {
        let mut recipe = Recipe::load(name).unwrap();
        recipe.set_all(set).unwrap();
        text(&recipe.train, &LearningRate::with_batch(&recipe.train, batch.min(recipe.train.batch)))
    }

    #[test]
    fn images_held_out_make_no_batches() {
        let images = |set: &[&str]| {
            let mut recipe = Recipe::load("dgl-resnet32-16").unwrap();
            recipe.set_all(set).unwrap();
            (images(&recipe), of(&recipe, recipe.train.batch).batch())
        };
        assert_eq!(images(&["data.source=elsewhere"]), (None, 1024));
        assert_eq!(images(&["data.source=elsewhere", "data.limit=1000"]), (Some(1000), 1000));
        let share = ["data.source=elsewhere", "data.limit=1000", "data.validation=0.2"];
        assert_eq!(images(&share), (Some(800), 800));
        assert_eq!(images(&["data.source=builtin", "data.validation=0.9"]), (Some(500), 500));
    }

    #[test]
    fn what_scales_a_rate_is_said() {
        for (set, images, expected) in [
            (
                &["train.batch=128"][..],
                50_000,
                "0.8 at batch 1024 → 0.1 at 128; warm-up of 10 epochs, cosine, 0 in the last epoch",
            ),
            (&[], 50_000, "0.8; warm-up of 10 epochs, cosine, 0 in the last epoch"),
            (
                &["train.batch=100000"],
                100,
                "0.8 at batch 1024 → 0.07812 at 100; warm-up of 10 epochs, cosine, 0 in the last epoch",
            ),
            (
                &["train.lr=0.01", "train.batch=8"],
                100,
                "0.01; warm-up of 10 epochs, cosine, 0 in the last epoch",
            ),
            (
                &["train.epochs=15"],
                1024,
                "0.8; warm-up of 3 epochs (10 shortened to a fifth of 15), cosine, 0 in the last epoch",
            ),
            (
                &["train.epochs=3"],
                1024,
                "0.8; no warm-up (the run is too short), cosine, 0 in the last epoch, peak 0.6",
            ),
            (
                &["train.epochs=6", "train.warmup=5"],
                1024,
                "0.8; warm-up of 5 epochs, cosine, 0 in the last epoch",
            ),
            (&["train.epochs=1", "train.warmup=0"], 1024, "0.8; one epoch at that rate"),
            (&["train.schedule=constant", "train.warmup=0"], 1024, "0.8; constant"),
            (
                &["train.schedule=multistep", "train.milestones=[100, 200]", "train.warmup=0"],
                1024,
                "0.8; times 0.1 after epochs 100, 200",
            ),
            (
                &["train.schedule=step", "train.step_size=30", "train.gamma=0.5", "train.warmup=0"],
                1024,
                "0.8; times 0.5 every 30 epochs",
            ),
            (
                &[
                    "train.schedule=wsd",
                    "train.min_lr=0.008",
                    "train.per_step=true",
                    "train.warmup_steps=500",
                ],
                1024,
                "0.8; warm-up of 500 steps, constant, linear per step over the last 20 %, 0.008 in the last step",
            ),
            (&["train.schedule=linear", "train.warmup=0"], 1024, "0.8; linear, 0 in the last epoch"),
            (
                &["train.lr_auxiliary=0.4", "train.lr_batch=1024", "train.batch=8", "train.warmup=0"],
                1024,
                "0.8 at batch 1024 → 0.00625 at 8, auxiliary 0.4 → 0.003125; cosine, 0 in the last epoch",
            ),
        ] {
            assert_eq!(said("dgl-resnet32-16", set, images), expected, "{set:?}");
        }
        assert_eq!(
            (rate(0.000_078_1), rate(39.1625), rate(0.0)),
            ("7.81e-5".into(), "39.16".into(), "0".into())
        );
    }
}
