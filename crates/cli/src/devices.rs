//! `mlaan devices`: what can be computed with here, and what is missing for the rest.

use crate::args::DevicesArgs;
use crate::{format, output, ranks};
use anyhow::Result;
use mlaan::memory::limit::{Limit, Limits};
use mlaan_engine::Isa;
use mlaan_engine::cuda::devices::{Found, Gpu, LEAST_CAPABILITY, find};
use serde_json::{Value, json};
use std::process::ExitCode;

/// The processor, as runs see it.
struct Processor {
    cores: usize,
    /// Instruction sets that there are kernels for, the best first.
    isas: Vec<&'static str>,
    /// What limits memory the most, where it is known.
    limit: Option<Limit>,
}

/// Lists.
///
/// # Errors
/// When standard output cannot be written.
pub fn devices(args: &DevicesArgs) -> Result<ExitCode> {
    let (processor, found) = (Processor::found(), find());
    if args.output.json {
        output::json(&json(&processor, &found))?;
    } else {
        output::page(&text(&processor, &found))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Processor {
    fn found() -> Self {
        Processor {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            isas: Isa::available().into_iter().map(Isa::name).collect(),
            limit: Limits::of_this_process().hard.into_iter().min_by_key(|l| l.bytes),
        }
    }
}

fn text(processor: &Processor, found: &Found) -> String {
    let mut table = format::table(&["--device", "what it is", ">memory", "notes"]);
    let limit = processor.limit.as_ref();
    table.add_row([
        "cpu".into(),
        format!("{}: {}", format::several(processor.cores, "core"), processor.isas.join(", ")),
        limit.map_or_else(|| "–".into(), |l| format::bytes(l.bytes as u64)),
        limit.map_or_else(|| "no limit is known".into(), |l| format!("by {}", l.what)),
    ]);
    for gpu in found.gpus.iter().flatten() {
        let (major, minor) = gpu.capability;
        let what = format!("{}: {} multiprocessors", gpu.name, format::count(gpu.multiprocessors));
        let note = format!("compute capability {major}.{minor}{}", too_old(gpu));
        table.add_row([format!("cuda:{}", gpu.ordinal), what, format::bytes(gpu.memory as u64), note]);
    }
    let missing = missing(found);
    let mut lines = vec![format::text(&table), String::new()];
    lines.push(match ranks::mpi() {
        Some(library) => format!("Several ranks (mpirun -n N mlaan train): over {library}"),
        None => {
            "Several ranks (mpirun): not in this build; cargo install --path crates/cli --features mpi".into()
        }
    });
    if let Some(kept) = found.cache.as_ref().filter(|k| k.programs > 0 || missing.is_empty()) {
        let (programs, bytes) = (format::several(kept.programs, "program"), format::bytes(kept.bytes));
        let folder = kept.folder.display();
        lines.push(String::new());
        lines.push(format!(
            "Compiled kernels: {programs}, {bytes}, in {folder} (MLAAN_KERNEL_CACHE names another)"
        ));
    }
    if !missing.is_empty() {
        lines.push(String::new());
        lines.extend(missing.iter().map(|line| format!("Missing for --device cuda: {line}")));
    }
    lines.join("\n")
}

fn too_old(gpu: &Gpu) -> String {
    let (major, minor) = LEAST_CAPABILITY;
    if gpu.is_usable() { String::new() } else { format!(", too old: needs {major}.{minor}") }
}

/// What GPUs lack here: a line each, with what it is for and how to get it.
fn missing(found: &Found) -> Vec<String> {
    let driver = match &found.gpus {
        Ok(gpus) if gpus.is_empty() => Some("a GPU: the driver knows none".to_owned()),
        Ok(_) => None,
        Err(why) => Some(format!(
            "{why}. The driver runs kernels; it comes with your system's packages or from nvidia.com/drivers"
        )),
    };
    driver.into_iter().chain(found.compiler.as_ref().err().cloned()).collect()
}

fn json(processor: &Processor, found: &Found) -> Value {
    let gpu = |g: &Gpu| {
        json!({
            "device": format!("cuda:{}", g.ordinal),
            "name": g.name,
            "compute_capability": [g.capability.0, g.capability.1],
            "multiprocessors": g.multiprocessors,
            "memory_bytes": g.memory,
            "usable": g.is_usable() && found.compiler.is_ok(),
        })
    };
    let compiler = found.compiler.as_ref().ok().map(|(major, minor)| format!("{major}.{minor}"));
    json!({
        "cpu": {
            "device": "cpu",
            "cores": processor.cores,
            "instruction_sets": processor.isas,
            "memory_limit_bytes": processor.limit.as_ref().map(|l| l.bytes),
            "memory_limit": processor.limit.as_ref().map(|l| &l.what),
        },
        "gpus": found.gpus.iter().flatten().map(gpu).collect::<Vec<_>>(),
        "nvrtc": compiler,
        "mpi": ranks::mpi(),
        "kernel_cache": found.cache.as_ref().map(|k| {
            json!({ "folder": k.folder, "programs": k.programs, "bytes": k.bytes })
        }),
        "missing": missing(found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan_engine::cuda::devices::Kept;

    fn gpu(ordinal: usize, name: &str, capability: (u32, u32)) -> Gpu {
        Gpu { ordinal, name: name.into(), capability, multiprocessors: 132, memory: 80 << 30 }
    }

    fn processor() -> Processor {
        let limit = Limit { what: "the control group".into(), bytes: 4 << 30, taken: Vec::new() };
        Processor { cores: 2, isas: vec!["avx2", "portable"], limit: Some(limit) }
    }

    #[test]
    fn gpus_are_listed_and_old_ones_marked() {
        let gpus = vec![gpu(0, "Hopper", (9, 0)), gpu(1, "Volta", (7, 0))];
        let found = Found { gpus: Ok(gpus), compiler: Ok((12, 8)), cache: None };
        let shown = text(&processor(), &found);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[2].contains("2 cores: avx2, portable") && lines[2].contains("4.00 GiB"), "{shown}");
        assert!(lines[3].contains("cuda:0") && lines[3].contains("Hopper: 132") && !lines[3].contains("old"));
        assert!(lines[4].contains("cuda:1") && lines[4].contains("7.0, too old: needs 8.0"), "{shown}");
        assert!(!shown.contains("Missing"), "{shown}");
        let json = json(&processor(), &found);
        assert_eq!((&json["gpus"][0]["usable"], &json["gpus"][1]["usable"]), (&true.into(), &false.into()));
        assert_eq!((&json["nvrtc"], &json["missing"]), (&"12.8".into(), &json!([])));
        assert_eq!(json["mpi"].is_null(), !cfg!(feature = "mpi"), "{json}");
    }

    #[test]
    fn compiled_kernels_are_counted() {
        let cache = Some(Kept { folder: "/kept".into(), programs: 41, bytes: 3 << 20 });
        let found = Found { gpus: Ok(vec![gpu(0, "Hopper", (9, 0))]), compiler: Ok((13, 0)), cache };
        let shown = text(&processor(), &found);
        assert!(shown.contains("Compiled kernels: 41 programs, 3.00 MiB, in /kept"), "{shown}");
        assert_eq!(json(&processor(), &found)["kernel_cache"]["programs"], 41);
    }

    #[test]
    fn what_is_missing_has_a_line_each() {
        let found =
            Found { gpus: Err("no libcuda".into()), compiler: Err("no NVRTC: get it".into()), cache: None };
        let missing = missing(&found);
        assert_eq!(missing.len(), 2);
        assert!(
            missing[0].starts_with("no libcuda. The driver runs kernels") && missing[1].contains("get it")
        );
        assert_eq!(text(&processor(), &found).matches("Missing for --device cuda: ").count(), 2);
        let json = json(&processor(), &found);
        assert_eq!((&json["gpus"], &json["nvrtc"]), (&json!([]), &Value::Null));
        let none = Found { gpus: Ok(Vec::new()), compiler: Ok((12, 8)), cache: None };
        assert!(text(&processor(), &none).contains("the driver knows none"));
    }
}
