//! Every command that writes files, killed at each of its calls that change one, then given again: what is there in the end is
//! what an undisturbed command leaves. `strace` sends SIGKILL when the N-th call is entered.
//!
//! The short test kills at renames only. All calls, with a table of kills by command and call (about ten minutes):
//! `cargo test -p mlaan-cli --test kills -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[path = "kills/calls.rs"]
mod calls;
mod common;
#[path = "kills/download.rs"]
mod download;
#[path = "kills/left.rs"]
mod left;

use calls::{CALLS, Call, strace};
use common::{TINY, mlaan, ok, text};
use left::{assert_same, copy};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command under test.
struct Scenario {
    name: &'static str,
    program: PathBuf,
    /// Puts into a folder what it works on.
    prepare: fn(&Path),
    args: Vec<&'static str>,
    /// What goes on where something was saved and the same command says so.
    resume: Option<Vec<&'static str>>,
}

/// Settings of a run that takes a fraction of a second.
fn tiny(more: &[&'static str]) -> Vec<&'static str> {
    let mut args: Vec<&str> = [&["train"], TINY, &["quickstart"], more].concat();
    for (flag, value) in [("--epochs", "2"), ("--limit", "40"), ("--batch", "20")] {
        let at = args.iter().position(|a| *a == flag).unwrap();
        args[at + 1] = value;
    }
    args
}

/// A finished run of one epoch.
fn a_run(at: &Path) {
    let mut args = tiny(&["--out", "run", "--quiet"]);
    let epochs = args.iter().position(|a| *a == "--epochs").unwrap();
    args[epochs + 1] = "1";
    ok(at, &args);
}

fn an_export(at: &Path) {
    a_run(at);
    ok(at, &["export", "run", "--format", "safetensors", "--out", "net.safetensors"]);
    // The other one is to be written over this.
    fs::copy(at.join("net.safetensors"), at.join("net.onnx")).unwrap();
}

fn a_suite(at: &Path) {
    let suite = "title = \"Tiny\"\nsource = \"builtin\"\nseeds = 1\ncolumns = [{ network = \"resnet8\", modules = 2 }]\n\
                 set = [\"model.width=4\", \"data.limit=40\", \"train.epochs=1\", \"train.batch=20\"]\n\
                 rows = [{ name = \"bp\", recipe = \"bp-resnet32\" }, { name = \"dgl\", recipe = \"dgl-resnet32-16\" }]\n";
    fs::write(at.join("tiny.toml"), suite).unwrap();
}

fn nothing(_: &Path) {}

fn scenarios() -> Vec<Scenario> {
    let program = || PathBuf::from(env!("CARGO_BIN_EXE_mlaan"));
    let plain = |name, prepare, args: &[&'static str]| Scenario {
        name,
        program: program(),
        prepare,
        args: args.to_vec(),
        resume: None,
    };
    let resume = vec!["train", "--resume", "--out", "run", "--threads", "1", "--quiet"];
    vec![
        Scenario {
            name: "train",
            program: program(),
            prepare: nothing,
            args: tiny(&["--out", "run", "--quiet", "--tensorboard"]),
            resume: Some(resume),
        },
        plain(
            "train --resume",
            a_run,
            &["train", "--resume", "--out", "run", "--epochs", "2", "--threads", "1", "--quiet"],
        ),
        plain("import", an_export, &["import", "net.safetensors", "--out", "back"]),
        plain("export onnx", an_export, &["export", "run", "--format", "onnx", "--out", "net.onnx"]),
        plain(
            "export safetensors",
            a_run,
            &["export", "run", "--format", "safetensors", "--out", "net.safetensors"],
        ),
        plain("compare", a_suite, &["compare", "tiny.toml", "--threads", "1", "--quiet"]),
        plain("analyze", a_run, &["analyze", "run", "--threads", "1"]),
        plain("report", a_run, &["report", "run", "--out", "pages/page.html"]),
        plain("man", nothing, &["man", "--out", "man"]),
        // Published sets are large; the program is this one, and the set a small file on a server of its own.
        Scenario {
            name: "data download",
            program: std::env::current_exe().unwrap(),
            prepare: download::serve,
            args: download::ARGS.to_vec(),
            resume: None,
        },
    ]
}

/// Kills of a command at calls of one name; of more (manual pages are written in hundreds of pieces) every second or third.
const MOST: usize = 60;

/// Kills by command and call.
type Table = BTreeMap<(&'static str, String), usize>;

/// Kills a command at each of its `calls`.
fn kill_everywhere(scenario: &Scenario, calls: &[&str], table: &mut Table) {
    let at = tempfile::tempdir().unwrap();
    let (before, whole) = (at.path().join("before"), at.path().join("whole"));
    fs::create_dir(&before).unwrap();
    (scenario.prepare)(&before);
    copy(&before, &whole);
    let made = calls::traced(&whole, &scenario.program, &scenario.args, calls);
    assert!(!made.is_empty(), "{}: no calls were seen", scenario.name);
    for call in made.iter().filter(|call| {
        let all = made.iter().filter(|c| c.name == call.name).count();
        call.nth.is_multiple_of(all.div_ceil(MOST))
    }) {
        let folder = at.path().join("killed");
        copy(&before, &folder);
        if !calls::killed(&folder, &scenario.program, &scenario.args, call) {
            // It took another way than the first time and ended, or met another call.
            fs::remove_dir_all(&folder).unwrap();
            continue;
        }
        *table.entry((scenario.name, call.name.clone())).or_default() += 1;
        again(scenario, &folder, call);
        assert_same(&whole, &folder, &format!("{}, killed at {call}", scenario.name));
        fs::remove_dir_all(&folder).unwrap();
    }
}

/// Gives the command again.
fn again(scenario: &Scenario, folder: &Path, call: &Call) {
    let out = Command::new(&scenario.program).args(&scenario.args).current_dir(folder).output().unwrap();
    if out.status.success() {
        return;
    }
    let (message, what) = (text(&out.stderr), format!("{}, killed at {call}", scenario.name));
    let resume = scenario.resume.as_ref().filter(|_| message.contains("pass --resume"));
    let Some(resume) = resume else { panic!("{what}: {message}") };
    assert!(folder.join("run/checkpoints/last.json").is_file(), "{what}: nothing was saved, but: {message}");
    let out = mlaan(folder, resume).output().unwrap();
    assert!(out.status.success(), "{what}, resumed: {}", text(&out.stderr));
}

/// Past the test harness, which hides what passing tests print.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn is_ready() -> bool {
    let ready = strace();
    if !ready {
        say("kills: NOT TESTED: there is no strace that may trace here (apt-get install strace)");
    }
    ready
}

#[test]
fn a_kill_at_a_rename_is_mended_by_the_same_command() {
    if !is_ready() {
        return;
    }
    let mut table = Table::new();
    for scenario in scenarios().iter().filter(|s| ["train", "import"].contains(&s.name)) {
        kill_everywhere(scenario, &["rename", "mkdir"], &mut table);
    }
    let kills: usize = table.values().sum();
    assert!(kills >= 12, "only {kills} kills: {table:?}");
}

#[test]
#[ignore = "takes about ten minutes"]
fn a_kill_at_any_call_is_mended_by_the_same_command() {
    if !is_ready() {
        return;
    }
    let only = std::env::var("MLAAN_KILLS").unwrap_or_default();
    let mut table = Table::new();
    for scenario in scenarios().iter().filter(|s| only.is_empty() || only == s.name) {
        kill_everywhere(scenario, CALLS, &mut table);
        let of = |(at, _): &(&(&str, String), &usize)| at.0 == scenario.name;
        let row: Vec<String> = table.iter().filter(of).map(|((_, call), n)| format!("{call} {n}")).collect();
        let all: usize = table.iter().filter(of).map(|(_, n)| n).sum();
        say(&format!("{:<20} {all:>4} kills: {}", scenario.name, row.join(", ")));
        assert!(all > 0, "{}", scenario.name);
    }
    say(&format!("{:<20} {:>4} kills", "all", table.values().sum::<usize>()));
}

/// A file system without locks is told of once, and used.
#[test]
fn without_locks_a_run_warns_and_continues() {
    if !is_ready() {
        return;
    }
    for error in ["ENOLCK", "EOPNOTSUPP", "ENOSYS"] {
        let at = tempfile::tempdir().unwrap();
        a_suite(at.path());
        for (args, end) in [
            (tiny(&["--out", "run"]), "run/summary.json"),
            (
                vec!["compare", "tiny.toml", "--threads", "1", "--only", "bp-resnet8"],
                "runs/tiny/compare.json",
            ),
        ] {
            let out = Command::new("strace")
                .args(["-f", "-o", "/dev/null", "-e", "trace=flock", "-e"])
                .arg(format!("inject=flock:error={error}"))
                .arg(env!("CARGO_BIN_EXE_mlaan"))
                .args(&args)
                .current_dir(at.path())
                .output()
                .unwrap();
            let said = text(&out.stderr);
            assert!(out.status.success(), "{error}: {said}");
            assert_eq!(said.matches("has no locks").count(), 1, "{error}: {said}");
            assert!(at.path().join(end).is_file());
        }
    }
}
