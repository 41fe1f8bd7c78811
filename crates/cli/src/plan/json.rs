//! A plan for machines.

use super::pair::Pair;
use super::run::Run;
use crate::rates;
use mlaan::plan::{BUSES, Bus, ModulePlan, Plan, RATE, StagePlan};
use mlaan_engine::MemoryCategory;
use serde_json::{Value, json};

/// All of it.
pub fn all(pair: &Pair, run: &Run) -> Value {
    let mut all = json!({
        "recipe": run.name,
        "device": run.kind().name(),
        "network": pair.network,
        "classes": pair.classes,
        "size": run.recipe.data.size,
        "batch": pair.local.batch,
        "precision": run.recipe.train.precision,
        "lr": rates::json(&run.recipe.train, &rates::of(&run.recipe, run.recipe.train.batch)),
        "cuts": pair.cuts,
        "recompute": run.recipe.local.recompute,
        "parameters": pair.local.parameters(),
        "modules": pair.local.modules.iter().map(module_json).collect::<Vec<_>>(),
        "local": total_json(&pair.local),
        "backpropagation": total_json(&pair.plain),
        "backpropagation_recomputed": total_json(&pair.rival),
        "memory_ratio": pair.local.allocated() as f64 / pair.plain.allocated().max(1) as f64,
        "compute_ratio": pair.local.flops as f64 / pair.plain.flops.max(1) as f64,
    });
    if pair.local.moved() > 0 {
        let hides = |bus: &Bus| {
            let batch = pair.local.hides_from(*bus, RATE);
            json!({ "bus": bus.name, "bytes_per_second": bus.rate, "batch": batch })
        };
        let hides: Vec<Value> = BUSES.iter().map(hides).collect();
        all["transfers"] = json!({ "flops_per_second": RATE, "hidden_from": hides });
    }
    if pair.local.stages.len() > 1 {
        all["stages"] = pair.local.stages.iter().map(stage_json).collect();
    }
    all
}

fn stage_json(s: &StagePlan) -> Value {
    json!({
        "modules": [s.modules.start, s.modules.end],
        "allocated_bytes": s.usage.footprint,
        "host_bytes": s.usage.host,
        "flops": s.flops,
    })
}

fn module_json(m: &ModulePlan) -> Value {
    let (s, c) = (&m.summary, &m.meter);
    json!({
        "first": s.first,
        "last": s.last,
        "blocks": s.blocks,
        "output": [s.output.height, s.output.width, s.output.channels],
        "parameters": s.parameters,
        "auxiliary_parameters": s.auxiliary_parameters,
        "sources": s.sources,
        "shares_with": s.shares,
        "activation_bytes": c.activations,
        "auxiliary_bytes": c.auxiliary_bytes,
        "peak_bytes": c.peak,
        "moved_bytes": m.moved,
        "forward_flops": c.forward,
        "auxiliary_flops": c.auxiliary,
        "backward_flops": c.backward,
    })
}

fn total_json(p: &Plan) -> Value {
    let categories = MemoryCategory::ALL.iter().zip(p.usage.peak_by_category);
    let categories: serde_json::Map<String, Value> =
        categories.map(|(category, bytes)| (category.name().to_owned(), json!(bytes))).collect();
    json!({
        "memory_bytes": p.memory(),
        "allocated_bytes": p.allocated(),
        "peak_bytes": p.usage.peak,
        "peak_by_category": categories,
        "host_bytes": p.host(),
        "moved_bytes": p.moved(),
        "flops": p.flops,
        "auxiliary_parameters": p.auxiliary_parameters(),
    })
}
