//! FIFOs, devices, endless files and links that lead round: nothing hangs, fills memory or counts twice.
#![cfg(unix)]

use crate::common::guard::{finish, refuses};
use crate::common::{mlaan, ok, text, train};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn picture(path: &Path, shade: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8 * 9, y as u8 * 9, shade]))
        .save(path)
        .unwrap();
}

fn trained() -> tempfile::TempDir {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet", "--set", "train.epochs=1"]));
    ok(at.path(), &["export", "run", "--format", "safetensors", "--out", "net.safetensors"]);
    at
}

#[test]
fn a_fifo_in_place_of_a_file_is_named() {
    let at = trained();
    fifo(&at.path().join("pipe"));
    fs::write(at.path().join("mine.toml"), "extends = \"pipe\"\n").unwrap();
    fs::write(at.path().join("suite.toml"), "title = \"t\"\nrows = [{ name = \"bp\", recipe = \"pipe\" }]\n")
        .unwrap();
    for folder in ["locked", "listed", "split/train/cat"] {
        fs::create_dir_all(at.path().join(folder)).unwrap();
    }
    fifo(&at.path().join("locked/.lock"));
    fifo(&at.path().join("listed/metrics.jsonl"));
    let cases: &[&[&str]] = &[
        &["plan", "pipe"],
        &["plan", "mine.toml"],
        &["train", "pipe"],
        &["train", "--data", "pipe"],
        &["train", "--init", "pipe", "--out", "x"],
        &["train", "--out", "locked"],
        &["compare", "pipe"],
        &["compare", "suite.toml"],
        &["compare", "small", "pipe"],
        &["data", "inspect", "pipe"],
        &["bench", "pipe"],
        &["eval", "pipe"],
        &["eval", "run", "--data", "pipe"],
        &["analyze", "pipe"],
        &["analyze", "run", "--images", "pipe"],
        &["export", "pipe", "--format", "onnx", "--out", "x.onnx"],
        &["import", "pipe", "--out", "x"],
        &["import", "net.safetensors", "--classes", "pipe", "--out", "x"],
        &["report", "pipe"],
        &["report", "listed"],
        &["recipes", "--show", "pipe"],
    ];
    for args in cases {
        let said = refuses(at.path(), args);
        assert!(said.contains("is a FIFO"), "{args:?}: {said}");
    }
    let mut command = mlaan(at.path(), &["predict", "run", "pipe"]);
    command.stdout(Stdio::piped());
    let out = finish(command);
    let said = text(&out.stderr);
    let said: Vec<&str> = said.lines().filter(|l| !l.starts_with("peak memory ")).collect();
    assert_eq!(said, ["pipe: is a FIFO, not a regular file", "error: 1 of 1 file could not be read"]);
}

#[test]
fn what_never_ends_is_refused() {
    let at = trained();
    for (name, size) in [("large.toml", 2_u64 << 20), ("names.txt", 1 << 30), ("huge.safetensors", 1 << 40)] {
        File::create(at.path().join(name)).unwrap().set_len(size).unwrap();
    }
    let put = |name: &str, text: String| fs::write(at.path().join(name), text).unwrap();
    put("base.toml", format!("description = \"{}\"\n", "x".repeat(1_000_000)));
    put("bases.toml", format!("extends = [{}]\n", "\"base.toml\",".repeat(50_000)));
    let row = "{ name = \"bp\", recipe = \"bp-resnet32\" }";
    put("seeds.toml", format!("title = \"t\"\nseeds = 99999999999\nrows = [{row}]\n"));
    let rows: String =
        (0..5000).map(|i| format!("{{ name = \"r{i}\", recipe = \"bp-resnet32\" }},")).collect();
    put("cells.toml", format!("title = \"t\"\nrows = [{rows}]\ncolumns = [{}]\n", "{},".repeat(5000)));
    let cases: &[(&[&str], &str)] = &[
        (&["plan", "/dev/zero"], "is a device"),
        (&["compare", "/dev/zero"], "is a device"),
        (&["import", "/dev/zero", "--out", "x"], "is a device"),
        (&["import", "net.safetensors", "--classes", "/dev/zero", "--out", "x"], "is a device"),
        (&["data", "inspect", "/dev/zero"], "is a device"),
        (&["eval", "/dev/zero"], "is a device"),
        (&["report", "/dev/zero"], "is a device"),
        (&["compare", "seeds.toml"], "at most 10000"),
        (&["compare", "cells.toml"], "at most 10000 cells"),
        (&["plan", "bases.toml"], "more than"),
        (&["plan", "large.toml"], "larger than 1 MiB"),
        (&["compare", "large.toml"], "larger than 1 MiB"),
        (&["import", "net.safetensors", "--classes", "names.txt", "--out", "x"], "larger than 16 MiB"),
        (&["report", "names.txt"], "larger than 32 MiB"),
        (&["eval", "names.txt"], "larger than 64 MiB"),
        (&["import", "huge.safetensors", "--out", "x"], "huge.safetensors"),
    ];
    for (args, what) in cases {
        let said = refuses(at.path(), args);
        assert!(said.contains(what), "{args:?}: {said}");
    }
    let mut command = mlaan(at.path(), &["predict", "run", "-"]);
    command.stdin(File::open("/dev/zero").unwrap()).stdout(Stdio::piped());
    let said = text(&finish(command).stderr);
    assert!(said.contains("standard input is no list of paths: it is longer than 256 MiB"), "{said}");
}

