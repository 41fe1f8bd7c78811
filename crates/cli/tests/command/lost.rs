//! Folders that are removed, moved or replaced while a process works in them, and what kills leave at the very start.
#![cfg(target_os = "linux")]

use crate::common::{epochs, fails, mlaan, model, ok, text, train};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// More epochs than there is time for.
fn endless<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = train(more);
    for (flag, value) in [("--epochs", "100000"), ("--limit", "40"), ("--batch", "20")] {
        let at = args.iter().position(|a| *a == flag).unwrap();
        args[at + 1] = value;
    }
    args
}

/// A run in `runs/a` that has saved some epochs.
fn begun(at: &Path, more: &[&str]) -> Child {
    let args = endless(&[&["--out", "runs/a", "--json"], more].concat());
    let mut child = mlaan(at, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..3 {
        assert!(out.read_line(&mut String::new()).unwrap() > 0, "it ended early");
    }
    // Somebody has to read on.
    std::thread::spawn(move || out.lines().count());
    child
}

/// Does something while a process stands still, as the process may be anywhere in its work.
fn meanwhile(child: &Child, work: impl FnOnce()) {
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    work();
    signal("-CONT");
}

/// How a process that lost its folder ends.
fn stopped(child: Child) -> String {
    let out = child.wait_with_output().unwrap();
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{message}");
    message
}

/// Every file with its bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_whose_folder_is_removed_stops() {
    let at = tempfile::tempdir().unwrap();
    let child = begun(at.path(), &["--tensorboard"]);
    meanwhile(&child, || fs::remove_dir_all(at.path().join("runs/a")).unwrap());
    let message = stopped(child);
    assert!(message.contains("runs/a: this folder was removed while this process worked in it"), "{message}");
    assert!(!at.path().join("runs/a").exists(), "nothing of it comes back");
}

#[test]
fn a_run_whose_folder_is_moved_says_where_its_checkpoint_is() {
    let at = tempfile::tempdir().unwrap();
    let child = begun(at.path(), &[]);
    let moved = at.path().canonicalize().unwrap().join("elsewhere");
    meanwhile(&child, || fs::rename(at.path().join("runs/a"), &moved).unwrap());
    let message = stopped(child);
    let last = moved.join("checkpoints/last.json");
    assert!(message.contains(&format!("was moved to {}", moved.display())), "{message}");
    assert!(message.contains(&format!("the last checkpoint is {}", last.display())), "{message}");
    assert!(!at.path().join("runs/a").exists());
    // It goes on there as it says.
    let out = mlaan(at.path(), &["train", "--resume", "--out", "elsewhere", "--json"])
        .stdout(Stdio::piped())
        .spawn();
    let mut again = out.unwrap();
    let mut said = BufReader::new(again.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"epoch\",") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it does not go on");
    }
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn another_folder_in_its_place_is_left_alone() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("runs/a");
    // At several moments of a run that saves all the time.
    for (i, (moved, other)) in [(true, false), (true, true), (false, true)].repeat(2).into_iter().enumerate()
    {
        let child = begun(at.path(), &[]);
        std::thread::sleep(Duration::from_millis(7 * i as u64));
        let mut before = Vec::new();
        meanwhile(&child, || {
            match moved {
                true => fs::rename(&folder, at.path().join("moved")).unwrap(),
                false => fs::remove_dir_all(&folder).unwrap(),
            }
            match other {
                // A finished run of somebody else's.
                true => assert_eq!(ok(at.path(), &train(&["--out", "runs/a", "--quiet"])), ""),
                false => fs::create_dir(&folder).unwrap(),
            }
            before = files(&folder);
        });
        let message = stopped(child);
        assert!(message.contains("another one is in its place now"), "{message}");
        assert_eq!(files(&folder), before, "moved {moved}, other {other}");
        fs::remove_dir_all(&folder).unwrap();
        let _ = fs::remove_dir_all(at.path().join("moved"));
    }
}

#[test]
fn a_run_whose_metrics_are_removed_stops() {
    let at = tempfile::tempdir().unwrap();
    let child = begun(at.path(), &[]);
    meanwhile(&child, || fs::remove_file(at.path().join("runs/a/metrics.jsonl")).unwrap());
    let message = stopped(child);
    assert!(message.contains("metrics.jsonl: this file was removed or replaced"), "{message}");
}

