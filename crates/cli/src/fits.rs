//! `mlaan plan --memory`: what fits, as a table or as JSON.

use crate::{format, rates};
use mlaan::plan::search::{Fit, Learning};
use mlaan::recipe::Recipe;
use mlaan_engine::Precision;
use serde_json::{Value, json};

/// The settings of a fit, as keys of a recipe.
pub fn settings(fit: &Fit, batch: usize) -> Vec<String> {
    let mut keys = fit.candidate.settings.clone();
    if fit.batch != batch {
        keys.push(format!("train.batch={}", fit.batch));
    }
    keys
}

/// What `mlaan train --memory` took, in a sentence.
pub fn chosen(fit: &Fit, batch: usize, memory: usize) -> String {
    let keys = settings(fit, batch);
    let what = if keys.is_empty() { "the recipe as it is".into() } else { keys.join(", ") };
    let (planned, memory) = (format::bytes(fit.plan.memory() as u64), format::bytes(memory as u64));
    let time = if keys.is_empty() { String::new() } else { format!(", about {:.2}× the time", fit.time) };
    format!("Chosen for {memory}: {what}{time}; {planned} planned.")
}

/// The table of what fits for `recipe`, best first; `device` is what the run is to compute on.
pub fn text(fits: &[Fit], recipe: &Recipe, (memory, device): (usize, &str)) -> String {
    let batch = recipe.train.batch;
    let header =
        ["", ">modules", ">batch", ">lr", "recompute", "stored", ">memory", ">time", "learns by", "settings"];
    let mut table = format::table(&header);
    let own = fits.iter().position(|f| f.candidate.learning == Learning::Recipe);
    for (i, fit) in fits.iter().enumerate() {
        let keys = settings(fit, batch);
        let again = fit.candidate.method.recompute == mlaan::local::Recompute::Module;
        table.add_row([
            mark(i, Some(i) == own),
            format::count(fit.plan.modules.len()),
            format::count(fit.batch),
            rates::rate(rates::of(recipe, fit.batch).peak().backbone),
            if again { "module".into() } else { "none".into() },
            stored(fit).into(),
            format::bytes(fit.plan.memory() as u64),
            format!("{:.2}×", fit.time),
            learning(fit).into(),
            if keys.is_empty() { "as it is".into() } else { keys.join(" ") },
        ]);
    }
    let note = "Best first: the largest batch (at most the recipe's), then the recipe's precision, then the fewest modules,\n\
                then the fewest operations. Time is an estimate: operations per image, of the recipe's. `mlaan train RECIPE\n\
                --memory` takes the row marked train, which learns as the recipe does; another is chosen with --set and\n\
                its settings.";
    let title = format!("Fits into {} on {device}", format::bytes(memory as u64));
    format!("{}\n\n{}\n\n{}\n", format::heading(&title), format::text(&table), format::dim(note))
}

/// For machines.
pub fn json(fits: &[Fit], recipe: &Recipe, (memory, device): (usize, &str)) -> Value {
    let batch = recipe.train.batch;
    let fit = |f: &Fit| {
        json!({
            "learning": learning(f),
            "modules": f.plan.modules.len(),
            "batch": f.batch,
            "lr": rates::json(&recipe.train, &rates::of(recipe, f.batch)),
            "recompute": f.candidate.method.recompute,
            "precision": stored(f),
            "memory_bytes": f.plan.memory(),
            "allocated_bytes": f.plan.allocated(),
            "flops": f.plan.flops,
            "relative_time": f.time,
            "settings": settings(f, batch),
        })
    };
    json!({ "device": device, "memory_limit_bytes": memory, "fits": fits.iter().map(fit).collect::<Vec<_>>() })
}

/// Which row is best, and which `mlaan train` would take.
fn mark(row: usize, own: bool) -> String {
    let marks = [(row == 0).then_some("best"), own.then_some("train")];
    marks.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn stored(fit: &Fit) -> &'static str {
    match fit.candidate.precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

fn learning(fit: &Fit) -> &'static str {
    match fit.candidate.learning {
        Learning::Recipe => "this recipe",
        Learning::Fewer(_) => "fewer modules",
        Learning::Backpropagation => "backpropagation",
    }
}