#[test]
fn files_of_runs_are_bounded_too() {
    let at = trained();
    for (file, most) in [("metrics.jsonl", "256 MiB"), ("recipe.toml", "1 MiB")] {
        let path = at.path().join("run").join(file);
        let before = fs::read(&path).unwrap();
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let said = refuses(at.path(), &["report", "run"]);
        assert!(said.contains(file) && said.contains(most), "{said}");
        fs::write(&path, before).unwrap();
    }
    let manifest = at.path().join("run/checkpoints/last.json");
    File::create(&manifest).unwrap().set_len(1 << 40).unwrap();
    let said = refuses(at.path(), &["eval", "run"]);
    assert!(said.contains("last.json: larger than 64 MiB"), "{said}");
}

#[test]
fn images_behind_links_that_lead_round_are_found_once() {
    let at = trained();
    let photos = at.path().join("photos");
    for name in ["b/c/2.png", "b/1.png", "3.png"] {
        picture(&photos.join(name), 7);
    }
    picture(&at.path().join("elsewhere/4.png"), 8);
    for folder in [&photos, &photos.join("b"), &photos.join("b/c")] {
        symlink(".", folder.join("a")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        symlink(&photos, folder.join("z")).unwrap();
        symlink(at.path().join("elsewhere"), folder.join("other")).unwrap();
    }
    let said = text(&crate::common::output(at.path(), &["predict", "run", "photos"]).stdout);
    let names: Vec<&str> = said.lines().map(|l| l.split("  ").next().unwrap()).collect();
    assert_eq!(
        names,
        ["photos/3.png", "photos/b/1.png", "photos/b/c/2.png", "photos/b/c/other/4.png"],
        "{said}"
    );
}

/// A set of two classes, a few images each.
fn set(root: &Path) {
    for (i, split) in ["train", "test"].iter().enumerate() {
        for (j, class) in ["cat", "dog"].iter().enumerate() {
            for k in 0..3 {
                let name = format!("{split}/{class}/{k}.png");
                picture(&root.join(name), (i * 100 + j * 50 + k) as u8);
            }
        }
    }
}

fn inspected(at: &Path) -> Value {
    serde_json::from_str(&ok(at, &["data", "inspect", "set", "--json"])).unwrap()
}

#[test]
fn links_multiply_no_images_and_make_no_classes() {
    let at = tempfile::tempdir().unwrap();
    let root = at.path().join("set");
    set(&root);
    let plain = inspected(at.path());
    assert_eq!(plain["train"]["images"], 6);
    for split in ["train", "test"] {
        symlink(".", root.join(split).join("all")).unwrap();
        symlink("..", root.join(split).join("both")).unwrap();
        for class in ["cat", "dog"] {
            let folder = root.join(split).join(class);
            symlink(".", folder.join("a")).unwrap();
            symlink(".", folder.join("b")).unwrap();
            symlink("../..", folder.join("up")).unwrap();
            symlink("../dog", folder.join("others")).unwrap();
        }
    }
    let found = inspected(at.path());
    for split in ["train", "test"] {
        assert_eq!(found[split], plain[split]);
        symlink("cat", root.join(split).join("kitten")).unwrap();
    }
    assert_eq!(found["classes"], plain["classes"]);
    assert!(found["notes"]["skipped"].as_array().unwrap().len() > 1, "{found}");
    // A class that is a link to another one is a class, as to every other reader of the folder.
    let found = inspected(at.path());
    assert_eq!((&found["train"]["images"], found["classes"].as_array().unwrap().len()), (&9.into(), 3));
}

#[test]
fn special_files_among_images_are_skipped_and_counted() {
    let at = tempfile::tempdir().unwrap();
    let root = at.path().join("set");
    set(&root);
    fifo(&root.join("train/cat/pipe.png"));
    symlink("/dev/zero", root.join("train/dog/zero.png")).unwrap();
    for load in ["memory", "stream"] {
        let set = format!("data.load={load}");
        let mut command = mlaan(at.path(), &["train", "--data", "set", "--set", &set, "data.size=16"]);
        command.args(["--epochs", "1", "--out", load]).stderr(Stdio::piped());
        let out = finish(command);
        let said = text(&out.stderr);
        assert!(
            out.status.success() && said.contains("2 files skipped (neither a file nor a folder)"),
            "{said}"
        );
        assert!(said.contains("pipe.png"), "{said}");
    }
    let mut command = mlaan(at.path(), &["data", "inspect", "set", "--all"]);
    command.stdout(Stdio::piped());
    let out = finish(command);
    let said = text(&out.stdout);
    assert!(said.contains("2 files skipped (neither a file nor a folder)"), "{said}{}", text(&out.stderr));
}

#[test]
fn a_run_is_reported_once() {
    let at = trained();
    let said = ok(at.path(), &["report", "run", "./run", "run/../run", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["runs"], 1);
}
