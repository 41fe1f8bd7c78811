//! `mlaan bench`: what it prints agrees with itself. No time is compared: machines differ.

use crate::common::{fails, ok, output};
use serde_json::Value;
use std::fs;

/// A network small enough for tests, few steps.
const TINY: &[&str] = &[
    "bench",
    "quickstart",
    "--set",
    "model.backbone=resnet8",
    "model.width=4",
    "local.modules=4",
    "--batch=4",
    "--threads=1",
    "--rounds=2",
    "--steps=2",
];

fn number(value: &Value, path: &str) -> f64 {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no number {path} in {value:#}"))
}

#[test]
fn json_has_every_field_and_they_agree() {
    let at = tempfile::tempdir().unwrap();
    let report: Value = serde_json::from_str(&ok(at.path(), &[TINY, &["--json"]].concat())).unwrap();
    let n = |path: &str| number(&report, path);
    assert_eq!((&report["recipe"], &report["network"]), (&"quickstart".into(), &"resnet8".into()));
    for (key, value) in [("modules", 4), ("batch", 4), ("threads", 1), ("size", 32), ("classes", 10)] {
        assert_eq!(report[key], value, "{key}");
    }
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    let close = |a: f64, b: f64| assert!((a - b).abs() <= 1e-9 * b.abs(), "{a} {b}");
    close(n("/seconds"), (n("/rounds/0") + n("/rounds/1")) / 2.0);
    close(n("/images_per_second"), 4.0 / n("/seconds"));
    close(n("/flops_per_second"), n("/flops") / n("/seconds"));
    close(n("/of_peak"), n("/flops_per_second") / n("/machine/flops_per_second"));
    close(n("/of_sgemm"), n("/flops_per_second") / n("/machine/sgemm_flops_per_second"));
    assert!(n("/machine/bytes_per_second") > 0.0);
    assert_eq!(report["planned_bytes"], report["used_bytes"]);
    assert!(report["resident_bytes"].is_u64() || report["resident_bytes"].is_null());
    assert_eq!((&report["device"], &report["device_bytes"]), (&"cpu".into(), &Value::Null));
    assert!(
        report["isa"].is_string() && report.get("kernels").is_none(),
        "a processor has one set of kernels"
    );
    assert!(report["profile"].is_null());
    assert_eq!(fs::read_dir(at.path()).unwrap().count(), 0, "a benchmark writes nothing");
}

#[test]
fn a_profile_adds_up() {
    let at = tempfile::tempdir().unwrap();
    let report: Value =
        serde_json::from_str(&ok(at.path(), &[TINY, &["--json", "--profile"]].concat())).unwrap();
    let operations = report.pointer("/profile/operations").and_then(Value::as_array).unwrap();
    let sum = |key: &str| operations.iter().map(|o| number(o, &format!("/{key}"))).sum::<f64>();
    assert_eq!(sum("flops"), 2.0 * number(&report, "/flops"));
    let (inside, outside) = (sum("seconds"), number(&report, "/profile/outside_seconds"));
    let all = number(&report, "/profile/seconds");
    assert!((inside + outside - all).abs() <= 1e-9 * all, "{inside} + {outside} is not {all}");
    for kind in ["convolve 3x3 3→4 32x32", "convolve_backward dx+dw 3x3", "add ", "add_backward ", "sgd "] {
        assert!(operations.iter().any(|o| o["name"].as_str().unwrap().starts_with(kind)), "{kind}");
    }
}

#[test]
fn text_names_what_was_measured() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &[TINY, &["--profile", "--top=3"]].concat());
    for words in [
        "quickstart: resnet8, width 4, 4 modules",
        "median of 2 rounds of 2 steps",
        "images/s",
        "of peak",
        "of sgemm",
        "GB/s",
        "planned",
        "more kinds",
        "all operations",
        "outside of operations",
    ] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
    assert!(ok(at.path(), &[TINY, &["--size=16"]].concat()).contains("images of 16x16"));
}

