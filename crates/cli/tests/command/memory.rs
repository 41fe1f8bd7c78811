//! Runs within a given memory: chosen, recomputed, balanced, refused.

use crate::common::{TINY, fails, metrics, model, ok, output, text, train};
use mlaan::recipe::Recipe;
use serde_json::Value;
use std::io::Write;
use std::path::Path;

fn json(at: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(at, &[args, &["--json", "--threads", "1"]].concat())).unwrap()
}

fn saved(at: &Path, run: &str) -> Recipe {
    Recipe::load(&at.join(run).join("recipe.toml").to_string_lossy()).unwrap()
}

#[test]
fn a_plan_lists_what_fits() {
    let at = tempfile::tempdir().unwrap();
    let plan = ["plan", "mlaan-released-resnet32-16", "--memory", "400MiB"];
    let shown = ok(at.path(), &plan);
    for word in [
        "Fits into 400 MiB",
        "Best first",
        "backpropagation",
        "local.recompute=module",
        "Accuracy is not predicted",
    ] {
        assert!(shown.contains(word), "{shown}");
    }
    let rows =
        shown.lines().filter(|line| line.trim_start().starts_with(char::is_numeric) && line.contains('×'));
    assert_eq!(rows.count(), 5, "{shown}");
    let found = json(at.path(), &plan);
    let fits = found["fits"].as_array().unwrap();
    assert!(fits.len() > 4);
    for fit in fits {
        assert!(fit["memory_bytes"].as_u64().unwrap() <= 400 << 20, "{fit}");
        // The settings say all: a plan of them needs what was promised.
        let set: Vec<&str> =
            fit["settings"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
        let again = json(at.path(), &[&["plan", "mlaan-released-resnet32-16", "--set"], &set[..]].concat());
        assert_eq!(again["local"]["memory_bytes"], fit["memory_bytes"], "{fit}");
    }
    let message = fails(at.path(), &["plan", "mlaan-released-resnet32-16", "--memory", "16MiB"]);
    assert!(message.contains("nothing fits into 16.0 MiB") && message.contains("train.batch=1"), "{message}");
}

#[test]
fn a_run_takes_what_fits_and_says_so() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&["--memory", "1GiB", "--out", "as-it-is"]));
    assert!(said.contains("Chosen for 1.00 GiB: the recipe as it is"), "{said}");
    assert_eq!(saved(at.path(), "as-it-is").train.batch, 50);
    let said = ok(at.path(), &train(&["--memory", "23MiB", "--out", "smaller"]));
    assert!(said.contains("Chosen for 23.0 MiB: ") && said.contains("train.batch="), "{said}");
    let recipe = saved(at.path(), "smaller");
    assert!(recipe.train.batch < 50);
    assert_eq!(recipe.local.modules, 4);
    let start = &metrics(&at.path().join("smaller"))[0];
    assert_eq!(start["modules"], 4);
    ok(at.path(), &["train", "--resume", "--out", "smaller", "--epochs", "3", "--threads", "1"]);
}

#[test]
fn recomputation_changes_no_bit_and_may_change_when_a_run_resumes() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "stored"]));
    ok(at.path(), &train(&["--recompute", "module", "--out", "again"]));
    assert!(model(&at.path().join("stored")) == model(&at.path().join("again")));
    let on = ["train", "--resume", "--epochs", "3", "--threads", "1", "--out"];
    ok(at.path(), &[&on[..], &["stored", "--recompute", "module"]].concat());
    ok(at.path(), &[&on[..], &["again", "--recompute", "none"]].concat());
    assert!(model(&at.path().join("stored")) == model(&at.path().join("again")));
}

#[test]
fn balanced_cuts_are_planned_and_kept() {
    let at = tempfile::tempdir().unwrap();
    let plan = json(at.path(), &["plan", "dgl-resnet32-16", "--balance", "--modules", "4"]);
    let cuts = plan["cuts"].as_array().unwrap();
    assert_eq!((cuts.len(), plan["modules"].as_array().unwrap().len()), (3, 4));
    ok(at.path(), &train(&["--balance", "--modules", "3", "--out", "run"]));
    let recipe = saved(at.path(), "run");
    assert_eq!(recipe.local.cuts.as_ref().map(Vec::len), Some(2));
    assert!(!recipe.local.balance);
    ok(at.path(), &["train", "--resume", "--out", "run", "--epochs", "3", "--threads", "1"]);
}