#[test]
fn a_comparison_whose_folder_is_lost_stops_and_a_cell_fails_alone() {
    let at = tempfile::tempdir().unwrap();
    let suite = |epochs: &str| {
        let rows = "rows = [{ name = \"bp\", recipe = \"bp-resnet32\" }, { name = \"dgl\", recipe = \"dgl-resnet32-16\" }]";
        let set = format!(
            "set = [\"model.width=4\", \"data.limit=40\", \"train.epochs={epochs}\", \"train.batch=20\"]"
        );
        let text = format!(
            "title = \"Tiny\"\nsource = \"builtin\"\nseeds = 1\ncolumns = [{{ network = \"resnet8\", modules = 2 }}]\n{set}\n{rows}\n"
        );
        fs::write(at.path().join("tiny.toml"), text).unwrap();
    };
    let start = || {
        let mut child = mlaan(at.path(), &["compare", "tiny.toml", "--threads", "1", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while !at.path().join("runs/tiny/bp-resnet8/seed-0/checkpoints/last.json").exists() {
            std::thread::sleep(Duration::from_millis(5));
            assert!(child.try_wait().unwrap().is_none(), "it ended early");
        }
        child
    };
    suite("100000");
    let child = start();
    let moved = at.path().canonicalize().unwrap().join("moved");
    meanwhile(&child, || fs::rename(at.path().join("runs/tiny"), &moved).unwrap());
    let message = stopped(child);
    assert!(
        message.contains(&format!("runs/tiny: this folder was moved to {}", moved.display())),
        "{message}"
    );
    assert!(message.contains(&format!("go on with --out {}", moved.display())), "{message}");
    assert!(!at.path().join("runs/tiny").exists());
    assert!(!moved.join("results/bp-resnet8/seed-0.failed.json").exists(), "no run has failed");
    // A cell alone: it failed, and the other one is done.
    suite("30");
    let child = start();
    let cell = at.path().join("runs/tiny/bp-resnet8/seed-0");
    meanwhile(&child, || fs::rename(cell, at.path().join("cell")).unwrap());
    let message = stopped(child);
    assert!(message.contains("1 of 2 runs failed") && message.contains("was moved to"), "{message}");
    assert!(at.path().join("runs/tiny/results/dgl-resnet8-2/seed-0.json").is_file());
    assert!(at.path().join("runs/tiny/results/bp-resnet8/seed-0.failed.json").is_file());
}

/// What a kill leaves at the start of a run, made by hand.
#[test]
fn what_a_kill_leaves_at_the_start_is_no_run() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "whole", "--quiet"]));
    let lines = fs::read_to_string(at.path().join("whole/metrics.jsonl")).unwrap();
    let [start, epoch] = [0, 1].map(|i| lines.lines().nth(i).unwrap());
    let put = |run: &str, name: &str, text: &str| {
        let path = at.path().join(run).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let left: &[&[(&str, &str)]] = &[
        &[(".recipe.toml.scratch", "seed")],
        &[("tensorboard/events.out.tfevents.1.mlaan", "")],
        &[("metrics.jsonl", ""), (".recipe.toml.scratch", "seed")],
        &[("metrics.jsonl", ""), ("recipe.toml", "seed = 5")],
        &[("metrics.jsonl", &start[..5]), ("recipe.toml", "seed = 5")],
        &[
            ("metrics.jsonl", &format!("{start}\n{epoch}\n")),
            ("checkpoints/.epoch-0001.model.safetensors.scratch", "x"),
        ],
        &[
            ("metrics.jsonl", &format!("{start}\n{epoch}\n")),
            ("checkpoints/epoch-0001.model.safetensors", "x"),
        ],
        &[("metrics.jsonl", &format!("{{\"event\":\"resume\",\"epoch\":0}}\n{start}\n"))],
    ];
    for (i, files) in left.iter().enumerate() {
        let run = format!("run-{i}");
        put(&run, ".lock", "");
        files.iter().for_each(|(name, text)| put(&run, name, text));
        ok(at.path(), &train(&["--out", &run, "--quiet"]));
        let (whole, run) = (at.path().join("whole"), at.path().join(run));
        assert_eq!(
            epochs(&whole, &["peak_allocated_bytes"]),
            epochs(&run, &["peak_allocated_bytes"]),
            "{files:?}"
        );
        assert_eq!(model(&whole), model(&run), "{files:?}");
        let names = |run: &Path| -> Vec<PathBuf> {
            self::files(run).into_iter().map(|(p, _)| p.strip_prefix(run).unwrap().to_owned()).collect()
        };
        assert_eq!(names(&whole), names(&run), "{files:?}");
    }
    // What is somebody else's is not taken.
    put("other", ".lock", "");
    put("other", "recipe.toml", "seed = 5");
    assert!(fails(at.path(), &train(&["--out", "other"])).contains("holds no run"));
}

/// Tensors that no manifest names, as a kill within their removal leaves them.
#[test]
fn a_resumed_run_removes_what_a_killed_one_could_not() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    let run = at.path().join("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    for name in ["epoch-0001.model.safetensors", "epoch-0009.state.safetensors", ".last.json.scratch"] {
        fs::write(run.join("checkpoints").join(name), "x").unwrap();
    }
    fs::write(run.join(".summary.json.scratch"), "x").unwrap();
    let named = |folder: &Path| files(folder).len();
    let before = named(&run);
    ok(at.path(), &["train", "--resume", "--out", "run", "--threads", "1", "--quiet"]);
    assert!(before - named(&run) >= 2, "{before}");
    for (path, _) in files(&run) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.ends_with(".scratch") && !name.contains("0009"), "{name}");
    }
}
