//! The report for programs.

use mlaan::bench::{Machine, Measurement, Profile};
use mlaan::recipe::Recipe;
use serde_json::{Value, json};

/// Everything that was measured; units are seconds, bytes and floating-point operations. Only a GPU has `kernels`.
pub fn report(name: &str, recipe: &Recipe, r: &Measurement) -> Value {
    let mut all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "recipe": name,
        "network": r.network,
        "modules": r.modules,
        "size": recipe.data.size,
        "classes": r.classes,
        "batch": r.batch,
        "precision": recipe.train.precision,
        "recompute": recipe.local.recompute,
        "device": r.device,
        "threads": r.threads,
        "isa": r.isa,
        "steps": r.steps,
        "rounds": r.rounds,
        "seconds": r.seconds(),
        "images_per_second": r.images_per_second(),
        "flops": r.flops,
        "flops_per_second": r.flops_per_second(),
        "machine": {
            "flops_per_second": r.machine.flops,
            "sgemm_flops_per_second": r.machine.sgemm,
            "bytes_per_second": r.machine.bandwidth,
        },
        "of_peak": r.of_peak(),
        "of_sgemm": r.flops_per_second() / r.machine.sgemm,
        "planned_bytes": r.planned.footprint,
        "used_bytes": r.used.footprint,
        "host_bytes": r.used.host,
        "moved_bytes": r.moved,
        "resident_bytes": r.resident,
        "device_bytes": r.device_bytes,
        "profile": r.profile.as_ref().map(|p| profile(p, &r.machine)),
    });
    if let Some(kernels) = r.kernels {
        all["kernels"] = kernels.into();
    }
    all
}

fn profile(p: &Profile, machine: &Machine) -> Value {
    let operations: Vec<Value> = p
        .operations
        .iter()
        .map(|o| {
            json!({
                "name": o.name,
                "calls": o.calls,
                "seconds": o.seconds,
                "share": o.seconds / p.seconds,
                "flops": o.flops,
                "bytes": o.bytes,
                "of_peak": machine.flops.map(|peak| o.flops as f64 / o.seconds / peak),
                "of_bandwidth": o.bytes as f64 / o.seconds / machine.bandwidth,
            })
        })
        .collect();
    json!({ "steps": p.steps, "seconds": p.seconds, "outside_seconds": p.outside(), "operations": operations })
}
