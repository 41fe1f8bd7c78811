//! `mlaan plan --memory`: what fits, as a table or as JSON.

use crate::{format, rates};
use mlaan::plan::search::{Fit, Found, Learning};
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

/// Rows of the table at most.
const ROWS: usize = 5;

/// What settings are to fit into.
pub struct Limits<'a> {
    /// Bytes that a run may use.
    pub memory: usize,
    /// Bytes of the host's memory beside a device with memory of its own, as far as they are known.
    pub host: Option<usize>,
    /// What the run is to compute on.
    pub device: &'a str,
    /// Whether the images of the data set are counted.
    pub images: bool,
}

/// The table of what fits for `recipe`, best first.
pub fn text(found: &Found, recipe: &Recipe, limits: &Limits<'_>) -> String {
    let (fits, batch) = (found.fits.as_slice(), recipe.train.batch);
    let host = fits.iter().any(|fit| fit.plan.host() > 0);
    let header = [">#", "method", ">modules", ">batch", ">lr", "saves by", ">memory", ">time"];
    let header: Vec<&str> = columns(header, host).chain(host.then_some(">host")).collect();
    let (mut table, mut settings_of) = (format::table(&header), Vec::new());
    let own = fits.iter().position(|f| f.candidate.learning == Learning::Recipe);
    for i in shown(fits.len(), own) {
        let Some(fit) = fits.get(i) else { continue };
        let keys = settings(fit, batch);
        let row = [
            (i + 1).to_string(),
            learning(fit).into(),
            format::count(fit.plan.modules.len()),
            format::count(fit.batch),
            rates::rate(rates::of(recipe, fit.batch).peak().backbone),
            saves_by(fit).into(),
            format::bytes(fit.plan.memory() as u64),
            format!("{:.2}×", fit.time),
        ];
        let moved = match fit.plan.host() {
            0 => "–".into(),
            bytes => format::bytes(bytes as u64),
        };
        table.add_row(columns(row, host).chain(host.then_some(moved)));
        let keys =
            if keys.is_empty() { "the recipe as it is".into() } else { format!("--set {}", keys.join(" ")) };
        settings_of.push(format!("{:>3}  {keys}", i + 1));
    }
    let more = match fits.len().saturating_sub(settings_of.len()) {
        0 => String::new(),
        n => format!(" {n} more fit (--json lists all)."),
    };
    let taken = own.map_or_else(
        || "None learns as the recipe does, so `mlaan train --memory` refuses.".to_owned(),
        |i| format!("`mlaan train --memory` takes {}, the first that learns as the recipe does.", i + 1),
    );
    let left_out = found.host_needed.zip(limits.host).map_or_else(String::new, |(needed, room)| {
        let (needed, room) = (format::bytes(needed as u64), format::bytes(room as u64));
        format!(
            " Left out: settings that fit the device and need {needed} or more of host memory, of which there is room for {room} (--host-memory)."
        )
    });
    let images = if limits.images {
        ""
    } else {
        " Memory is without the images of the data set (--data counts them)."
    };
    let copies = if host { ", without copies to and from host memory (host)" } else { "" };
    let note = format!(
        "Best first: the largest batch (at most the recipe's), then f32 before bf16, then the fewest modules, then the fewest \
         operations. Saves by: activations recomputed in the backward pass, stored in bf16, or both. Accuracy is not predicted: fewer \
         modules, or backpropagation, usually reach more, a smaller batch may reach less. Time: operations per image, of the \
         recipe's{copies}.{images} {taken}{more}{left_out}"
    );
    let title = format!("Fits into {} on {}", format::bytes(limits.memory as u64), limits.device);
    let (title, table) = (format::heading(&title), format::text(&table));
    format!("{title}\n\n{table}\n\n{}\n\n{}\n", settings_of.join("\n"), format::dim(&note))
}

/// Those that are shown: a line has 80 characters, and beside host memory no room for what the settings below the table say as well.
fn columns<T>(all: [T; 8], host: bool) -> impl Iterator<Item = T> {
    let said = move |i: usize| host && i == 5;
    all.into_iter().enumerate().filter_map(move |(i, column)| (!said(i)).then_some(column))
}

/// Rows that are shown: the best, and the recipe's own method wherever it stands.
fn shown(fits: usize, own: Option<usize>) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..fits.min(ROWS)).collect();
    if let (Some(own), Some(last)) = (own.filter(|own| *own >= ROWS), rows.last_mut()) {
        *last = own;
    }
    rows
}

/// For machines.
pub fn json(found: &Found, recipe: &Recipe, limits: &Limits<'_>) -> Value {
    let batch = recipe.train.batch;
    let fit = |f: &Fit| {
        json!({
            "learning": learning(f),
            "modules": f.plan.modules.len(),
            "batch": f.batch,
            "lr": rates::json(&recipe.train, &rates::of(recipe, f.batch)),
            "recompute": f.candidate.method.recompute,
            "offload": f.candidate.method.offload,
            "precision": stored(f),
            "memory_bytes": f.plan.memory(),
            "allocated_bytes": f.plan.allocated(),
            "host_bytes": f.plan.host(),
            "moved_bytes": f.plan.moved(),
            "flops": f.plan.flops,
            "relative_time": f.time,
            "settings": settings(f, batch),
        })
    };
    json!({
        "device": limits.device,
        "memory_limit_bytes": limits.memory,
        "host_limit_bytes": limits.host,
        "left_out_host_bytes": found.host_needed,
        "fits": found.fits.iter().map(fit).collect::<Vec<_>>(),
    })
}

/// How activations take less memory.
fn saves_by(fit: &Fit) -> &'static str {
    let recomputes = fit.candidate.method.recompute == mlaan::local::Recompute::Module;
    match (recomputes, fit.candidate.precision) {
        (false, Precision::F32) => "–",
        (true, Precision::F32) => "recompute",
        (false, Precision::Bf16) => "bf16",
        (true, Precision::Bf16) => "both",
    }
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
