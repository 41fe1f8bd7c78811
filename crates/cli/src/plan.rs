//! `mlaan plan`: what a run would need, beside plain backpropagation.

use crate::args::PlanArgs;
use crate::{fits, format, output, rates};
use anyhow::Result;
use mlaan::backbone::Backbone;
use mlaan::data::LoaderPool;
use mlaan::local::{Method, ModuleSummary, Task};
use mlaan::nn::ImageShape;
use mlaan::plan::search::{Request, candidates, search};
use mlaan::plan::{ModulePlan, Plan, Sizes, StagePlan, balanced, in_flight, plan as make, plan_in_stages};
use mlaan::recipe::{MeanStd, Precision, Recipe};
use mlaan::train::{setup, step_sizes, unreached};
use mlaan_engine::{DeviceKind, MemoryCategory};
use serde_json::{Value, json};
use std::process::ExitCode;

/// A recipe's plan, and the same network's under backpropagation.
struct Pair {
    local: Plan,
    plain: Plan,
    classes: usize,
    network: String,
    /// Blocks below each cut, where they are not even.
    cuts: Option<Vec<usize>>,
}

/// Shows a plan, or what fits.
///
/// # Errors
/// What is wrong with the recipe; memory that nothing fits into.
pub fn plan(args: &PlanArgs) -> Result<ExitCode> {
    let mut recipe = Recipe::load(&args.recipe)?;
    let mut keys = args.settings.assignments()?;
    keys.extend(args.layout.assignments());
    recipe.set_all(keys)?;
    match args.memory {
        Some(memory) => show_fits(&recipe, args, memory)?,
        None => {
            let pair = Pair::new(&recipe, args)?;
            if args.output.json {
                output::json(&pair.json(args, &recipe))?;
            } else {
                output::page(&pair.text(args, &recipe))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_fits(recipe: &Recipe, args: &PlanArgs, memory: usize) -> Result<()> {
    let (backbone, task) = (setup::network(recipe)?, task(recipe, args.classes));
    let (batch, method, kind) = (recipe.train.batch, &recipe.local, args.machine.kind());
    let sizes = |batch| sizes(recipe, batch, kind);
    let request = Request { backbone: &backbone, method, task, batch, sizes: &sizes, memory };
    let found = search(&request, &candidates(&request))?;
    let limit = (memory, kind.name());
    if args.output.json {
        output::json(&fits::json(&found, recipe, limit))
    } else {
        let title = mlaan::text::line(&args.recipe);
        output::page(&format!("{title}: {}", fits::text(&found, recipe, limit)))
    }
}

/// The images that a plan is for; their values do not matter.
pub fn task(recipe: &Recipe, classes: Option<usize>) -> Task {
    let size = recipe.data.size;
    let classes = classes.unwrap_or(if size <= 96 { 10 } else { 1000 });
    let pixels = setup::pixel_scale(&MeanStd { mean: [0.5; 3], std: [0.25; 3] });
    Task { image: ImageShape::square(size, 3), classes, pixels }
}

/// Without images, but with the batches that wait for the step.
pub fn sizes(recipe: &Recipe, batch: usize, kind: DeviceKind) -> Sizes {
    let mixed = recipe.data.extras().mixes();
    let data_bytes = LoaderPool::bytes(LoaderPool::AHEAD, batch, recipe.data.size, mixed);
    Sizes { mixed, data_bytes, ..step_sizes(recipe, batch, kind) }
}

impl Pair {
    fn new(recipe: &Recipe, args: &PlanArgs) -> Result<Self> {
        let (backbone, task) = (setup::network(recipe)?, task(recipe, args.classes));
        let sizes = sizes(recipe, recipe.train.batch, args.machine.kind());
        let method = balanced(&backbone, &recipe.local, task, sizes)?;
        let kinds = args.machine.kinds()?;
        let waiting = LoaderPool::AHEAD + in_flight(kinds.len());
        let data_bytes = LoaderPool::bytes(waiting, sizes.batch, recipe.data.size, sizes.mixed);
        let local = plan_in_stages(&backbone, &method, task, Sizes { data_bytes, ..sizes }, &kinds)?;
        let plain = make(&backbone, &Method::default(), task, sizes)?;
        Ok(Pair { local, plain, classes: task.classes, network: backbone.name(), cuts: method.cuts })
    }

    fn text(&self, args: &PlanArgs, recipe: &Recipe) -> String {
        let side = recipe.data.size;
        let what = format!(
            "{}, width {}, {} in {}, images of {side}x{side}, {} classes, {}{}, on {}",
            self.network,
            recipe.model.width(),
            format::several(self.local.parameters(), "parameter"),
            format::several(self.local.modules.len(), "module"),
            format::count(self.classes),
            format::several(self.local.batch, "image") + " per step",
            if recipe.train.precision == Precision::Bf16 { ", activations in bf16" } else { "" },
            args.machine.kind().name(),
        );
        let note = "← blocks that the leap chain mirrors, counted from 0. Memory is without the images themselves, but with\n\
                    the batches that wait for the step. aux.: the auxiliary networks. GFLOP are those of convolutions and\n\
                    linear layers in one step.";
        let cuts = self.cuts.as_ref().map_or_else(String::new, |c| format!(", local.cuts={c:?}"));
        let rates = rates::of(recipe, recipe.train.batch);
        // Of a number of steps that is not known, any warm-up in steps leaves some.
        let steps = rates::images(recipe).map_or(usize::MAX, |n| n.div_ceil(rates.batch()));
        let low = unreached(&recipe.train, steps).map_or_else(String::new, |said| format!("\nnote: {said}"));
        format!(
            "{}: {what}{cuts}\nlr {}{low}\n\n{}\n\n{}{}\n\n{}\n",
            format::heading(&args.recipe),
            rates::text(&recipe.train, &rates),
            self.modules(&recipe.local),
            stages(&self.local),
            self.totals(),
            format::dim(note)
        )
    }

    fn modules(&self, method: &Method) -> String {
        let mut table = format::table(&[
            ">#",
            "blocks",
            ">output",
            ">parameters",
            ">aux. parameters",
            ">activations",
            ">aux. memory",
            ">peak",
            ">forward",
            ">aux.",
            ">backward",
            "taught by",
        ]);
        for (i, m) in self.local.modules.iter().enumerate() {
            table.add_row([
                i.to_string(),
                blocks(&m.summary),
                m.summary.output.to_string(),
                format::count(m.summary.parameters),
                format::count(m.summary.auxiliary_parameters),
                format::bytes(m.meter.activations as u64),
                format::bytes(m.meter.auxiliary_bytes as u64),
                format::bytes(m.meter.peak as u64),
                format::giga(m.meter.forward),
                format::giga(m.meter.auxiliary),
                format::giga(m.meter.backward),
                head(method, &m.summary),
            ]);
        }
        let sum = |f: fn(&ModulePlan) -> u64| format::giga(self.local.modules.iter().map(f).sum());
        table.add_row([
            String::new(),
            "all".into(),
            String::new(),
            format::count(self.local.parameters()),
            format::count(self.local.auxiliary_parameters()),
            String::new(),
            String::new(),
            format::bytes(self.local.usage.peak as u64),
            sum(|m| m.meter.forward),
            sum(|m| m.meter.auxiliary),
            sum(|m| m.meter.backward),
            "GFLOP".into(),
        ]);
        format::text(&table)
    }

    fn totals(&self) -> String {
        let mut table = format::table(&["", ">this recipe", ">backpropagation", ">ratio"]);
        let (a, b) = (&self.local, &self.plain);
        let mut bytes = |what: String, x: usize, y: usize| {
            let (x, y) = (x as u64, y as u64);
            table.add_row([what, format::bytes(x), format::bytes(y), format::ratio(x, y)]);
        };
        for (i, purpose) in MemoryCategory::ALL.iter().enumerate() {
            let at_peak = |p: &Plan| p.usage.peak_by_purpose.get(i).copied().unwrap_or(0);
            bytes(format!("{} at the peak", purpose.name()), at_peak(a), at_peak(b));
        }
        bytes("tensors and batches".into(), a.allocated(), b.allocated());
        if a.process > 0 {
            bytes("peak memory of the process".into(), a.memory(), b.memory());
        }
        let steps = |p: &Plan| format!("{} GFLOP", format::giga(p.flops));
        table.add_row(["compute of a step".into(), steps(a), steps(b), format::ratio(a.flops, b.flops)]);
        let (x, y) = (a.auxiliary_parameters(), b.auxiliary_parameters());
        table.add_row(["auxiliary parameters".into(), format::count(x), format::count(y), "–".into()]);
        format::text(&table)
    }

    fn json(&self, args: &PlanArgs, recipe: &Recipe) -> Value {
        let mut all = json!({
            "recipe": args.recipe,
            "device": args.machine.kind().name(),
            "network": self.network,
            "classes": self.classes,
            "size": recipe.data.size,
            "batch": self.local.batch,
            "precision": recipe.train.precision,
            "lr": rates::json(&recipe.train, &rates::of(recipe, recipe.train.batch)),
            "cuts": self.cuts,
            "recompute": recipe.local.recompute,
            "parameters": self.local.parameters(),
            "modules": self.local.modules.iter().map(module_json).collect::<Vec<_>>(),
            "local": total_json(&self.local),
            "backpropagation": total_json(&self.plain),
            "memory_ratio": self.local.allocated() as f64 / self.plain.allocated().max(1) as f64,
            "compute_ratio": self.local.flops as f64 / self.plain.flops.max(1) as f64,
        });
        if self.local.stages.len() > 1 {
            all["stages"] = self.local.stages.iter().map(stage_json).collect();
        }
        all
    }
}

/// A table of stages, where there are several.
fn stages(plan: &Plan) -> String {
    if plan.stages.len() < 2 {
        return String::new();
    }
    let mut table = format::table(&["stage", "modules", ">memory", ">GFLOP", ">of all"]);
    for (k, stage) in plan.stages.iter().enumerate() {
        table.add_row([
            k.to_string(),
            match stage.modules.len() {
                1 => stage.modules.start.to_string(),
                _ => format!("{} to {}", stage.modules.start, stage.modules.end - 1),
            },
            format::bytes(stage.usage.footprint as u64),
            format::giga(stage.flops),
            format::percent(100.0 * stage.flops as f64 / plan.flops.max(1) as f64),
        ]);
    }
    format!("{}\n\n", format::text(&table))
}

fn stage_json(s: &StagePlan) -> Value {
    json!({
        "modules": [s.modules.start, s.modules.end],
        "allocated_bytes": s.usage.footprint,
        "flops": s.flops,
    })
}

fn module_json(m: &ModulePlan) -> Value {
    let (s, c) = (&m.summary, &m.meter);
    json!({
        "first": s.first,
        "blocks": s.blocks,
        "output": [s.output.height, s.output.width, s.output.channels],
        "parameters": s.parameters,
        "auxiliary_parameters": s.auxiliary_parameters,
        "sources": s.sources,
        "activation_bytes": c.activations,
        "auxiliary_bytes": c.auxiliary_bytes,
        "peak_bytes": c.peak,
        "forward_flops": c.forward,
        "auxiliary_flops": c.auxiliary,
        "backward_flops": c.backward,
    })
}

fn total_json(p: &Plan) -> Value {
    let purposes = MemoryCategory::ALL.iter().zip(p.usage.peak_by_purpose);
    let purposes: serde_json::Map<String, Value> =
        purposes.map(|(purpose, bytes)| (purpose.name().to_owned(), json!(bytes))).collect();
    json!({
        "memory_bytes": p.memory(),
        "allocated_bytes": p.allocated(),
        "peak_bytes": p.usage.peak,
        "peak_by_purpose": purposes,
        "flops": p.flops,
        "auxiliary_parameters": p.auxiliary_parameters(),
    })
}

/// The blocks of a module: the first one's name, and how many more.
pub fn blocks(m: &ModuleSummary) -> String {
    match (m.first.as_str(), m.blocks) {
        ("stem", 0) => "stem".into(),
        ("stem", n) => format!("stem + {}", format::several(n, "block")),
        (first, 0 | 1) => first.into(),
        (first, n) => format!("{first} + {} more", n - 1),
    }
}

/// What teaches a module: its auxiliary head, decoder and leap chain, or the network's own classifier.
pub fn head(method: &Method, m: &ModuleSummary) -> String {
    let Some((reconstruct, _)) = m.lambdas else {
        return if m.is_trained { "classifier".into() } else { "none, frozen".into() };
    };
    let mut text = String::from(method.head);
    if reconstruct > 0.0 {
        text.push_str(", decoder");
    }
    if !m.sources.is_empty() {
        let sources: Vec<String> = m.sources.iter().map(ToString::to_string).collect();
        text.push_str(&format!(" ← {}", sources.join(" ")));
    }
    text
}
