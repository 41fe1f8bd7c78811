//! What is printed is printed whole, or the command fails; what is written is whole, or not there.
#![cfg(unix)]

use crate::common::guard::{finish, refuses};
use crate::common::{mlaan, ok, text, train};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// A device that is always full; without it there is nothing to test with.
fn full() -> Option<Stdio> {
    match OpenOptions::new().write(true).open("/dev/full") {
        Ok(file) => Some(file.into()),
        Err(e) => {
            eprintln!("SKIPPED: standard output on a full disk (/dev/full: {e})");
            None
        }
    }
}

/// A finished run, a picture and a list of classes.
fn trained() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet", "--set", "train.epochs=1"]));
    image::RgbImage::from_fn(40, 32, |x, y| image::Rgb([x as u8, y as u8, 9]))
        .save(at.path().join("a.png"))
        .unwrap();
    at
}

/// Commands that print.
const PRINTING: &[&str] = &[
    "--help",
    "--version",
    "help plan",
    "data inspect --help",
    "recipes",
    "recipes --json",
    "recipes --schema",
    "recipes --schema --json",
    "recipes --show quickstart",
    "devices",
    "devices --json",
    "completions bash",
    "completions zsh",
    "man",
    "man train",
    "compare",
    "compare small --plan --only bp-resnet20 --data builtin",
    "plan",
    "plan --json",
    "plan --memory 4GiB",
    "plan --memory 4GiB --json",
    "bench --set model.backbone=resnet8 model.width=4 local.modules=4 --batch 8 --rounds 1 --steps 1 --threads 1",
    "bench --set model.backbone=resnet8 model.width=4 local.modules=4 --batch 8 --rounds 1 --steps 1 --threads 1 --json",
    "data inspect builtin",
    "data inspect builtin --json",
    "eval run --limit 50",
    "eval run --limit 50 --json",
    "predict run a.png",
    "predict run a.png --top 3",
    "predict run a.png --csv",
    "predict run a.png --json",
    "analyze run --heads",
    "analyze run --heads --json",
    "export run --format safetensors --out net.safetensors",
    "export run --format onnx --out net.onnx",
    "report run",
    "report run --json",
];

#[test]
fn a_full_disk_is_an_error_of_every_command_that_prints() {
    let at = trained();
    let resumed = "train --resume --out run";
    let fresh = train(&["--out", "fresh"]).join(" ");
    let json = train(&["--out", "json", "--json"]).join(" ");
    for line in PRINTING.iter().copied().chain([resumed, &fresh, &json]) {
        let Some(full) = full() else { return };
        let args: Vec<&str> = line.split(' ').collect();
        let mut command = mlaan(at.path(), &args);
        command.stdout(full);
        let out = finish(command);
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{line}: {said}");
        let last = said.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("error: standard output: No space left on device"), "{line}: {said}");
    }
    // Nobody could read of it, but it was done.
    for file in ["fresh/summary.json", "json/summary.json", "net.safetensors", "net.onnx", "report.html"] {
        assert!(at.path().join(file).exists(), "{file}");
    }
    let said = refuses(at.path(), &["import", "net.onnx", "--out", "back"]);
    assert!(said.contains("net.onnx"), "{said}");
}

