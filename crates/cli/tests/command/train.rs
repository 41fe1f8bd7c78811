//! Runs: what they write, and that they repeat.

use crate::common::{TINY, epochs, fails, metrics, model, ok, output, parse, summary, tensors, text, train};
use serde_json::Value;
use std::fs;

#[test]
fn a_run_writes_every_file_and_eval_agrees() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&[]));
    let run = at.path().join("runs/quickstart");
    for word in [
        "module",
        "stem",
        "classifier",
        "planned",
        "test accuracy",
        "test error",
        "mlaan eval runs/quickstart",
        "1/2",
        "2/2",
    ] {
        assert!(said.contains(word), "{word} is missing in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours without a terminal");
    let events = metrics(&run);
    let kinds: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["start", "epoch", "epoch", "end"]);
    assert_eq!((&events[0]["train_images"], &events[0]["modules"]), (&200.into(), &4.into()));
    for (key, value) in [("device", "cpu"), ("precision", "f32"), ("recompute", "none")] {
        assert_eq!(events[0][key], value, "{key}");
    }
    for e in &events[1..3] {
        assert_eq!(e["module_errors"].as_array().unwrap().len(), 4);
        assert!(
            e["images_per_second"].as_f64().unwrap() > 0.0 && e["peak_allocated_bytes"].as_u64().unwrap() > 0
        );
    }
    let summary = summary(&run);
    assert_eq!(summary["test_error"], events[2]["test_error"]);
    assert!(fs::read_to_string(run.join("recipe.toml")).unwrap().contains("resnet8"));
    for name in ["last.json", "best.json"] {
        assert!(run.join("checkpoints").join(name).is_file());
    }
    let eval = |more: &[&str]| -> Value {
        let args = [&["eval", "runs/quickstart", "--json"], more].concat();
        serde_json::from_str(&ok(at.path(), &args)).unwrap()
    };
    let found = eval(&[]);
    assert_eq!((&found["error"], &found["images"]), (&summary["test_error"], &200.into()));
    assert_eq!(eval(&["--batch", "7", "--threads", "2"])["error"], summary["test_error"]);
    assert_eq!(eval(&["--best"])["error"], summary["best_test_error"]);
    assert_eq!(eval(&["--limit", "30"])["images"], 30);
    assert!(found["top5_error"].as_f64().unwrap() <= found["error"].as_f64().unwrap());
    assert_eq!(found["classes"].as_array().unwrap().len(), 10);
    let shown = ok(at.path(), &["eval", "runs/quickstart/checkpoints/best.json"]);
    assert!(shown.contains("top-5 accuracy") && shown.contains("200 test images"), "{shown}");
}

#[test]
fn json_lines_are_those_of_the_metrics() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&["--json", "--out", "a"]));
    assert_eq!(parse(&said), metrics(&at.path().join("a")));
}

#[test]
fn threads_do_not_change_the_result() {
    let at = tempfile::tempdir().unwrap();
    let mut two = train(&["--out", "two"]);
    let threads = two.iter().position(|a| *a == "--threads").unwrap() + 1;
    two[threads] = "2";
    ok(at.path(), &train(&["--out", "one"]));
    ok(at.path(), &two);
    let (one, two) = (at.path().join("one"), at.path().join("two"));
    assert_eq!(epochs(&one, &["peak_allocated_bytes"]), epochs(&two, &["peak_allocated_bytes"]));
    assert_eq!(model(&one), model(&two));
    assert_eq!(tensors(&one, "state"), tensors(&two, "state"));
}

#[test]
fn folders_are_numbered_and_never_overwritten() {
    let at = tempfile::tempdir().unwrap();
    let plain = [&["train"], TINY].concat();
    ok(at.path(), &plain);
    let first = fs::read(at.path().join("runs/demo/metrics.jsonl")).unwrap();
    assert!(ok(at.path(), &plain).contains("runs/demo-2"));
    assert!(fails(at.path(), &train(&["--out", "runs/demo"])).contains("holds a run already; pass --resume"));
    assert_eq!(fs::read(at.path().join("runs/demo/metrics.jsonl")).unwrap(), first);
    // Both are finished: there is nothing to do.
    let said = ok(at.path(), &["train", "--resume"]);
    assert!(said.contains("finished already") && said.contains("runs/demo-2"), "{said}");
    assert_eq!(ok(at.path(), &["train", "--resume", "--json", "--out", "runs/demo"]).lines().count(), 1);
}

#[test]
fn a_resumed_run_keeps_its_recipe() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "a", "--seed", "3"]));
    let differ = |more: &[&str]| fails(at.path(), &[&["train", "--resume", "--out", "a"], more].concat());
    let message = differ(&["--seed", "4", "--set", "train.lr=0.5"]);
    assert!(
        message.contains("seed is 3, not 4") && message.contains("train.lr is 0.1, not 0.5"),
        "{message}"
    );
    assert!(differ(&["--epochs", "1"]).contains("train.epochs is 2, not 1"));
    assert!(differ(&["bp-resnet32"]).contains("model.backbone is \"resnet8\", not \"resnet32\""));
    let said = ok(at.path(), &["train", "--resume", "--out", "a", "--epochs", "3", "--threads", "1"]);
    assert!(said.contains("Resuming at epoch 3.") && said.contains("3/3"), "{said}");
    assert_eq!(summary(&at.path().join("a"))["epochs"], 3);
}

