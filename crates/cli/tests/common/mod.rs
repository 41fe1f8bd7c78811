//! Running the program.
#![allow(dead_code)]

pub mod guard;

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A network and images small enough for tests.
pub const TINY: &[&str] = &[
    "--set",
    "model.backbone=resnet8",
    "model.width=4",
    "local.modules=4",
    "--batch",
    "50",
    "--limit",
    "200",
    "--epochs",
    "2",
    "--threads",
    "1",
];

/// The program, in the folder `at`.
pub fn mlaan(at: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlaan"));
    command.current_dir(at).args(args).stdin(Stdio::null());
    command
}

/// What the program prints; it must succeed.
pub fn ok(at: &Path, args: &[&str]) -> String {
    let out = output(at, args);
    assert!(out.status.success(), "{args:?}: {}{}", text(&out.stdout), text(&out.stderr));
    // What `predict` says of its memory stands beside its answers.
    let heard = text(&out.stderr);
    assert!(heard.lines().all(|line| line.starts_with("peak memory ")), "{args:?}: {heard}");
    text(&out.stdout)
}

/// The program's error; it must fail with status 1, say one line, and print nothing else.
pub fn fails(at: &Path, args: &[&str]) -> String {
    let out = output(at, args);
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {message}");
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    assert!(out.stdout.is_empty(), "{}", text(&out.stdout));
    message
}

pub fn output(at: &Path, args: &[&str]) -> Output {
    mlaan(at, args).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// `train` with the tiny settings, and more; where that names no recipe and no run, of the small one with every kind of
/// auxiliary network.
pub fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let named = more.contains(&"--resume") || more.first().is_some_and(|first| !first.starts_with('-'));
    let recipe: &[&str] = if named { &[] } else { &["quickstart"] };
    [&["train"], TINY, recipe, more].concat()
}

/// The lines of a run's metrics.
pub fn metrics(run: &Path) -> Vec<Value> {
    parse(&fs::read_to_string(run.join("metrics.jsonl")).unwrap())
}

pub fn parse(lines: &str) -> Vec<Value> {
    lines.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}"))).collect()
}

/// The epochs of a run without what differs from run to run.
pub fn epochs(run: &Path, without: &[&str]) -> Vec<Value> {
    let mut events = metrics(run);
    events.retain(|e| e["event"] == "epoch");
    for event in &mut events {
        let event = event.as_object_mut().unwrap();
        for key in ["seconds", "images_per_second", "peak_memory_bytes"].iter().chain(without) {
            assert!(event.remove(*key).is_some(), "{key}");
        }
    }
    events
}

/// The bytes of the network that the newest checkpoint names.
pub fn model(run: &Path) -> Vec<u8> {
    tensors(run, "model")
}

/// The bytes of one of the newest checkpoint's files.
pub fn tensors(run: &Path, kind: &str) -> Vec<u8> {
    let folder = run.join("checkpoints");
    let last: Value = serde_json::from_slice(&fs::read(folder.join("last.json")).unwrap()).unwrap();
    fs::read(folder.join(last["files"][kind]["name"].as_str().unwrap())).unwrap()
}

pub fn summary(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap()
}