#[test]
fn standard_output_that_is_not_for_writing_is_an_error() {
    let at = tempfile::tempdir().unwrap();
    fs::write(at.path().join("read"), "").unwrap();
    for args in [&["recipes"][..], &["--help"], &["plan", "--json"]] {
        let mut command = mlaan(at.path(), args);
        command.stdout(File::open(at.path().join("read")).unwrap());
        let out = finish(command);
        let said = text(&out.stderr);
        assert!(out.status.code() == Some(1) && said.starts_with("error: standard output: "), "{said}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let at = trained();
    let run = train(&["--out", "fresh"]).join(" ");
    let lines = ["--help", "recipes", "plan --json", "predict run a.png --csv", "predict run a.png a.png"];
    for line in lines.into_iter().chain([run.as_str()]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let args: Vec<&str> = line.split(' ').collect();
        let mut command = mlaan(at.path(), &args);
        command.stdout(writer);
        let out = finish(command);
        assert!(out.status.success() && out.stderr.is_empty(), "{line}: {}", text(&out.stderr));
    }
    assert!(at.path().join("fresh/summary.json").exists());
}

/// The program, which can write no file beyond so many blocks of 512 bytes and is told so.
fn cramped(at: &Path, blocks: usize, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_mlaan")]).args(args);
    command.current_dir(at).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn a_file_that_cannot_be_written_whole_is_not_there() {
    let at = trained();
    fs::create_dir(at.path().join("out")).unwrap();
    let cases: &[(&[&str], &str)] = &[
        (&["report", "run", "--out", "out/page.html"], "out/page.html"),
        (&["man", "--out", "out"], "out/mlaan-train.1"),
        (&["export", "run", "--format", "onnx", "--out", "out/net.onnx"], "out/net.onnx"),
        (
            &["export", "run", "--format", "safetensors", "--out", "out/net.safetensors"],
            "out/net.safetensors",
        ),
        (&["analyze", "run", "--features", "--out", "out"], "out/features-0.png"),
    ];
    for (args, file) in cases {
        for before in [None, Some("what was there before")] {
            if let Some(before) = before {
                fs::write(at.path().join(file), before).unwrap();
            }
            let out = finish(cramped(at.path(), 2, args));
            let said = text(&out.stderr);
            assert!(out.status.code() == Some(1) && said.contains("too large"), "{args:?}: {said}");
            assert_eq!(fs::read_to_string(at.path().join(file)).ok().as_deref(), before, "{args:?}");
        }
    }
    let names = fs::read_dir(at.path().join("out")).unwrap().map(|e| e.unwrap().file_name());
    let left: Vec<_> = names.filter(|n| n.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn event_files_keep_whole_records_alone() {
    let at = tempfile::tempdir().unwrap();
    // Many points within the first epoch, before its checkpoint needs more room than there is.
    let many = ["--batch", "10", "--threads", "1", "--limit", "500", "--out", "events", "--tensorboard"];
    let named = many.into_iter().chain(["quickstart"]);
    let args: Vec<&str> = train(&[]).into_iter().take(5).chain(named).collect();
    let out = finish(cramped(at.path(), 8, &args));
    let said = text(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains("no more values for TensorBoard"), "{said}");
    let files: Vec<_> = fs::read_dir(at.path().join("events/tensorboard")).unwrap().collect();
    let bytes = fs::read(files[0].as_ref().unwrap().path()).unwrap();
    assert!(files.len() == 1 && (3000..=4096).contains(&bytes.len()), "{} bytes", bytes.len());
    assert!(whole_records(&bytes) > 10);
}

/// How many records an event file has, which must all be whole.
fn whole_records(mut bytes: &[u8]) -> usize {
    let mut records = 0;
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes = &bytes[8 + 4 + length + 4..];
        records += 1;
    }
    records
}

#[test]
fn nothing_is_written_through_a_link() {
    let at = trained();
    let victim = at.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir(at.path().join("out")).unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["report", "run", "--out", "out/page.html"], &["page.html"]),
        (&["man", "--out", "out"], &["mlaan.1", "mlaan-train.1"]),
        (&["export", "run", "--format", "onnx", "--out", "out/net.onnx"], &["net.onnx"]),
        (&["export", "run", "--format", "safetensors", "--out", "out/net.st"], &["net.st"]),
        (
            &["analyze", "run", "--heads", "--features", "--out", "out"],
            &["analysis.json", "heads.csv", "heads.svg", "features-0.png"],
        ),
    ];
    for (args, files) in cases {
        for file in *files {
            for planted in [(*file).to_owned(), format!(".{file}.scratch")] {
                symlink(&victim, at.path().join("out").join(planted)).unwrap();
            }
        }
        ok(at.path(), args);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "{args:?}");
        for file in *files {
            let path = at.path().join("out").join(file);
            assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{path:?} is still a link");
        }
    }
    // A lock and a part of a download are written to as they are.
    fs::create_dir(at.path().join("held")).unwrap();
    symlink(&victim, at.path().join("held/.lock")).unwrap();
    let said = refuses(at.path(), &train(&["--out", "held"]));
    assert!(said.contains("held/.lock: is a symbolic link"), "{said}");
}

#[test]
fn a_file_takes_the_place_of_files_only() {
    let at = trained();
    symlink("/dev/null", at.path().join("link")).unwrap();
    for (out, what) in [("/dev/null", "a device"), ("link", "a device"), ("run", "a folder")] {
        for args in [
            &["report", "run", "--out", out][..],
            &["export", "run", "--format", "onnx", "--out", out],
            &["export", "run", "--format", "safetensors", "--out", out],
        ] {
            let said = refuses(at.path(), args);
            assert!(said.contains(out) && said.contains(what), "{args:?}: {said}");
        }
    }
    // As root a file could be put even there.
    let shown = File::create(at.path().join("shown")).unwrap();
    let mut command = mlaan(at.path(), &["report", "run", "--out", "/dev/stdout"]);
    command.stdout(shown);
    let out = finish(command);
    assert!(out.status.code() == Some(1), "{}", text(&out.stderr));
    assert!(fs::symlink_metadata("/dev/stdout").is_ok_and(|m| m.is_symlink()));
}
