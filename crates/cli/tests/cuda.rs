//! Runs on the device `cuda`: on a GPU where there is one, else on a driver that runs kernels on the processor.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{epochs, metrics, mlaan, model, ok, summary, tensors, text, train};
use mlaan_host_cuda::On;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

/// A folder with a driver and a compiler that run kernels on the processor, where that is what tests run on.
fn host() -> Option<PathBuf> {
    (mlaan_host_cuda::tests_on() == Some(On::Host)).then(|| mlaan_host_cuda::folder().unwrap())
}

/// Whether there is anything to run on; says so where there is not.
fn can_run() -> bool {
    mlaan_host_cuda::tests_on().is_some()
}

/// The program with CUDA, and these variables.
fn cuda(at: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = mlaan(at, args);
    if let Some(folder) = host() {
        command.env("LD_LIBRARY_PATH", folder);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// What it prints; it must succeed.
fn prints(at: &Path, args: &[&str]) -> String {
    let out = cuda(at, args, &[]);
    assert!(out.status.success(), "{args:?}: {}{}", text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// Its error of one line.
fn fails(at: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let out = cuda(at, args, variables);
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{args:?}: {message}");
    assert!(message.starts_with("error: ") && message.trim_end().lines().count() == 1, "{message}");
    message
}

/// `train` of very little: the driver on the processor is slow.
fn little<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = train(more);
    for (flag, value) in [("--batch", "10"), ("--limit", "20"), ("--epochs", "1")] {
        let at = args.iter().position(|a| *a == flag).unwrap();
        args[at + 1] = value;
    }
    let set = args.iter().position(|a| *a == "--set").unwrap();
    args.insert(set + 1, "data.size=16");
    args
}

#[test]
fn gpus_are_listed() {
    if !can_run() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let found: Value = serde_json::from_str(&prints(at.path(), &["devices", "--json"])).unwrap();
    assert_eq!((&found["gpus"][0]["device"], &found["gpus"][0]["usable"]), (&"cuda:0".into(), &true.into()));
    assert_eq!(found["missing"], serde_json::json!([]));
    assert!(prints(at.path(), &["devices"]).contains("cuda:0"));
    let message = fails(at.path(), &little(&["--device", "cuda:99"]), &[]);
    assert!(message.contains("cuda:99") && message.contains("`mlaan devices`"), "{message}");
    let missing = [("MLAAN_NVRTC", "/nowhere/libnvrtc.so")];
    let message = fails(at.path(), &little(&["--device", "cuda"]), &missing);
    assert!(message.contains("MLAAN_NVRTC") && message.contains("`mlaan devices`"), "{message}");
    assert!(!at.path().join("runs").exists(), "a run that never began leaves nothing");
}

#[test]
fn old_and_small_gpus_are_refused() {
    if host().is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a GPU cannot be made old or small");
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let old = [("MLAAN_HOST_CUDA_CAPABILITY", "7"), ("MLAAN_HOST_CUDA_DEVICES", "2")];
    let shown = text(&cuda(at.path(), &["devices"], &old).stdout);
    assert!(shown.contains("cuda:1") && shown.contains("too old: needs 8.0"), "{shown}");
    let message = fails(at.path(), &little(&["--device", "cuda:1"]), &old);
    assert!(message.contains("capability 7.0") && message.contains("8.0 or later"), "{message}");
    let none = [("MLAAN_HOST_CUDA_DEVICES", "0")];
    let shown = text(&cuda(at.path(), &["devices"], &none).stdout);
    assert!(shown.contains("Missing for --device cuda: "), "{shown}");
    // As much as is left to kernels, and a little.
    let small = [("MLAAN_HOST_CUDA_MEMORY", "67200000")];
    let message = fails(at.path(), &little(&["--device", "cuda", "--out", "small"]), &small);
    let words = ["this run needs", "on cuda:0", "are free", "--batch"];
    assert!(words.iter().all(|w| message.contains(w)), "{message}");
    assert!(!at.path().join("small").exists(), "a refused run leaves nothing");
    // Two stages on one GPU share it: what both need is asked for, not what the first does.
    let both = fails(at.path(), &little(&["--device", "cuda", "--stages", "2", "--out", "small"]), &small);
    assert!(words.iter().all(|w| both.contains(w)), "{both}");
    let (one, both) = (needed(&message), needed(&both));
    assert!(both > 0.8 * one, "{both} and {one} KiB");
}

/// The KiB of "this run needs 742 KiB of memory on cuda:0".
fn needed(message: &str) -> f64 {
    let said = message.split("this run needs ").nth(1).unwrap();
    let mut words = said.split_whitespace();
    let (number, unit) = (words.next().unwrap(), words.next().unwrap());
    let number: f64 = number.parse().unwrap();
    match unit {
        "KiB" => number,
        "MiB" => 1024.0 * number,
        _ => panic!("{message}"),
    }
}

#[cfg(unix)]
#[test]
fn kernels_are_kept_where_nobody_else_may_write() {
    use std::os::unix::fs::PermissionsExt;
    if !can_run() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("kernels");
    std::fs::create_dir(&folder).unwrap();
    let mode = |mode: u32| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    let run = |out: &str| {
        let args = little(&["--device", "cuda", "--out", out]);
        let out = cuda(at.path(), &args, &[("MLAAN_KERNEL_CACHE", "kernels")]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        text(&out.stderr)
    };
    mode(0o777);
    let said = run("open");
    assert!(
        said.starts_with("warning: compiled kernels are not kept: kernels: others may write there"),
        "{said}"
    );
    assert_eq!((said.lines().count(), std::fs::read_dir(&folder).unwrap().count()), (1, 0));
    mode(0o700);
    assert_eq!(run("own"), "");
    let key = std::fs::metadata(folder.join("key")).unwrap();
    assert_eq!((key.permissions().mode() & 0o777, key.len()), (0o600, 32));
}

#[test]
fn a_run_resumes_on_another_device() {
    if !can_run() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let run = |name: &str| at.path().join(name);
    let said = prints(at.path(), &little(&["--device", "cuda", "--out", "there"]));
    assert!(said.contains("cuda:0, 1 thread to load images"), "{said}");
    ok(at.path(), &little(&["--out", "here"]));
    for (name, device) in [("there", "cuda:0"), ("here", "cpu")] {
        assert_eq!(metrics(&run(name))[0]["device"], device);
    }
    // An epoch is too short for roundings to grow.
    let loss = |name: &str| epochs(&run(name), &[])[0]["train_loss"].as_f64().unwrap();
    assert!((loss("there") - loss("here")).abs() < 0.01 * loss("here"), "{} {}", loss("there"), loss("here"));

    let on = |name, device| {
        ["train", "--resume", "--epochs", "2", "--threads", "1", "--out", name, "--device", device]
    };
    ok(at.path(), &on("there", "cpu"));
    prints(at.path(), &on("here", "cuda"));
    for name in ["there", "here"] {
        assert_eq!(summary(&run(name))["epochs"], 2);
    }
    assert!((loss("there") - loss("here")).abs() < 0.01 * loss("here"));
    let eval = ["eval", "here", "--json", "--device", "cuda"];
    let found: Value = serde_json::from_str(&prints(at.path(), &eval)).unwrap();
    assert_eq!(found["error"], summary(&run("here"))["test_error"]);
}

#[test]
fn a_run_repeats_itself_and_takes_what_was_planned() {
    if !can_run() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let run = |precision: &str, out: &str| {
        let said = prints(at.path(), &little(&["--device", "cuda", "--precision", precision, "--out", out]));
        let line = said.lines().find(|l| l.contains("peak memory")).unwrap();
        let (used, planned) = line.trim().trim_end_matches(')').split_once(" (planned ").unwrap();
        assert!(used.ends_with(planned), "{line}");
        epochs(&at.path().join(out), &[])
    };
    let stored = run("f32", "one");
    assert_eq!(stored, run("f32", "two"));
    assert!(
        run("bf16", "half")[0]["peak_allocated_bytes"].as_u64() < stored[0]["peak_allocated_bytes"].as_u64()
    );
}

/// A GPU keeps the validation images as it keeps test images without them; these come from the host, at the end.
#[test]
fn validation_takes_what_was_planned_and_eval_finds_the_same() {
    if !can_run() {
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let args: Vec<&str> = little(&["--device", "cuda", "--validation", "0.5", "--out", "run"]);
    let args: Vec<&str> = args.into_iter().filter(|arg| *arg != "data.size=16").collect();
    let said = prints(at.path(), &args);
    assert!(said.contains("10 training, 10 validation and 20 test images"), "{said}");
    let line = said.lines().find(|l| l.contains("peak memory")).unwrap();
    let (used, planned) = line.trim().trim_end_matches(')').split_once(" (planned ").unwrap();
    assert!(used.ends_with(planned), "{line}");
    let summary = summary(&at.path().join("run"));
    for (split, key) in [("val", "val_error"), ("test", "test_error")] {
        let found = prints(at.path(), &["eval", "run", "--device", "cuda", "--json", "--split", split]);
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found["error"], summary[key], "{split}");
    }
}

#[test]
fn a_benchmark_says_what_the_driver_saw() {
    // On the processor the large matrices of the machine's measurement would take an hour.
    if host().is_some() || !can_run() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: a benchmark wants a GPU");
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let args = ["bench", "quickstart", "--device", "cuda", "--json", "--profile", "--rounds", "2"];
    let report: Value = serde_json::from_str(&prints(at.path(), &args)).unwrap();
    assert_eq!((&report["device"], &report["isa"]), (&"cuda:0".into(), &Value::Null));
    assert_eq!(report["kernels"], std::env::var("MLAAN_CUDA_KERNELS").unwrap_or("proved".into()));
    assert_eq!(report["planned_bytes"], report["used_bytes"]);
    assert!(report["device_bytes"].as_u64().unwrap() > 0);
    assert!(report["machine"]["flops_per_second"].as_f64().unwrap() > 1e12, "{report}");
}

#[test]
fn stages_on_two_gpus_learn_what_one_learns() {
    if host().is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: whether there is a second GPU is not known");
        return;
    }
    let at = tempfile::tempdir().unwrap();
    let two = [("MLAAN_HOST_CUDA_DEVICES", "2")];
    for (name, device) in [("one", "cuda:1"), ("two", "cuda:0,cuda:1")] {
        let out = cuda(at.path(), &little(&["--device", device, "--out", name]), &two);
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
    let [one, both] = ["one", "two"].map(|run| at.path().join(run));
    assert!(model(&one) == model(&both) && tensors(&one, "state") == tensors(&both, "state"));
    assert_eq!(metrics(&both)[0]["device"], "cuda:0, cuda:1");
    let message = fails(at.path(), &little(&["--device", "cuda:0,cuda:7"]), &two);
    assert!(message.contains("cuda:7") && message.contains("the driver knows 2"), "{message}");
}