#[test]
fn mistakes_get_one_clear_message() {
    let at = tempfile::tempdir().unwrap();
    for (memory, word) in [("0", "no memory at all"), ("lots", "no amount of memory"), ("-1G", "no amount")] {
        let out = output(at.path(), &["plan", &format!("--memory={memory}")]);
        let message = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{message}");
        assert!(
            message.contains(word) && message.contains("2GiB") && message.contains("--memory"),
            "{message}"
        );
    }
    let cases: &[(&[&str], &[&str])] = &[
        (&["--set", "local.segments=2"], &["local.segments", "local.recompute"]),
        (&["--recompute", "module", "--set", "local.segments=99"], &["local.segments", "at most"]),
        (&["--recompute", "modul"], &["local.recompute", "did you mean \"module\"?"]),
        (&["--balance", "--set", "local.cuts=[0, 1]"], &["local.balance", "local.cuts"]),
        (&["--balance", "--modules", "40"], &["local.modules", "40"]),
    ];
    for (args, words) in cases {
        let message = fails(at.path(), &[&["plan"], *args].concat());
        assert!(words.iter().all(|w| message.contains(w)), "{args:?}: {message}");
    }
    assert_eq!(output(at.path(), &["train", "--resume", "--memory", "1G"]).status.code(), Some(2));
}

/// The run under `ulimit -v` of `kib`; none where there is no such limit.
#[cfg(target_os = "linux")]
fn limited(at: &Path, kib: usize, out: &str) -> Option<(bool, String)> {
    let args = [TINY, &["--batch", "2000", "--limit", "2000", "--epochs", "1", "--out", out]].concat();
    // Settings given twice are refused: the later ones stand for the tiny ones.
    let args: Vec<&str> = once(&args);
    let script = format!("ulimit -v {kib} || exit 77; exec \"$0\" train \"$@\"");
    let run = std::process::Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_mlaan")])
        .args(args)
        .current_dir(at)
        .output();
    match run {
        Ok(run) if run.status.code() == Some(77) => None,
        Ok(run) => Some((run.status.success(), text(&run.stderr))),
        Err(_) => None,
    }
}

/// Flags with their last values.
#[cfg(target_os = "linux")]
fn once<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < args.len() {
        let flag = args[i];
        let end = (i + 1..args.len()).find(|&k| args[k].starts_with("--")).unwrap_or(args.len());
        if flag == "--set" || !args[end..].contains(&flag) {
            kept.extend(&args[i..end]);
        }
        i = end;
    }
    kept
}

/// The amount of memory that follows `words` in a message, in KiB.
#[cfg(target_os = "linux")]
fn amount(message: &str, words: &str) -> usize {
    let rest = message.split_once(words).unwrap_or_else(|| panic!("{words}: {message}")).1;
    let amount: Vec<&str> = rest.trim_start().split([' ', ',', ':']).take(2).collect();
    mlaan::memory::bytes::parse(&amount.join(" ")).unwrap() >> 10
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_fit_is_refused_and_one_that_just_fits_runs() {
    let at = tempfile::tempdir().unwrap();
    let low = 160 << 10;
    let Some((fitted, message)) = limited(at.path(), low, "low") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no bash whose `ulimit -v` works here");
        return;
    };
    assert!(!fitted && message.starts_with("error: this run needs "), "{message}");
    assert!(message.contains("ulimit -v") && message.contains("--memory "), "{message}");
    assert!(!at.path().join("low").exists(), "a refused run leaves nothing");
    // The numbers say how much is missing.
    let missing = amount(&message, "needs") - amount(&message, "room for");
    let (fitted, message) = limited(at.path(), low + missing + (4 << 10), "enough").unwrap();
    assert!(fitted, "{message}");
    let (fitted, message) = limited(at.path(), low + missing - (8 << 10), "short").unwrap();
    assert!(!fitted && message.contains("this run needs"), "{message}");
}

/// From the smallest limit at which the process starts, there are two numbers and no abort.
#[cfg(target_os = "linux")]
#[test]
fn a_limit_of_any_size_is_told() {
    let at = tempfile::tempdir().unwrap();
    let mut told = 0;
    for mib in (8..160).step_by(8) {
        let Some((fitted, message)) = limited(at.path(), mib << 10, "run") else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no bash whose `ulimit -v` works here");
            return;
        };
        // Below that the system's loader ends it, or its own first bytes do not fit.
        let began = message.starts_with("error: ");
        assert!(!fitted && (began || told == 0), "{mib} MiB: {message}");
        if began {
            told += 1;
            let words = [" needs ", "room for ", "ulimit -v", "Raise the limit"];
            assert!(words.iter().all(|w| message.contains(w)), "{mib} MiB: {message}");
        }
    }
    assert!(told > 10, "only {told} limits were told");
}
