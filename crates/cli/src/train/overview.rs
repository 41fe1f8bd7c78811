//! What is said before a run begins.

use crate::{format, modules, rates};
use anyhow::Result;
use mlaan::data::{BUILTIN, Splits};
use mlaan::local::Recompute;
use mlaan::recipe::{Normalise, OptimizerKind, Precision, Recipe, Statistics};
use mlaan::text;
use mlaan::train::Trainer;
use mlaan::train::metrics::METRICS;
use mlaan_engine::Device;
use std::path::Path;

/// Validation images below which the best epoch is one by chance: at 100 the standard error of an accuracy is up to 5 points.
const FEW: usize = 100;

/// Modules in a table at most; the middle of longer ones is left out.
const ROWS: usize = 20;

/// The run: network, modules, images, memory; `plain` is what backpropagation would need in its place.
///
/// # Errors
/// When a thread count or a summary cannot be had.
pub fn overview(
    name: &str,
    recipe: &Recipe,
    trainer: &mut Trainer,
    (folder, plain): (&Path, Option<u64>),
) -> Result<String> {
    let title = heading(name, recipe, trainer.splits());
    let facts = facts(recipe, trainer, (folder, plain));
    let lines: Vec<String> = facts.iter().map(|(what, text)| format!(" {what:<8}  {text}")).collect();
    Ok(format!("{title}\n\n{}\n\n{}\n", modules(recipe, trainer), lines.join("\n")))
}

/// What is trained on what: a recipe's own words, but for the data set that it was written for, and the images.
fn heading(name: &str, recipe: &Recipe, splits: &Splits) -> String {
    let about = match recipe.method_and_network() {
        "" => String::new(),
        words => format!(": {}", text::line(words)),
    };
    let set = match splits.name.as_str() {
        BUILTIN => ", on the built-in images".to_owned(),
        set if set == name => String::new(),
        set => format!(", on {}", text::line(set)),
    };
    format!("{}{about}{set}", format::heading(name))
}

fn modules(recipe: &Recipe, trainer: &Trainer) -> String {
    let header: Vec<&str> = modules::HEADER.into_iter().chain(["loss"]).collect();
    let (mut table, plan) = (format::table(&header), trainer.plan());
    for i in format::abridged(plan.modules.len(), ROWS) {
        match i.and_then(|i| Some((modules::row(i, plan)?, plan.modules.get(i)?))) {
            Some((row, m)) => table.add_row(row.into_iter().chain([modules::loss(&m.summary).to_owned()])),
            None => table.add_row(["…"]),
        }
    }
    table.add_row(modules::total(plan));
    let legend = format::dim(&modules::legend(plan, &recipe.local));
    format!("{}\n{legend}", format::text(&table))
}

