//! `mlaan plan`: what a run would need, beside plain backpropagation.

mod json;
mod pair;
mod ranks;
mod run;
mod totals;

pub use run::{sizes, task};

use crate::args::PlanArgs;
use crate::auto::{Base, Named};
use crate::{fits, format, modules, output, rates};
use anyhow::Result;
use mlaan::memory::limit::Limits;
use mlaan::plan::Plan;
use mlaan::plan::search::{Request, candidates, search};
use mlaan::recipe::Precision;
use mlaan::text;
use mlaan::train::{setup, unreached};
use pair::Pair;
use ranks::Ranks;
use run::Run;
use std::process::ExitCode;

/// Shows a plan, or what fits.
///
/// # Errors
/// What is wrong with the recipe; memory that nothing fits into.
pub fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let mut keys = args.settings.assignments()?;
    keys.extend(args.epochs.map(|n| format!("train.epochs={n}")));
    keys.extend(args.images.sample.assignments());
    keys.extend(args.layout.assignments());
    let data = args.images.data.as_deref();
    let (recipe, local) = (args.recipe.as_deref(), args.memory.is_some());
    let base = Base::with(Named { recipe, data, local, ..Named::default() }, &keys)?;
    let run = Run::new(&base, args)?;
    match args.memory {
        Some(memory) => show_fits(&run, args, memory)?,
        None => {
            let pair = Pair::new(&run)?;
            let ranks = Ranks::new(&run, args, &pair)?;
            if args.output.json {
                let mut all = json::all(&pair, &run);
                if let Some(ranks) = &ranks {
                    all["ranks"] = ranks.json();
                }
                output::json(&all)?;
            } else {
                let ranks = ranks.map_or_else(String::new, |ranks| format!("\n{}\n", ranks.text()));
                output::page(&format!("{}{ranks}", pair.text(&run)))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_fits(run: &Run, args: &PlanArgs, memory: usize) -> Result<()> {
    let (recipe, kind) = (&run.recipe, run.kind());
    let backbone = setup::network(recipe)?;
    let sizes = |batch| run.sizes(batch);
    let request = Request {
        backbone: &backbone,
        method: &recipe.local,
        task: run.task,
        batch: recipe.train.batch,
        sizes: &sizes,
        memory,
        host: args.host_memory.or_else(|| Limits::host_beside(kind)),
    };
    let found = search(&request, &candidates(&request))?;
    let limits =
        fits::Limits { memory, host: request.host, device: kind.name(), images: run.splits().is_some() };
    if args.output.json {
        output::json(&fits::json(&found, recipe, &limits))
    } else {
        let title = mlaan::text::line(&run.name);
        output::page(&format!("{title}: {}", fits::text(&found, recipe, &limits)))
    }
}

impl Pair {
    fn text(&self, run: &Run) -> String {
        let (recipe, side) = (&run.recipe, run.recipe.data.size);
        let what = format!(
            "{}, width {}, {} in {}, images of {side}x{side}, {} classes, {}{}, on {}",
            self.network,
            recipe.model.width(),
            format::several(self.local.parameters(), "parameter"),
            format::several(self.local.modules.len(), "module"),
            format::count(self.classes),
            format::several(self.local.batch, "image") + " per step",
            if recipe.train.precision == Precision::Bf16 { ", activations in bf16" } else { "" },
            run.kind().name(),
        );
        let images = match run.splits() {
            Some(_) => "Memory is with the images of the set.",
            None => {
                "Memory is without images (--data counts them), but with the batches that wait for the step."
            }
        };
        let note = format!(
            "{} {images} GFLOP: those of convolutions and linear layers in one step.",
            modules::legend(&self.local, &recipe.local)
        );
        let copies = modules::copies(&self.local).map_or_else(String::new, |text| format!("\n{text}\n"));
        let cuts = self.cuts.as_ref().map_or_else(String::new, |c| format!(", local.cuts={c:?}"));
        let chosen = run.choices.as_ref().map_or_else(String::new, |text| format!("{text}\n"));
        let rates = rates::of(recipe, recipe.train.batch);
        // Of a number of steps that is not known, any warm-up in steps leaves some.
        let steps = rates::images(recipe).map_or(usize::MAX, |n| n.div_ceil(rates.batch()));
        let low = unreached(&recipe.train, steps).map_or_else(String::new, |said| format!("\nnote: {said}"));
        format!(
            "{}: {what}{cuts}\nlr {}{low}\n\n{chosen}{}\n{copies}\n{}{}\n\n{}\n",
            format::heading(&run.name),
            rates::text(&recipe.train, &rates),
            self.modules(),
            stages(&self.local),
            totals::text(self),
            format::dim(&note)
        )
    }

    fn modules(&self) -> String {
        let header: Vec<&str> = modules::HEADER.into_iter().chain([">GFLOP"]).collect();
        let mut table = format::table(&header);
        for (i, m) in self.local.modules.iter().enumerate() {
            let work = m.meter.forward + m.meter.auxiliary + m.meter.backward;
            let row = modules::row(i, &self.local).into_iter().flatten();
            table.add_row(row.chain([format::giga(work)]));
        }
        table.add_row(modules::total(&self.local).into_iter().chain([format::giga(self.local.flops)]));
        format::text(&table)
    }
}

/// A table of stages, where there are several.
fn stages(plan: &Plan) -> String {
    if plan.stages.len() < 2 {
        return String::new();
    }
    let offloads = plan.host() > 0;
    let header = ["stage", "modules", ">memory"].into_iter().chain(offloads.then_some(">host"));
    let mut table = format::table(&header.chain([">GFLOP", ">of all"]).collect::<Vec<_>>());
    for (k, stage) in plan.stages.iter().enumerate() {
        let row = [k.to_string(), text::range(&stage.modules), format::bytes(stage.usage.footprint as u64)];
        let host = offloads.then(|| format::bytes(stage.usage.host as u64));
        let part = format::percent(100.0 * stage.flops as f64 / plan.flops.max(1) as f64);
        table.add_row(row.into_iter().chain(host).chain([format::giga(stage.flops), part]));
    }
    format!("{}\n\n", format::text(&table))
}
