//! `mlaan compare --plan`: what a table costs, before it runs.

use super::tables;
use super::work::{Work, opener};
use crate::args::CompareArgs;
use crate::{format, output, rates};
use anyhow::Result;
use mlaan::compare::{Cell, Cost, Measure, Sheet, Speeds, Standing};
use mlaan::train::LearningRate;
use serde_json::{Value, json};

/// A cell with what is left of it.
struct Row<'a> {
    cell: &'a Cell,
    cost: &'a Cost,
    /// Runs that are not done, and all.
    runs: [usize; 2],
    /// Epochs of them that are left.
    epochs: usize,
    /// Seconds that they are expected to take.
    seconds: Option<f64>,
}

/// Shows it.
///
/// # Errors
/// When standard output cannot be written.
pub fn show(args: &CompareArgs, work: &Work) -> Result<()> {
    // A person waits for it; it is no part of the answer.
    if console::user_attended_stderr() {
        output::note("measuring a few steps of every cell …");
    }
    let (speeds, unknown) = measure(args, work);
    let rows: Vec<Row<'_>> =
        work.table.cells.iter().zip(&work.costs).enumerate().map(|c| row(work, c, &speeds)).collect();
    if args.speech.json() {
        return output::json(&to_json(work, &rows, unknown.as_deref()));
    }
    let mut text = tables::sheet(&sheet(work, &rows));
    if let Some(total) = total(&rows) {
        let left: usize = rows.iter().map(|r| r.runs[0]).sum();
        let all =
            format!("{} left to do take about {}", format::several(left, "run"), format::duration(total));
        text += &format!("\n\n{}", format::heading(&all));
    }
    let beside = rows.iter().map(|r| r.cost.process_bytes as u64).max().unwrap_or(0);
    let note = format!(
        "Tensor memory: of a training step, without the images of the data set; the process needs up to {} more, and the images. × BP: of \
         backpropagation with the same network and batch. Times are from a few steps of each cell measured now, and of testing; other \
         work on this machine makes them longer.",
        format::bytes(beside)
    );
    text += &format!("\n\n{}", format::dim(&note));
    if rows.iter().any(|r| r.cost.host_bytes > 0) {
        let host = "host: pinned memory in which auxiliary networks are kept, planned for a GPU; a step copies as much to it and back.";
        text += &format!("\n\n{}", format::dim(host));
    }
    if let Some(reason) = unknown {
        text += &format!("\n\nTimes are not known: {}", mlaan::text::line(&reason));
    }
    output::page(&text)
}

/// How fast this machine is at every cell that has runs left, or why that is not known.
fn measure(args: &CompareArgs, work: &Work) -> (Speeds, Option<String>) {
    let (mut speeds, open) = (Speeds::default(), opener(args));
    let left = |i: usize| work.runs.iter().any(|r| r.cell == i && !matches!(r.standing, Standing::Done(_)));
    for (i, (cell, cost)) in work.table.cells.iter().zip(&work.costs).enumerate() {
        if !left(i) {
            continue;
        }
        let measured = open().and_then(|device| speeds.measure(cell, cost, &device));
        if let Err(e) = measured {
            return (speeds, Some(format!("{}: {e}", cell.name)));
        }
    }
    (speeds, None)
}

fn row<'a>(work: &Work, (i, (cell, cost)): (usize, (&'a Cell, &'a Cost)), speeds: &Speeds) -> Row<'a> {
    let own: Vec<&Standing> = work.runs.iter().filter(|r| r.cell == i).map(|r| &r.standing).collect();
    let left = own.iter().map(|s| match s {
        Standing::Done(_) => 0,
        Standing::Begun(epochs) => cost.epochs.saturating_sub(*epochs),
        _ => cost.epochs,
    });
    let epochs: usize = left.sum();
    let runs = [own.iter().filter(|s| !matches!(s, Standing::Done(_))).count(), own.len()];
    let part = epochs as f64 / cost.epochs.max(1) as f64;
    let seconds = cost.operations().and_then(|ops| speeds.seconds(&cell.name, ops * part));
    Row { cell, cost, runs, epochs, seconds: if epochs == 0 { Some(0.0) } else { seconds } }
}

fn total(rows: &[Row<'_>]) -> Option<f64> {
    if rows.iter().all(|r| r.runs[1] == 0) { None } else { rows.iter().map(|r| r.seconds).sum() }
}

fn sheet(work: &Work, rows: &[Row<'_>]) -> Sheet {
    let trains = work.table.measure == Measure::Error;
    let offloads = rows.iter().any(|r| r.cost.host_bytes > 0);
    let mut header = vec!["cell", ">modules", ">batch", ">lr", ">tensor memory", ">× BP"];
    header.extend(offloads.then_some(">host"));
    header.extend([">GFLOP/image", ">× BP"]);
    header.extend(if trains { &[">runs left", ">time"][..] } else { &[">paper"] });
    let line = |r: &Row<'_>| {
        let c = r.cost;
        let ratio = |a: f64, b: f64| format!("{:.2}", a / b.max(1.0));
        let mut line = vec![
            r.cell.name.clone(),
            format::count(c.modules),
            format::count(c.batch),
            rates::rate(course(r).peak().backbone),
            format::bytes(c.memory_bytes as u64),
            ratio(c.memory_bytes as f64, c.plain_memory_bytes as f64),
        ];
        line.extend(offloads.then(|| match c.host_bytes {
            0 => "–".to_owned(),
            bytes => format::bytes(bytes as u64),
        }));
        line.extend([format::giga(c.flops as u64), ratio(c.flops, c.plain_flops)]);
        if trains {
            line.push(format!("{} of {}", r.runs[0], r.runs[1]));
            line.push(r.seconds.map_or_else(|| "?".into(), format::duration));
        } else {
            line.push(r.cell.paper.map_or_else(|| "–".into(), |p| format!("{p:.2} GB")));
        }
        line
    };
    Sheet {
        title: work.table.title.clone(),
        header: header.into_iter().map(str::to_owned).collect(),
        rows: rows.iter().map(line).collect(),
    }
}

/// The learning rates of a cell, with the images that a step takes as far as their number is known.
fn course(r: &Row<'_>) -> LearningRate {
    let batch = r.cost.images.map_or(r.cost.batch, |[train, _]| r.cost.batch.min(train));
    LearningRate::with_batch(&r.cell.recipe.train, batch)
}

fn to_json(work: &Work, rows: &[Row<'_>], unknown: Option<&str>) -> Value {
    let row = |r: &Row<'_>| {
        json!({
            "cell": r.cell.name,
            "cost": r.cost,
            "lr": rates::json(&r.cell.recipe.train, &course(r)),
            "runs": r.runs[1],
            "runs_left": r.runs[0],
            "epochs_left": r.epochs,
            "seconds_left": r.seconds,
            "paper": r.cell.paper,
        })
    };
    json!({
        "suite": work.table.name,
        "title": work.table.title,
        "seeds": work.seeds,
        "changes": work.table.changes,
        "cells": rows.iter().map(row).collect::<Vec<_>>(),
        "seconds_left": total(rows),
        "times_unknown": unknown,
    })
}
