//! The memory that the system gave a whole command, beside the memory that the command had planned.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{mlaan, text};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use wait4::Wait4;

/// What a command printed, and the kernel's mark of the memory that it held at the most, bytes.
fn measured(at: &Path, args: &[&str]) -> (String, u64) {
    let mut child = mlaan(at, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    let mut err = Vec::new();
    child.stderr.take().unwrap().read_to_end(&mut err).unwrap();
    let done = child.wait4().unwrap();
    assert!(done.status.success(), "{args:?}: {}{}", text(&out), text(&err));
    (text(&out) + &text(&err), done.rusage.maxrss)
}

/// The amount behind the last `planned` in what a command printed, bytes.
fn planned(shown: &str) -> u64 {
    let rest = shown.rsplit_once("planned ").unwrap_or_else(|| panic!("no plan: {shown}")).1;
    let amount: Vec<&str> = rest.split([' ', ';', ')', ',']).take(2).collect();
    mlaan::memory::bytes::parse(&amount.join(" ")).unwrap() as u64
}

fn holds(what: &str, planned: u64, held: u64) {
    let most = planned + planned * 3 / 100 + (32 << 20);
    assert!(held <= most, "{what}: planned {planned}, held {held}");
    assert!(held * 10 >= planned * 8, "{what}: planned {planned}, held {held}");
}

fn check(at: &Path, args: &[&str]) {
    let (shown, held) = measured(at, args);
    holds(&args.join(" "), planned(&shown), held);
}

/// Networks and batches from small to large: of few activations and many tensors, of large tensors, of many images.
const RUNS: [(&str, &[&str]); 7] = [
    ("bp-resnet8", &["--batch", "20", "--limit", "40"]),
    ("bp-resnet20", &["--batch", "100", "--limit", "100"]),
    ("dgl-resnet20-10", &["--batch", "100", "--limit", "100", "--recompute", "module"]),
    ("mlaan-released-resnet20-10", &["--batch", "64", "--limit", "64", "--precision", "bf16"]),
    ("mlaan-released-resnet56-28", &["--batch", "16", "--limit", "16"]),
    ("bp-resnet18", &["--batch", "4", "--limit", "8", "--set", "data.size=32"]),
    // Both networks are tested at its end.
    (
        "bp-resnet18",
        &["--batch", "8", "--limit", "40", "--validation", "0.5", "--lr", "0.5", "--set", "data.size=32"],
    ),
];

fn trained(at: &Path, (recipe, more): (&str, &[&str]), out: &str) {
    let args = ["train", recipe, "--data", "builtin", "--set", "train.warmup=0", "--threads", "2"];
    // `--set` takes what follows it, so flags come after.
    let args = [&args, &["--out", out, "--epochs", "2"][..], more].concat();
    check(at, &args);
}

#[test]
fn runs_hold_what_they_planned() {
    for run in RUNS {
        let at = tempfile::tempdir().unwrap();
        trained(at.path(), run, "run");
        check(at.path(), &["train", "--resume", "--out", "run", "--epochs", "3", "--threads", "2"]);
        let summary = common::summary(&at.path().join("run"));
        let (peak, allocated) = (&summary["peak_memory_bytes"], &summary["peak_allocated_bytes"]);
        assert!(peak.as_u64() > allocated.as_u64() && allocated.as_u64() > Some(0), "{summary}");
    }
}

#[test]
fn what_uses_a_network_holds_what_it_planned() {
    for run in [RUNS[3], RUNS[5]] {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        trained(at, run, "run");
        check(at, &["eval", "run", "--threads", "2"]);
        for i in 0..3 {
            let image = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([x as u8, y as u8, i * 80]));
            image.save(at.join(format!("{i}.jpg"))).unwrap();
        }
        check(at, &["predict", "run", "0.jpg", "1.jpg", "2.jpg", "--threads", "2"]);
        for (format, file) in [("onnx", "net.onnx"), ("safetensors", "net.safetensors")] {
            check(at, &["export", "run", "--format", format, "--out", file]);
        }
        check(at, &["import", "net.safetensors", "--out", "back"]);
        // Linear probes of every block of a large network take minutes where tests are not optimised.
        let places: &[&str] = if run == RUNS[3] { &[] } else { &["--cut", "modules"] };
        let args = ["analyze", "run", "--against", "back", "--threads", "2", "--out", "looked"];
        check(at, &[&args, places].concat());
    }
}

/// Photographs are large while they are decoded, however small what is kept of them.
#[test]
fn large_images_are_planned() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for split in ["train", "test"] {
        for (class, shade) in [("a", 40), ("b", 200)] {
            std::fs::create_dir_all(at.join("set").join(split).join(class)).unwrap();
            for i in 0..2u8 {
                let path = at.join("set").join(split).join(class).join(format!("{i}.png"));
                let pixel = |x: u32, y: u32| image::Rgba([shade, (x / 16) as u8, (y / 16) as u8, 255 - i]);
                image::RgbaImage::from_fn(2000, 1500, pixel).save(path).unwrap();
            }
        }
    }
    for load in ["memory", "stream"] {
        let set = format!("data.load={load}");
        let args = ["train", "bp-resnet8", "--data", "set", "--batch", "2", "--epochs", "1", "--out", load];
        check(at, &[&args[..], &["--threads", "2", "--set", "train.warmup=0", &set]].concat());
        check(at, &["eval", load, "--threads", "2"]);
        check(at, &["predict", load, "set/test", "--threads", "2"]);
    }
}

/// Also of runs that follow larger ones in the same process.
#[test]
fn every_run_of_a_comparison_holds_what_it_planned() {
    let at = tempfile::tempdir().unwrap();
    let set = ["data.limit=100", "train.epochs=1", "train.batch=100", "train.warmup=0"];
    let args =
        ["compare", "bp-resnet20", "bp-resnet8", "--data", "builtin", "--seeds", "1", "--threads", "2"];
    let args = [&args, &["--out", "table", "--set"][..], &set].concat();
    measured(at.path(), &args);
    let record = |cell: &str| {
        let path = at.path().join("table").join("results").join(cell).join("seed-0.json");
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let held = record["summary"]["peak_memory_bytes"].as_u64().unwrap();
        holds(cell, record["planned_bytes"].as_u64().unwrap(), held);
        held
    };
    assert!(record("bp-resnet8") < record("bp-resnet20"), "the largest comes first");
}