#[test]
fn the_layout_may_be_changed() {
    let at = tempfile::tempdir().unwrap();
    let bench = |more: &[&str]| -> Value {
        let tiny = ["bench", "--json", "--batch=16", "--threads=1", "--rounds=1", "--steps=1"];
        serde_json::from_str(&ok(at.path(), &[&tiny, more].concat())).unwrap()
    };
    let (stored, again) = (bench(&["--modules=1"]), bench(&["--modules=1", "--recompute=module"]));
    assert_eq!((&stored["modules"], &again["recompute"]), (&1.into(), &"module".into()));
    assert!(again["used_bytes"].as_u64() < stored["used_bytes"].as_u64());
    let balanced = bench(&["--modules=3", "--balance", "--set", "local.leap=none"]);
    assert_eq!((&balanced["modules"], &balanced["planned_bytes"]), (&3.into(), &balanced["used_bytes"]));
}

#[test]
fn loading_is_timed_alone_or_with_steps() {
    let at = tempfile::tempdir().unwrap();
    let args = ["bench", "--data=builtin", "--threads=2", "--rounds=2", "--batch=100", "--limit=200"];
    let report: Value = serde_json::from_str(&ok(at.path(), &[&args[..], &["--json"]].concat())).unwrap();
    assert_eq!(
        (&report["load"], &report["threads"], &report["batch"]),
        (&"memory".into(), &2.into(), &100.into())
    );
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    let (images, seconds) = (number(&report, "/images"), number(&report, "/seconds"));
    assert!((number(&report, "/images_per_second") * seconds / images - 1.0).abs() < 1e-9);
    // Two batches ahead and the one in hand, of images, labels and places.
    assert_eq!(report["bytes"], 3 * 100 * (32 * 32 * 3 + 4 + size_of::<usize>()));
    let said = ok(at.path(), &args);
    assert!(said.contains("images/s") && said.contains("decoded in memory"), "{said}");
    let tiny =
        ["--set", "model.backbone=resnet8", "model.width=4", "local.modules=4", "--rounds=1", "--batch=20"];
    let both =
        [&["bench", "quickstart", "--data=builtin", "--limit=60", "--threads=1", "--steps=1"], &tiny[..]]
            .concat();
    let report: Value = serde_json::from_str(&ok(at.path(), &[&both[..], &["--json"]].concat())).unwrap();
    assert_eq!((&report["training"]["steps"], &report["loading"]["images"]), (&1.into(), &60.into()));
    let speed = |of: &str| 1.0 / number(&report, &format!("/{of}images_per_second"));
    assert!((speed("") / (speed("training/") + speed("loading/")) - 1.0).abs() < 1e-9, "on shared cores");
    let said = ok(at.path(), &both);
    assert!(
        said.contains(" step  ") && said.contains("decoded in memory") && said.contains(" training  "),
        "{said}"
    );
    assert!(fails(at.path(), &["bench", "--data=nowhere"]).contains("nowhere"));
}

#[test]
fn mistakes_get_one_clear_message() {
    let at = tempfile::tempdir().unwrap();
    for (args, words) in [
        (vec!["bench", "quikstart"], vec!["quikstart", "Did you mean quickstart?"]),
        (vec!["bench", "--set", "train.lrr=1"], vec!["train.lrr", "did you mean `train.lr`?"]),
        (vec!["bench", "--batch", "0"], vec!["train.batch", "0"]),
        (vec!["bench", "--size", "3"], vec!["data.size", "3"]),
        (vec!["bench", "--batch", "100000000", "--size", "4096"], vec!["out of memory", "smaller batch"]),
    ] {
        let message = fails(at.path(), &args);
        assert!(words.iter().all(|w| message.contains(w)), "{args:?}: {message}");
    }
    for args in [["bench", "--rounds", "0"], ["bench", "--steps", "0"], ["bench", "--threads", "0"]] {
        assert_eq!(output(at.path(), &args).status.code(), Some(2), "{args:?}");
    }
}