fn facts(
    recipe: &Recipe,
    trainer: &mut Trainer,
    (folder, plain): (&Path, Option<u64>),
) -> Vec<(&'static str, String)> {
    let splits = trainer.splits();
    let (train, test) = (format::count(splits.train.len()), format::count(splits.test.len()));
    let held_out = splits.validation.as_ref().map(|data| format::count(data.len()));
    let used = match &held_out {
        Some(validation) => format!("{train} training, {validation} validation and {test} test images"),
        None => format!("{train} training and {test} test images"),
    };
    let few = splits.validation.as_ref().map(|data| data.len()).filter(|n| *n < FEW);
    let chosen = match (held_out, few) {
        (Some(_), None) => {
            "the epoch with the lowest validation error; test images are used once, at the end".to_owned()
        }
        (Some(_), Some(n)) => format!(
            "the epoch with the lowest validation error; test images are used once, at the end. Of {} the best is a matter of chance: the last \
             epoch may be better",
            format::several(n, "image")
        ),
        (None, _) => {
            "the epoch with the lowest test error, as there are no validation images (--validation 0.1 holds some out)".to_owned()
        }
    };
    let patience = recipe.train.patience_used();
    let patience =
        patience.map(|n| format!("; ends after {} without a lower one", format::several(n, "epoch")));
    let best = format!("{chosen}{}", patience.unwrap_or_default());
    let classes = format::several(splits.train.classes().len(), "class").replace("classs", "classes");
    let skipped = match splits.skipped {
        0 => String::new(),
        n => format!(", {} skipped", format::several(n, "broken image")),
    };
    let own = matches!(recipe.data.normalise, Normalise::Named(s) if s != Statistics::Auto);
    let stand_in =
        if own && recipe.data.source == BUILTIN { "; in place of the recipe's: --data PATH" } else { "" };
    let data = format!("{}: {used}, {classes}{skipped}{stand_in}", text::line(&splits.name));
    let t = &recipe.train;
    let steps = splits.train.len().div_ceil(t.batch.max(1));
    let run = format!(
        "{} of {} of {}, seed {}{}",
        format::several(t.epochs, "epoch"),
        format::several(steps, "step"),
        match splits.train.len() {
            images if images < t.batch => {
                let all = format::several(images, "image");
                format!("all {all} (train.batch is {})", format::count(t.batch))
            }
            _ => format::several(t.batch, "image"),
        },
        recipe.seed,
        settings(recipe),
    );
    let plan = trainer.plan();
    let of = if trainer.ranks() > 1 { " for this rank" } else { "" };
    let memory = format::bytes(trainer.planned_memory() as u64);
    let own = plan.stages.first().filter(|_| trainer.ranks() > 1);
    let allocated = format::bytes(own.map_or(plan.allocated(), |stage| stage.usage.footprint) as u64);
    let plain = plain.map_or_else(String::new, |bytes| {
        let part = format::ratio(plan.memory() as u64, bytes);
        format!("\n {:<8}  {} with backpropagation: this is {part} of it", "", format::bytes(bytes))
    });
    let stages: Vec<String> = trainer.plan().stages.iter().map(|s| s.modules.len().to_string()).collect();
    let ranks = trainer.ranks();
    let devices = trainer.learner().devices();
    let names: Vec<String> = devices.iter().map(device).collect();
    let device = match names.as_slice() {
        [own] if ranks > 1 => {
            format!("{ranks} ranks of {} modules; this one: {own}", stages.join(", "))
        }
        [one] => one.clone(),
        all => format!("{} stages of {} modules: {}", all.len(), stages.join(", "), all.join("; ")),
    };
    let mut facts = vec![
        ("data", data),
        ("run", run),
        ("best", best),
        ("lr", rates::text(&recipe.train, &trainer.rates())),
        ("memory", format!("{memory} planned{of}, {allocated} of it tensors and images{plain}")),
    ];
    facts.extend(host(trainer.plan()).map(|said| ("host", said)));
    facts.extend([("device", device), ("folder", format!("{}{}", text::path(folder), beside(folder)))]);
    facts
}

/// What is kept in host memory beside that of devices, where something is.
fn host(plan: &mlaan::plan::Plan) -> Option<String> {
    let (kept, moved) = (format::bytes(plan.host() as u64), format::bytes(plan.moved() as u64));
    (plan.host() > 0).then(|| format!("{kept} pinned for auxiliary networks; a step copies {moved} each way"))
}

/// Why a folder has a number: the one without it holds another run.
fn beside(folder: &Path) -> String {
    let first = folder.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('-'));
    match first.filter(|(_, number)| number.parse::<u32>().is_ok()) {
        Some((name, _)) if folder.with_file_name(name).join(METRICS).is_file() => {
            let first = text::path(folder.with_file_name(name));
            format!("; {first} holds a run already (--resume --out {first} goes on with that one)")
        }
        _ => String::new(),
    }
}

fn device(device: &Device) -> String {
    let beside = if device.kind().has_own_memory() { " to load images" } else { "" };
    format!("{}, {}{beside}", device.name(), format::several(device.threads(), "thread"))
}

/// The optimiser and how activations are kept, where it is not the usual.
fn settings(recipe: &Recipe) -> String {
    let stored = if recipe.train.precision == Precision::Bf16 { ", activations in bf16" } else { "" };
    let again = if recipe.local.recompute == Recompute::Module { ", recomputed" } else { "" };
    let host = if recipe.local.offload.is_none() { "" } else { ", auxiliary networks in host memory" };
    let optimizer = match recipe.train.optimizer {
        OptimizerKind::Sgd => "",
        OptimizerKind::AdamW => ", AdamW",
        OptimizerKind::Lars => ", LARS",
    };
    let shards = match recipe.train.shards_used() {
        1 => String::new(),
        n => format!(", each in {n} shards"),
    };
    let ema = recipe.train.model_ema_decay;
    let ema =
        ema.map_or_else(String::new, |d| format!("; tests and the best are of the EMA of weights ({d})"));
    format!("{shards}{optimizer}{stored}{again}{host}{ema}")
}
