//! `mlaan bench`: how fast a recipe trains here, and in how much memory.

mod json;
mod loading;
mod profile;
mod units;

use self::units::{giga, seconds};
use crate::args::BenchArgs;
use crate::auto::{Base, Named};
use crate::held_out::or_held_out;
use crate::{format, output};
use anyhow::{Error, Result};
use mlaan::bench::{Loading, Measurement, Options, bench as measure, loading as load};
use mlaan::local::Recompute;
use mlaan::recipe::{Precision, Recipe};
use serde_json::json;
use std::process::ExitCode;

/// Measures and shows.
///
/// # Errors
/// What is wrong with the recipe, or out of memory.
pub fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let base = recipe(args)?;
    let (name, mut recipe) = (base.name, base.recipe);
    let default = Options::default();
    let steps = args.steps.unwrap_or(default.steps);
    let options = Options { rounds: args.rounds, steps, profile: args.profile, ..default };
    let loads = args.images.data.is_some();
    let steps_too = !loads || args.steps.is_some() || args.profile;
    // Each with a device of its own: memory is counted from when it was opened.
    let open = || args.machine.open();
    let loaded = match loads {
        true => Some(or_held_out(&mut recipe, true, |recipe| Ok(load(recipe, &open()?, args.rounds)?))?),
        false => None,
    };
    let trained = steps_too.then(|| Ok::<_, Error>(measure(&recipe, &open()?, &options)?)).transpose()?;
    let of_steps = trained.as_ref().map(|r| json::report(&name, &recipe, r));
    let of_loading = loaded.as_ref().map(|l| loading::json(&name, &recipe, l));
    let both = trained.as_ref().zip(loaded.as_ref());
    if args.output.json {
        output::json(&match (of_steps, of_loading, both) {
            (Some(training), Some(loading), Some(both)) => {
                json!({ "training": training, "loading": loading, "images_per_second": together(both) })
            }
            (training, loading, _) => training.or(loading).unwrap_or_default(),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(r) = &trained {
        output::page(&text(&name, &recipe, r))?;
        if let Some(p) = &r.profile {
            output::page(&profile::text(p, r, args.top))?;
        }
    }
    if let Some(l) = &loaded {
        let before = if trained.is_some() { "\n" } else { "" };
        output::page(&format!("{before}{}", loading::text(&name, &recipe, l)))?;
    }
    if let Some(both) = both {
        output::page(&conclusion(both))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Images a second of training on images that are loaded meanwhile: on the processor both share its cores, beside a GPU the
/// slower one decides.
fn together((r, l): (&Measurement, &Loading)) -> f64 {
    let (steps, loading) = (r.images_per_second(), l.images_per_second());
    if r.isa.is_some() { 1.0 / (1.0 / steps + 1.0 / loading) } else { steps.min(loading) }
}

/// What both say of a run.
fn conclusion((r, l): (&Measurement, &Loading)) -> String {
    let rate = together((r, l));
    let why = match (r.isa, l.images_per_second() < r.images_per_second()) {
        (Some(_), _) => "steps and loading share the cores",
        (None, true) => "loading is slower than steps, which wait for it",
        (None, false) => "loading is faster than steps, which do not wait for it",
    };
    let epoch = format::duration(l.images as f64 / rate);
    format!(
        " training    about {} images/s, {epoch} for an epoch without its test: {why}\n",
        format::digits(rate)
    )
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
    ];
    rows.extend((r.used.host > 0).then(|| {
        let (kept, moved) = (format::bytes(r.used.host as u64), format::bytes(r.moved));
        ("host", format!("{kept} pinned for auxiliary networks, {moved} copied each way a step"))
    }));
    rows.push((
        "process",
        match r.resident {
            Some(bytes) => format!("peak growth {}", format::bytes(bytes)),
            None => "peak growth not known: this system does not say".into(),
        },
    ));
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
            moved: 0,
            resident: None,
            device_bytes: None,
            machine: Machine { flops: None, sgemm: 1e12, bandwidth: 1e12 },
            profile: None,
        }
    }

    #[test]
    fn a_processor_shares_its_cores_and_a_gpu_waits_for_the_slower() {
        let loaded = |seconds: f64| Loading {
            name: "photos".into(),
            images: 12,
            batch: 6,
            streamed: true,
            threads: 1,
            device: "cpu".into(),
            opening: 0.0,
            rounds: vec![seconds],
            bytes: 0,
        };
        // 12 images a second of steps; 12 and 6 of loading.
        let rate = |kernels, seconds| together((&measured(kernels), &loaded(seconds)));
        assert_eq!([rate(None, 1.0), rate(None, 2.0)], [6.0, 4.0]);
        assert_eq!([rate(Some("proved"), 0.5), rate(Some("proved"), 2.0)], [12.0, 6.0]);
        let said = conclusion((&measured(Some("proved")), &loaded(2.0)));
        assert!(
            said.contains("about 6.00 images/s, 2.0 s for an epoch") && said.contains("wait for it"),
            "{said}"
        );
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
