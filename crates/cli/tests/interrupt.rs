//! Runs that are stopped, killed, or started twice.
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(unix)]

mod common;

use common::{TINY, epochs, fails, mlaan, model, ok, output, summary, tensors, text, train};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The tiny settings with another number of epochs, and fewer images.
fn long<'a>(epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = train(more);
    for (flag, value) in [("--epochs", epochs), ("--limit", "100"), ("--batch", "25")] {
        args[1 + TINY.iter().position(|a| *a == flag).unwrap() + 1] = value;
    }
    args
}

fn start(at: &Path, args: &[&str]) -> Child {
    mlaan(at, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits until the program has printed `lines` lines.
fn after(child: &mut Child, lines: usize) {
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    for _ in 0..lines {
        assert!(out.read_line(&mut String::new()).unwrap() > 0, "it ended early");
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn interrupted_runs_go_on_as_if_nothing_had_happened() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &long("8", &["--out", "whole"]));
    for (name, sent) in [("interrupted", "-INT"), ("terminated", "-TERM")] {
        let mut child = start(at.path(), &long("8", &["--out", name, "--json"]));
        after(&mut child, 3);
        signal(&child, sent);
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(130), "{name}");
        assert!(text(&out.stderr).contains("stopping after this step"), "{}", text(&out.stderr));
        assert!(text(&out.stdout).contains("\"interrupted\""), "{}", text(&out.stdout));
        ok(at.path(), &["train", "--resume", "--out", name, "--threads", "1"]);
        let (a, b) = (at.path().join("whole"), at.path().join(name));
        assert_eq!(epochs(&a, &["peak_allocated_bytes"]), epochs(&b, &["peak_allocated_bytes"]));
        assert_eq!(model(&a), model(&b));
        assert_eq!(tensors(&a, "state"), tensors(&b, "state"));
        assert_eq!(summary(&a)["best_epoch"], summary(&b)["best_epoch"]);
    }
}

#[test]
fn an_interrupted_run_says_how_to_go_on() {
    let at = tempfile::tempdir().unwrap();
    let mut child = start(at.path(), &long("500", &[]));
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("2/500") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    signal(&child, "-INT");
    let rest: Vec<String> = said.lines().map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(rest.join("\n").contains("mlaan train --resume --out runs/quickstart"), "{rest:?}");
    assert!(ok(at.path(), &["eval", "runs/quickstart"]).contains("test images"));
}

#[test]
fn killed_runs_go_on_as_if_nothing_had_happened() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &long("5", &["--out", "whole"]));
    let (mut kills, mut finished) = (0, false);
    // Pseudo-random moments between 0 and 0.4 seconds, from the start to within a checkpoint.
    let mut state = 12_345_u64;
    for _ in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = start(at.path(), &long("5", &["--out", "killed", "--resume", "quickstart"]));
        std::thread::sleep(Duration::from_millis((state >> 33) % 400));
        let running = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        let status = child.wait().unwrap();
        kills += usize::from(running);
        if status.success() {
            finished = true;
            break;
        }
    }
    if !finished {
        ok(at.path(), &long("5", &["--out", "killed", "--resume", "quickstart"]));
    }
    assert!(kills >= 2, "only {kills} kills");
    let (a, b) = (at.path().join("whole"), at.path().join("killed"));
    assert_eq!(model(&a), model(&b));
    assert_eq!(tensors(&a, "state"), tensors(&b, "state"));
    assert_eq!(epochs(&a, &["peak_allocated_bytes"]), epochs(&b, &["peak_allocated_bytes"]));
}

#[test]
fn one_process_per_folder() {
    let at = tempfile::tempdir().unwrap();
    let mut child = start(at.path(), &long("5000", &["--json"]));
    after(&mut child, 1);
    let message = fails(at.path(), &train(&["--resume", "--out", "runs/quickstart"]));
    assert!(message.contains("runs/quickstart: another process trains in this folder"), "{message}");
    assert!(fails(at.path(), &train(&["--out", "runs/quickstart"])).contains("another process"));
    // Without a name the next free folder is taken.
    assert!(ok(at.path(), &train(&[])).contains("runs/quickstart-2"));
    signal(&child, "-KILL");
    child.wait().unwrap();
}

#[test]
fn a_run_out_of_time_says_how_to_go_on_and_does() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &long("500", &["--time", "2s"]));
    assert!(said.contains("Out of time") && said.contains("2.0 s"), "{said}");
    assert!(said.contains("mlaan train --resume --out runs/quickstart --time TIME"), "{said}");
    let events = std::fs::read_to_string(at.path().join("runs/quickstart/metrics.jsonl")).unwrap();
    assert!(events.lines().last().unwrap().contains("\"interrupted\""), "{events}");
    let out =
        output(at.path(), &["train", "--resume", "--out", "runs/quickstart", "--time", "2s", "--quiet"]);
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
    assert!(ok(at.path(), &["eval", "runs/quickstart"]).contains("test images"));
    let out = output(at.path(), &long("500", &["--time", "2"]));
    assert!(!out.status.success() && text(&out.stderr).contains("as 8h or 90min"), "{out:?}");
}