#[test]
fn resuming_nothing_starts_from_the_beginning() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&["--resume", "quickstart"]));
    assert!(said.contains("no checkpoint to resume: the run starts from the beginning"), "{said}");
    let kinds: Vec<Value> =
        metrics(&at.path().join("runs/quickstart")).iter().map(|e| e["event"].clone()).collect();
    assert_eq!(kinds, ["start", "epoch", "epoch", "end"]);
}

#[test]
fn rates_are_those_that_were_set_and_said() {
    let at = tempfile::tempdir().unwrap();
    let run = |more: &[&str]| {
        let begin = ["train", "bp-resnet8", "--set", "model.width=4", "--limit", "40", "--threads", "1"];
        let said = ok(at.path(), &[&begin[..], more].concat());
        let out = more.iter().position(|a| *a == "--out").map(|i| more[i + 1]).unwrap();
        let rates: Vec<f64> =
            epochs(&at.path().join(out), &[]).iter().map(|e| e["lr"].as_f64().unwrap()).collect();
        (said, rates)
    };
    let (said, rates) = run(&["--out", "a", "--epochs", "2", "--batch", "8", "--set", "train.lr=0.01"]);
    assert_eq!(rates, [0.005, 0.0]);
    assert!(
        said.contains("lr        0.01; no warm-up (the run is too short), cosine, 0 in the last epoch"),
        "{said}"
    );
    let (said, rates) = run(&["--out", "b", "--epochs", "2", "--batch", "100000"]);
    assert!(said.contains("0.8 at batch 1024 → 0.03125 at 40;") && said.contains("all 40 images"), "{said}");
    assert_eq!(rates, [0.015625, 0.0]);
    let (said, rates) =
        run(&["--out", "c", "--epochs", "4", "--batch", "20", "--set", "train.lr=0.3", "train.warmup=3"]);
    assert!(said.contains("lr        0.3; warm-up of 3 epochs, cosine, 0 in the last epoch"), "{said}");
    assert!(rates.iter().zip([0.1, 0.2, 0.3, 0.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{rates:?}");
    // A run that goes on says the rate that it has.
    let (said, _) = run(&["--out", "b", "--epochs", "3", "--batch", "100000", "--resume"]);
    assert!(said.contains("0.8 at batch 1024 → 0.03125 at 40;"), "{said}");
    let message = fails(at.path(), &["train", "bp-resnet8", "--epochs", "3", "--set", "train.warmup=5"]);
    assert!(message.contains("train.warmup") && message.contains("train.epochs = 3"), "{message}");
    let planned = ok(at.path(), &["plan", "bp-resnet8", "--batch", "128"]);
    assert!(
        planned
            .contains("lr 0.8 at batch 1024 → 0.1 at 128; warm-up of 10 epochs, cosine, 0 in the last epoch"),
        "{planned}"
    );
    let planned = ok(at.path(), &["plan", "bp-resnet8", "--batch", "128", "--json"]);
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!((planned["lr"]["backbone"].as_f64(), planned["lr"]["batch"].as_u64()), (Some(0.1), Some(128)));
    let fits = ok(at.path(), &["plan", "bp-resnet8", "--memory", "40MB"]);
    assert!(fits.lines().any(|l| l.contains(" lr ")), "{fits}");
}

/// Settings whose first epoch ends in what is no number.
const DIVERGES: &[&str] =
    &["--set", "train.lr=1e6", "train.weight_decay=1e6", "train.schedule=constant", "train.warmup=0"];

#[test]
fn a_run_that_saved_nothing_gives_its_folder_back() {
    let at = tempfile::tempdir().unwrap();
    let out = output(at.path(), &train(&[&["--out", "a"], DIVERGES].concat()));
    let message = text(&out.stderr);
    assert!(out.status.code() == Some(1) && message.contains("training stopped"), "{message}");
    assert_eq!(metrics(&at.path().join("a")).len(), 1, "it began, and finished no epoch");
    let said = ok(at.path(), &train(&["--out", "a"]));
    assert!(said.contains("this one takes its place"), "{said}");
    let kinds: Vec<Value> = metrics(&at.path().join("a")).iter().map(|e| e["event"].clone()).collect();
    assert_eq!(kinds, ["start", "epoch", "epoch", "end"]);
    // What was saved is not given back.
    assert!(fails(at.path(), &train(&["--out", "a"])).contains("holds a run already"));
}

#[test]
fn nothing_is_resumed_where_nothing_was_begun() {
    let at = tempfile::tempdir().unwrap();
    let message = fails(at.path(), &["train", "--resume"]);
    assert!(message.contains("runs/demo: there is no run to resume"), "{message}");
    output(at.path(), &train(&[&["--out", "runs/mine"], DIVERGES].concat()));
    let message = fails(at.path(), &["train", "--resume"]);
    assert!(message.contains("not finished are runs/mine"), "{message}");
    assert!(!at.path().join("runs/demo").exists());
}

#[test]
fn event_files_for_tensorboard_lie_where_they_are_wanted_and_go_on() {
    let at = tempfile::tempdir().unwrap();
    let files = |folder: &str| fs::read_dir(at.path().join(folder)).map_or(0, Iterator::count);
    ok(at.path(), &train(&["--tensorboard", "--out", "a"]));
    assert_eq!(files("a/tensorboard"), 1);
    ok(at.path(), &["train", "--resume", "--out", "a", "--epochs", "3", "--threads", "1"]);
    assert_eq!(files("a/tensorboard"), 2, "it goes on without being asked");
    ok(at.path(), &train(&["--tensorboard=logs/b", "--quiet", "--out", "b"]));
    assert_eq!((files("logs/b"), files("b/tensorboard")), (1, 0));
}
