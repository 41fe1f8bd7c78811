//! `--stages` and `--device A,B`: what one stage writes, planned stage by stage, and what cannot be said to the point.

use crate::common::{epochs, fails, model, ok, output, tensors, text, train};
use serde_json::Value;

const PEAK: &[&str] = &["peak_allocated_bytes"];

#[test]
fn stages_write_what_one_writes_and_go_on_in_any_number() {
    let at = tempfile::tempdir().unwrap();
    let shown = ok(at.path(), &train(&["--plain", "--out", "one"]));
    assert!(!shown.contains("stages"), "{shown}");
    let shown = ok(at.path(), &train(&["--plain", "--out", "two", "--stages", "2"]));
    assert!(
        shown.contains("2 stages of ") && shown.contains(" modules: cpu, 1 thread; cpu, 1 thread"),
        "{shown}"
    );
    let [one, two] = ["one", "two"].map(|run| at.path().join(run));
    assert_eq!(epochs(&one, PEAK), epochs(&two, PEAK));
    assert!(model(&one) == model(&two) && tensors(&one, "state") == tensors(&two, "state"));
    // Half of it in three stages, the rest in one.
    let short = |more: &[&'static str]| {
        let mut args = train(&["--out", "three", "--quiet"]);
        let epochs = args.iter().position(|a| *a == "--epochs").unwrap();
        args[epochs + 1] = "1";
        args.extend(more);
        args
    };
    ok(at.path(), &short(&["--stages", "3"]));
    // With another number of epochs the rates differ, too.
    ok(at.path(), &["train", "--resume", "--out", "three", "--epochs", "2", "--quiet"]);
    assert_eq!(epochs(&at.path().join("three"), PEAK).len(), 2);
}

#[test]
fn what_cannot_be_is_said() {
    let at = tempfile::tempdir().unwrap();
    let one_module = ["--set", "local.modules=1", "local.leap=none", "local.cascade=none"];
    let message = fails(at.path(), &train(&[&["--stages", "2"], &one_module[..]].concat()));
    assert!(message.contains("backpropagation") && message.contains("local.modules"), "{message}");
    let message = fails(at.path(), &train(&["--stages", "9"]));
    assert!(message.contains("9 stages of 4 modules"), "{message}");
    let message = fails(at.path(), &train(&["--device", "cpu,cpu", "--stages", "3"]));
    assert!(message.contains("--stages 3 with 2 devices"), "{message}");
    let message = fails(at.path(), &train(&["--device", "cpu,cpu", "--memory", "1GiB"]));
    assert!(message.contains("--memory") && message.contains("one device"), "{message}");
    let out = output(at.path(), &train(&["--device", "cpu,cuda"]));
    assert!(text(&out.stderr).contains("not on both"), "{}", text(&out.stderr));
    assert!(!at.path().join("runs").exists());
}

#[test]
fn a_plan_shows_stages() {
    let at = tempfile::tempdir().unwrap();
    let plan = |more: &[&'static str]| [&["plan", "mlm-resnet20-5", "--threads", "2"], more].concat();
    let found: Value = serde_json::from_str(&ok(at.path(), &plan(&["--stages", "2", "--json"]))).unwrap();
    let stages = found["stages"].as_array().unwrap();
    let of = |key: &str| stages.iter().map(|s| s[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(stages.len(), 2);
    assert_eq!(of("allocated_bytes"), found["local"]["allocated_bytes"].as_u64().unwrap());
    assert_eq!(of("flops"), found["local"]["flops"].as_u64().unwrap());
    let one: Value = serde_json::from_str(&ok(at.path(), &plan(&["--json"]))).unwrap();
    assert_eq!(one["local"]["flops"], found["local"]["flops"]);
    assert!(one.get("stages").is_none());
    let shown = ok(at.path(), &plan(&["--stages", "2"]));
    assert!(shown.contains("stage ") && shown.contains(" to 4"), "{shown}");
    let ranks = |more: &[&'static str]| [&["plan", "mlm-resnet20-5", "--gflops", "50"], more].concat();
    let found: Value = serde_json::from_str(&ok(at.path(), &ranks(&["--ranks", "1..4", "--json"]))).unwrap();
    let curve = found["ranks"]["curve"].as_array().unwrap();
    let seconds: Vec<f64> = curve.iter().map(|r| r["step_seconds"].as_f64().unwrap()).collect();
    let alone = found["local"]["flops"].as_f64().unwrap() / 50e9;
    assert!((seconds[0] - alone).abs() < 0.01 * alone, "{seconds:?}, {alone}");
    assert!(
        curve.len() == 4 && seconds.is_sorted_by(|a, b| a >= b) && seconds[1] > alone / 2.0,
        "{seconds:?}"
    );
    assert!(
        curve.iter().all(|r| r.get("advice").is_some_and(Value::is_null)),
        "seconds of modules were not measured: {found}"
    );
    // A network that is too slow limits.
    let slow = ok(at.path(), &ranks(&["--ranks", "2", "--bandwidth", "1Mbit", "--latency", "50us"]));
    assert!(
        slow.contains("limited by the link between ranks") && slow.contains("activations sent"),
        "{slow}"
    );
    let measured =
        ok(at.path(), &["plan", "mlm-resnet20-5", "--batch", "4", "--threads", "1", "--ranks", "2"]);
    let both =
        ["A step takes ", " in one process of 1 thread, and ", " over 2 ranks of 1 thread: a speed-up of "];
    assert!(both.iter().all(|part| measured.contains(part)), "{measured}");
    let one = ok(at.path(), &ranks(&["--ranks", "1"]));
    assert!(one.contains(" in one process. ") && !one.contains("limited by"), "{one}");
    for wrong in ["--bandwidth=10", "--latency=5", "--ranks=0", "--ranks=5..2", "--gflops=-1"] {
        let out = output(at.path(), &[&ranks(&[])[..], &[wrong]].concat());
        assert!(!out.status.success(), "{wrong}");
    }
    let many = fails(at.path(), &ranks(&["--ranks", "9"]));
    assert!(many.contains("there are 5 modules"), "{many}");
    let curve = ok(at.path(), &ranks(&["--ranks", "4..9"]));
    assert!(curve.contains("makes 5 ranks at most"), "{curve}");
    let both = fails(at.path(), &ranks(&["--ranks", "2", "--stages", "2"]));
    assert!(both.contains("leave one out"), "{both}");
    let on_gpus = ["--ranks", "2", "--device", "cuda"];
    let shown = ok(at.path(), &ranks(&on_gpus));
    assert!(shown.lines().any(|l| l.contains("rank ") && l.contains(" host ")), "{shown}");
    let found: Value =
        serde_json::from_str(&ok(at.path(), &ranks(&[&on_gpus[..], &["--json"]].concat()))).unwrap();
    let messages = |k: usize| found["ranks"]["curve"][0]["each"][k]["messages_bytes"].as_u64().unwrap();
    assert!(messages(0) > 0 && messages(1) > 0, "{found}");
    let two = ok(at.path(), &["plan", "mlm-resnet20-5", "--device", "cuda:0,cuda:1"]);
    assert!(two.contains("stage "), "a plan for two GPUs needs none: {two}");
}
