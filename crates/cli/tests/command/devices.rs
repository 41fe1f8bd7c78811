//! Where to compute: what is listed, named, planned for, and missing.

use crate::common::{fails, ok, output, text, train};
use serde_json::Value;
use std::io::Write;

/// Whether a GPU could be used here; then what its absence looks like cannot be tested.
fn driver_is_here() -> bool {
    let there = mlaan_engine::cuda::devices::find().gpus.is_ok();
    if there {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: this machine has a CUDA driver, and the test is about its absence"
        );
    }
    there
}

#[test]
fn the_processor_is_always_there() {
    let at = tempfile::tempdir().unwrap();
    let shown = ok(at.path(), &["devices"]);
    assert!(shown.contains("cpu") && shown.contains("core") && shown.contains("portable"), "{shown}");
    let found: Value = serde_json::from_str(&ok(at.path(), &["devices", "--json"])).unwrap();
    assert_eq!(found["cpu"]["device"], "cpu");
    assert!(found["cpu"]["cores"].as_u64().unwrap() > 0);
    assert!(found["cpu"]["instruction_sets"].as_array().unwrap().contains(&"portable".into()));
    for gpu in found["gpus"].as_array().unwrap() {
        assert!(gpu["device"].as_str().unwrap().starts_with("cuda:"), "{gpu}");
        assert!(gpu["memory_bytes"].as_u64().unwrap() > 0, "{gpu}");
    }
    let lines = shown.matches("Missing for --device cuda: ").count();
    assert_eq!(found["missing"].as_array().unwrap().len(), lines, "{shown}");
}

#[test]
fn a_missing_driver_is_named_with_where_to_get_it() {
    if driver_is_here() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let shown = ok(at.path(), &["devices"]);
    for words in ["The driver runs kernels", "libcuda", "nvidia.com/drivers"] {
        assert!(shown.contains(words), "{words} is missing in:\n{shown}");
    }
    for args in [
        train(&["--device", "cuda", "--out", "run"]),
        train(&["--device", "cuda:3"]),
        vec!["bench", "--device", "cuda", "--rounds", "1", "--steps", "1"],
    ] {
        let message = fails(at.path(), &args);
        let words = ["device cuda:", "libcuda", "not installed", "`mlaan devices`"];
        assert!(words.iter().all(|w| message.contains(w)), "{args:?}: {message}");
    }
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 0, "a run that never began leaves nothing");
    ok(at.path(), &train(&["--quiet", "--device", "cpu", "--out", "run"]));
    assert!(fails(at.path(), &["eval", "run", "--device", "cuda"]).contains("libcuda"));
    let resumed =
        fails(at.path(), &["train", "--resume", "--out", "run", "--epochs", "3", "--device", "cuda"]);
    assert!(resumed.contains("libcuda"), "{resumed}");
}

#[test]
fn other_names_are_refused_with_what_is_possible() {
    let at = tempfile::tempdir().unwrap();
    for (name, hint) in
        [("abacus", false), ("gpu", true), ("CUDA:0", true), ("cuda:", true), ("cuda:-1", true)]
    {
        for command in [&["train"][..], &["bench"], &["plan"], &["eval", "run"]] {
            let out = output(at.path(), &[command, &["--device", name]].concat());
            let message = text(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{message}");
            let words = [name, "--device", "possible are cpu, cuda and cuda:N"];
            assert!(words.iter().all(|w| message.contains(w)), "{message}");
            assert_eq!(message.contains("a GPU is called cuda"), hint, "{message}");
        }
    }
}

#[test]
fn a_plan_for_a_gpu_needs_none() {
    let at = tempfile::tempdir().unwrap();
    let plan = |more: &[&str]| -> Value {
        let args = [&["plan", "mlaan-released-resnet32-16", "--batch", "64", "--json"], more].concat();
        serde_json::from_str(&ok(at.path(), &args)).unwrap()
    };
    let there = plan(&["--device", "cuda"]);
    assert_eq!(there["device"], "cuda");
    assert!(there["local"]["memory_bytes"].as_u64().unwrap() > 0);
    assert!(there["backpropagation"]["memory_bytes"].as_u64().unwrap() > 0);
    // Neither the run, nor the GPU's number, nor threads of the processor.
    assert_eq!(there, plan(&["--device", "cuda"]));
    assert_eq!(there, plan(&["--device", "cuda:1", "--threads", "1"]));
    let here = plan(&["--device", "cpu", "--threads", "1"]);
    assert_eq!((&here["device"], &here["local"]["flops"]), (&"cpu".into(), &there["local"]["flops"]));
    let shown = ok(at.path(), &["plan", "--device", "cuda"]);
    assert!(shown.contains(", on cuda\n"), "{shown}");
    let fits = ok(at.path(), &["plan", "quickstart", "--device", "cuda", "--memory", "100MB"]);
    assert!(fits.contains("this recipe") && fits.contains("on cuda"), "{fits}");
}
