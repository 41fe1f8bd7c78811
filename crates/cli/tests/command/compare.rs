//! `mlaan compare`: tables that are run, interrupted, killed, planned and shown.

use crate::common::{epochs, fails, mlaan, model, ok, output, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

const TINY: &str = r#"
title = "Two tiny networks"
source = "nowhere"
set = ["model.width=4", "data.limit=60", "train.epochs=2", "train.batch=30"]
seeds = 2
columns = [{ network = "resnet8", modules = 2 }]
rows = [
    { name = "bp", title = "BP", recipe = "bp-resnet32", paper = [12.5] },
    { name = "dgl", title = "DGL", recipe = "dgl-resnet32-16" },
]
"#;

const BROKEN: &str = r#"rows = [
    { name = "broken", recipe = "dgl-resnet32-16", set = ["train.lr=1e6", "train.weight_decay=1e6", "train.schedule=constant"] },"#;

/// A folder with a suite.
fn folder(suite: &str) -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    fs::write(at.path().join("tiny.toml"), suite).unwrap();
    at
}

fn compare<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["compare", "tiny.toml", "--threads", "1"], more].concat()
}

fn json(at: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(at, args)).unwrap()
}

#[test]
fn a_table_is_run_shown_and_found_done() {
    let at = folder(TINY);
    let said = ok(at.path(), &compare(&[]));
    for word in [
        "4 runs in runs/tiny; 0 done before; --plan forecasts their time.\n",
        "4/4  dgl-resnet8-2",
        "± ",
        "paper",
        "p (Holm)",
        "12.50",
    ] {
        assert!(said.contains(word), "{word} is missing in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours without a terminal");
    assert!(at.path().join("runs/tiny/bp-resnet8/seed-1/summary.json").is_file());
    let again = ok(at.path(), &compare(&[]));
    assert!(again.contains("4 done before.") && !again.contains("seed 0"), "{again}");
    let found = json(at.path(), &compare(&["--json"]));
    let kept: Value =
        serde_json::from_slice(&fs::read(at.path().join("runs/tiny/compare.json")).unwrap()).unwrap();
    assert_eq!(found, kept);
    assert_eq!(found["cells"][1]["test"]["n"], 2);
    assert_eq!(json(at.path(), &["compare", "--show", "--json", "--out", "runs/tiny"]), found);
    assert!(fails(at.path(), &["compare", "--show"]).contains("needs a suite or recipes, or --out"));
    for part in [["--only", "dgl"], ["--epochs", "3"], ["--data", "builtin"], ["--batch", "8"]] {
        let said = fails(at.path(), &[&["compare", "--show", "--out", "runs/tiny"][..], &part].concat());
        assert!(said.contains("name the suite or recipes, too"), "{part:?}: {said}");
    }
    assert!(fails(at.path(), &compare(&["--set", "seed=2"])).contains("`--seeds 2,` is seed 2 alone"));
    assert!(fails(at.path(), &["compare", "--show", "--out", "nowhere"]).contains("there is no such file"));
    // A copy with the records alone shows the same.
    let (from, to) = (at.path().join("runs/tiny/results"), at.path().join("copy/results"));
    fs::create_dir(at.path().join("copy")).unwrap();
    fs::rename(from, to).unwrap();
    assert_eq!(json(at.path(), &compare(&["--show", "--json", "--out", "copy"])), found);
    assert!(!at.path().join("copy/bp-resnet8").exists());
    assert!(ok(at.path(), &compare(&["--show", "--seeds", "4"])).contains("2/4"));
    assert!(
        fails(at.path(), &compare(&["--show", "--out", "none"])).contains("none: there is no such folder")
    );
    assert!(!at.path().join("none").exists());
    // Three seeds, of which two are done.
    assert!(ok(at.path(), &compare(&["--seeds", "3"])).contains("6 runs in runs/tiny; 4 done before"));
    let whole = ok(at.path(), &compare(&["--seeds", "1", "--batch", "1024", "--out", "whole"]));
    let said = "train.batch is 1,024: one step per epoch of all 60 images.\n";
    assert!(whole.matches(said).count() == 1 && !again.contains("train.batch is"), "{whole}");
    let message = fails(at.path(), &compare(&["--epochs", "3"]));
    assert!(message.contains("train.epochs is 2, not 3. Pass another --out"), "{message}");
    assert!(
        message.contains("or remove the comparison in runs/tiny") && !message.contains("is done)"),
        "{message}"
    );
}

#[test]
fn a_part_of_a_table_leaves_the_rest_as_it_is() {
    let at = folder(TINY);
    ok(at.path(), &compare(&["--seeds", "1"]));
    let said = ok(at.path(), &compare(&["--only", "dgl", "--seeds", "1,"]));
    assert!(
        said.contains("1 run in runs/tiny; 0 done before") && said.contains("1/1  dgl-resnet8-2"),
        "{said}"
    );
    // What is shown is the part that was asked for, beside all that is known.
    assert!(said.contains("2/2") && !said.contains("\n BP "), "{said}");
    let kept = || -> Value {
        serde_json::from_slice(&fs::read(at.path().join("runs/tiny/compare.json")).unwrap()).unwrap()
    };
    let found = kept();
    assert_eq!(found["seeds"], serde_json::json!([0, 1]));
    assert_eq!(found["what"], serde_json::json!(["tiny.toml"]));
    assert_eq!(found["cells"].as_array().unwrap().len(), 2);
    let states = |cell: usize| {
        let runs = found["cells"][cell]["runs"].as_array().unwrap().clone();
        runs.iter().map(|r| r["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((states(0), states(1)), (vec!["done".to_owned(), "missing".into()], vec!["done".into(); 2]));
    assert!(found["cells"][1]["to_plain"]["seconds"].as_f64().unwrap() > 0.0);
    // Seeds that are asked for are those that are shown.
    let first = json(at.path(), &compare(&["--show", "--json", "--seeds", "1", "--only", "dgl"]));
    assert_eq!(
        (first["seeds"].clone(), first["cells"].as_array().unwrap().len()),
        (serde_json::json!([0]), 1)
    );
}

#[test]
fn a_plan_trains_nothing() {
    let at = folder(TINY);
    let said = ok(at.path(), &compare(&["--plan"]));
    assert!(said.contains("2 of 2") && said.contains("4 runs left to do take about"), "{said}");
    let plan = json(at.path(), &compare(&["--plan", "--json", "--seeds", "5", "--only", "dgl"]));
    assert_eq!((&plan["cells"][0]["runs_left"], plan["cells"].as_array().unwrap().len()), (&5.into(), 1));
    assert!(plan["seconds_left"].as_f64().unwrap() > 0.0);
    let memory =
        json(at.path(), &["compare", "table3-memory", "--plan", "--json", "--only", "resnet32-16-cifar10"]);
    let planned = |i: usize| memory["cells"][i]["cost"]["memory_bytes"].as_f64().unwrap();
    assert!(planned(0) > 1.5 * planned(1) && memory["cells"][0]["paper"] == 3.37, "{memory}");
    // What is kept on the host is of a cell's cost, in a column of its own, where some cell offloads.
    let cells = memory["cells"].as_array().unwrap();
    let offloads = |c: &Value| c["cell"].as_str().unwrap().contains("offload");
    assert!(cells.iter().any(offloads) && !cells.iter().all(offloads));
    assert!(cells.iter().all(|c| offloads(c) == (c["cost"]["host_bytes"].as_u64() > Some(0))), "{memory}");
    let show = |only: &str| ok(at.path(), &["compare", "table3-memory", "--plan", "--only", only]);
    let has_column = |said: &str| said.lines().any(|l| l.contains(" cell ") && l.contains(" host "));
    assert!(has_column(&show("mlaan-released-offload-resnet32-16-cifar10")));
    assert!(!has_column(&show("mlaan-released-resnet32-16-cifar10")));
    assert!(!at.path().join("runs").exists());
}

#[test]
fn suites_are_listed_and_wrong_names_explained() {
    let at = folder(TINY);
    let said = ok(at.path(), &["compare"]);
    assert!(said.contains("small") && said.contains("table5-epochs"), "{said}");
    let said = |args: &[&str]| fails(at.path(), &[&["compare"], args].concat());
    assert!(said(&["dgl-resnt32-16"]).contains("dgl-resnet32-16"));
    assert!(said(&["tiny.toml", "small"]).contains("only the first name can be a suite"));
    assert!(said(&["bp-resnet8", "tiny.toml"]).contains("tiny.toml is a suite: it stands first"));
    assert!(
        said(&["tiny.toml", "--only", "dgll"]).contains("did you mean `dgl`? Rows are bp, dgl; columns are")
    );
    assert!(said(&["small"]).contains("CIFAR-10") && said(&["small"]).contains("--data PATH"));
    assert!(said(&["tiny.toml", "--against", "cp"]).contains("bp, dgl"));
    assert!(said(&["small", "--data", "svhn=x"]).contains("no cell wants this set"));
    assert!(said(&["tiny.toml", "--set", "local.cascade.span=9"]).contains("cell bp-resnet8"));
    assert!(!at.path().join("runs").exists());
}

#[test]
fn a_failing_cell_is_told_at_the_end() {
    let at = folder(&TINY.replace("rows = [", BROKEN));
    let out = output(at.path(), &compare(&["--seeds", "1"]));
    assert_eq!(out.status.code(), Some(1));
    let (said, error) = (text(&out.stdout), text(&out.stderr));
    assert!(said.contains("failed: ") && said.contains("dgl-resnet8-2"), "{said}");
    assert!(error.starts_with("error: 1 of 3 runs failed: broken-resnet8-2 seed 0: "), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1);
    let kept: Value =
        serde_json::from_slice(&fs::read(at.path().join("runs/tiny/compare.json")).unwrap()).unwrap();
    let states: Vec<&Value> =
        kept["cells"].as_array().unwrap().iter().map(|c| &c["runs"][0]["state"]).collect();
    assert_eq!(states, ["failed", "done", "done"]);
    assert_eq!(kept["cells"][0]["runs"][0]["diverged"], true);
    assert!(said.contains("0/1, 1 diverged") && said.contains("stand in no mean"), "{said}");
    // It saved nothing, so it stands in no other experiment's way.
    let milder = ["--seeds", "1", "--only", "broken", "--set", "train.lr=0.1", "train.weight_decay=0"];
    assert!(ok(at.path(), &compare(&milder)).contains("1/1  broken-resnet8-2"));
}

#[test]
fn a_table_of_memory_trains_nothing_and_measures_once() {
    let at = folder(&TINY.replace("source = \"nowhere\"", "measure = \"memory\"\ndata = \"cifar10\""));
    let said = ok(at.path(), &compare(&[]));
    assert!(said.contains("measured") && said.contains("12.50 GB") && !said.contains("seed"), "{said}");
    assert!(!at.path().join("runs/tiny/bp-resnet8").exists());
    let found = json(at.path(), &compare(&["--json"]));
    let (step, cost) = (&found["cells"][0]["step"], &found["cells"][0]["cost"]);
    // The step itself, without the evaluation and the batches that wait.
    assert!(step["bytes"].as_u64().unwrap() <= cost["memory_bytes"].as_u64().unwrap(), "{found}");
    assert!(step["bytes"].as_u64().unwrap() * 2 > cost["memory_bytes"].as_u64().unwrap(), "{found}");
    assert_eq!(json(at.path(), &compare(&["--json"])), found);
    assert!(fails(at.path(), &compare(&["--batch", "10"])).contains("train.batch is 30, not 10"));
}

#[test]
fn memory_is_a_limit_of_every_cell() {
    let at = folder(&TINY.replace("train.batch=30", "train.batch=60"));
    let own = json(at.path(), &compare(&["--plan", "--json"]));
    let cost = |key: &str| own["cells"][0]["cost"][key].as_u64().unwrap();
    let most = cost("memory_bytes") * 3 / 4 + cost("process_bytes");
    let said = ok(at.path(), &compare(&["--plan", "--memory", &most.to_string(), "--only", "bp"]));
    assert!(
        said.contains("bp-resnet8: local.recompute=module")
            | said.contains("bp-resnet8: train.precision=bf16"),
        "{said}"
    );
}

#[cfg(unix)]
mod stopped {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    /// Both tables hold the same runs, to the bit.
    fn same(a: &Path, b: &Path) {
        for cell in ["bp-resnet8", "dgl-resnet8-2"] {
            for seed in ["seed-0", "seed-1"] {
                let (a, b) = (a.join(cell).join(seed), b.join(cell).join(seed));
                assert_eq!(
                    epochs(&a, &["peak_allocated_bytes"]),
                    epochs(&b, &["peak_allocated_bytes"]),
                    "{cell} {seed}"
                );
                assert_eq!(model(&a), model(&b), "{cell} {seed}");
            }
        }
    }

    #[test]
    fn interrupted_tables_say_how_to_go_on_and_do() {
        let at = folder(&TINY.replace("train.epochs=2", "train.epochs=6"));
        ok(at.path(), &compare(&["--out", "whole"]));
        let mut child = mlaan(at.path(), &compare(&["--out", "parts"]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("1/4") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0);
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let rest: Vec<String> = said.lines().map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let rest = rest.join("\n");
        assert!(
            rest.contains(
                "1 of 4 runs are done. To go on:\n  mlaan compare tiny.toml --threads 1 --out parts"
            ),
            "{rest}"
        );
        assert!(at.path().join("parts/compare.md").is_file());
        let end = ok(at.path(), &compare(&["--out", "parts"]));
        assert!(end.contains("1 done before"), "{end}");
        same(&at.path().join("whole"), &at.path().join("parts"));
    }

    #[test]
    fn killed_tables_go_on_as_if_nothing_had_happened() {
        let at = folder(&TINY.replace("train.epochs=2", "train.epochs=3"));
        ok(at.path(), &compare(&["--out", "whole"]));
        let (mut kills, mut state) = (0, 99_u64);
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut child = mlaan(at.path(), &compare(&["--out", "killed"]))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(20 + (state >> 33) % 500));
            kills += usize::from(child.try_wait().unwrap().is_none());
            let _ = child.kill();
            child.wait().unwrap();
        }
        ok(at.path(), &compare(&["--out", "killed"]));
        assert!(kills >= 1, "only {kills} kills");
        same(&at.path().join("whole"), &at.path().join("killed"));
    }

    #[test]
    fn one_process_per_folder() {
        let at = folder(&TINY.replace("train.epochs=2", "train.epochs=5000"));
        let mut child = mlaan(at.path(), &compare(&[])).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        assert!(said.read_line(&mut String::new()).unwrap() > 0);
        let message = fails(at.path(), &compare(&[]));
        assert!(message.contains("runs/tiny: another process trains in this folder"), "{message}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
