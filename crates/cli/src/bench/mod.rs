//! `mlaan bench`: how fast a recipe trains here, and in how much memory.

mod json;
mod loading;
mod profile;
mod units;

use self::units::{giga, seconds};
use crate::args::BenchArgs;
use crate::auto::{Base, Named};
use crate::{format, output};
use anyhow::Result;
use mlaan::bench::{Options, Measurement, bench as measure};
use mlaan::local::Recompute;
use mlaan::recipe::{Precision, Recipe};
use std::process::ExitCode;

/// Measures and shows.
///
/// # Errors
/// What is wrong with the recipe, or out of memory.
pub fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let base = recipe(args)?;
    let (name, recipe) = (base.name, base.recipe);
    let options =
        Options { rounds: args.rounds, steps: args.steps, profile: args.profile, ..Options::default() };
    let device = args.machine.open()?;
    if args.images.data.is_some() {
        return loading::bench((&name, &recipe), &device, args);
    }
    let report = measure(&recipe, &device, &options)?;
    if args.output.json {
        output::json(&json::report(&name, &recipe, &report))?;
    } else {
        output::page(&text(&name, &recipe, &report))?;
        if let Some(p) = &report.profile {
            output::page(&profile::text(p, &report, args.top))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The recipe with what the command line changes of it.
fn recipe(args: &BenchArgs) -> Result<Base> {
    let mut keys = args.settings.assignments()?;
    keys.extend(args.layout.assignments());
    keys.extend(args.images.sample.assignments());
    let data = args.images.data.as_deref();
    Base::with(Named { recipe: args.recipe.as_deref(), data, ..Named::default() }, &keys)
}

fn text(name: &str, recipe: &Recipe, r: &Measurement) -> String {
    let side = recipe.data.size;
    let stored = if recipe.train.precision == Precision::Bf16 { "bf16" } else { "f32" };
    let again = if recipe.local.recompute == Recompute::Module { ", recomputed" } else { "" };
    let what = format!(
        "{}, width {}, {}, images of {side}x{side}, {} classes, {} per step, {stored}{again}, {}",
        r.network,
        recipe.model.width(),
        format::several(r.modules, "module"),
        format::count(r.classes),
        format::several(r.batch, "image"),
        place(r),
    );
    let lines: Vec<String> = rows(r).iter().map(|(what, text)| format!(" {what:<10}  {text}")).collect();
    format!("{}: {what}\n\n{}\n", format::heading(name), lines.join("\n"))
}

/// What computed, and with which instructions or kernels.
fn place(r: &Measurement) -> String {
    match (r.isa, r.kernels) {
        (Some(isa), _) => format!("{} ({isa})", format::several(r.threads, "thread")),
        (None, Some(kernels)) => format!("{} ({kernels} kernels)", r.device),
        (None, None) => r.device.clone(),
    }
}

fn rows(r: &Measurement) -> Vec<(&'static str, String)> {
    let extreme = |f: fn(f64, f64) -> f64| seconds(r.rounds.iter().copied().reduce(f).unwrap_or(f64::NAN));
    let m = &r.machine;
    let of = |limit: f64| format::percent(100.0 * r.flops_per_second() / limit);
    let mut rows = vec![
        (
            "step",
            format!(
                "{}, median of {} of {} ({} to {})",
                format::heading(&seconds(r.seconds())),
                format::several(r.rounds.len(), "round"),
                format::several(r.steps, "step"),
                extreme(f64::min),
                extreme(f64::max)
            ),
        ),
        ("speed", format!("{} images/s", format::digits(r.images_per_second()))),
        (
            "compute",
            format!("{} GFLOP a step, {} GFLOP/s", format::giga(r.flops), giga(r.flops_per_second())),
        ),
        ("of peak", of_peak(r)),
        (
            "of sgemm",
            format!("{} of {} GFLOP/s, 2048x2048 matrices in this engine", of(m.sgemm), giga(m.sgemm)),
        ),
        ("bandwidth", format!("{} GB/s, two reads and a write of long arrays", giga(m.bandwidth))),
        (
            "memory",
            format!(
                "{} used, {} planned",
                format::bytes(r.used.footprint as u64),
                format::bytes(r.planned.footprint as u64)
            ),
        ),
        (
            "process",
            match r.resident {
                Some(bytes) => format!("peak growth {}", format::bytes(bytes)),
                None => "peak growth not known: this system does not say".into(),
            },
        ),
    ];
    rows.extend(r.device_bytes.map(|bytes| {
        ("device", format!("{} of its memory taken, kernels included, by its driver", format::bytes(bytes)))
    }));
    rows
}

/// The part of the peak that a step reaches, and what the peak is.
fn of_peak(r: &Measurement) -> String {
    let (Some(part), Some(peak)) = (r.of_peak(), r.machine.flops) else {
        return "not known: this device does not offer its measurement".into();
    };
    let what = if r.isa.is_some() { "multiply-adds in registers" } else { "bf16 products of tensor cores" };
    format!("{} of {} GFLOP/s, {what}", format::percent(100.0 * part), giga(peak))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mlaan::bench::Machine;
    use mlaan_engine::Usage;

    fn measured(kernels: Option<&'static str>) -> Measurement {
        let (device, isa) = if kernels.is_some() { ("cuda:0", None) } else { ("cpu", Some("avx2")) };
        Measurement {
            network: "resnet8".into(),
            modules: 4,
            classes: 10,
            batch: 6,
            device: device.into(),
            threads: 1,
            isa,
            kernels,
            steps: 3,
            rounds: vec![0.5],
            flops: 1 << 30,
            planned: Usage::default(),
            used: Usage::default(),
            resident: None,
            device_bytes: None,
            machine: Machine { flops: None, sgemm: 1e12, bandwidth: 1e12 },
            profile: None,
        }
    }

    /// Of a whole benchmark on the host's CUDA driver the measurement of the machine alone would take an hour.
    #[test]
    fn a_gpu_says_which_kernels_ran() {
        let recipe = Recipe::load("quickstart").unwrap();
        for kernels in [Some("proved"), Some("new"), None] {
            let report = measured(kernels);
            let found = json::report("quickstart", &recipe, &report);
            assert_eq!(found.get("kernels").and_then(|k| k.as_str()), kernels);
            let heading = text("quickstart", &recipe, &report);
            let place = kernels.map_or("1 thread (avx2)".into(), |k| format!("cuda:0 ({k} kernels)"));
            assert!(heading.lines().next().unwrap().ends_with(&place), "{heading}");
        }
    }
}
