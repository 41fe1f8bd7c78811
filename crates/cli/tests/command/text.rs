//! Text from outside (names of files and classes, descriptions, arguments) does nothing to a terminal, a shell or a spreadsheet,
//! and numbers of any size are said as they are.
#![cfg(unix)]

use crate::common::{fails, mlaan, ok, output, parse, text, train};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Classes that would clear a screen, be a formula, and end a line.
const CLASSES: [&str; 3] = ["a\u{1b}[2Jb\u{9b}3J", "=1+1", "x|y\nerror: z\u{202e}"];

/// A set of images whose names are as bad as those of its classes.
fn odd_set(at: &Path) -> PathBuf {
    let set = at.join("set");
    for split in ["train", "test"] {
        for (c, class) in CLASSES.iter().enumerate() {
            let folder = set.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..4u32 {
                let colour = |x: u32, y: u32| image::Rgb([(x * 7 + i) as u8, (y * 5) as u8, 90 * c as u8]);
                image::RgbImage::from_fn(32, 32, colour).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    set
}

/// Nothing that a terminal obeys.
#[track_caller]
fn is_harmless(said: &str) {
    let active = |c: char| c.is_control() && c != '\n' || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!said.contains(active), "{said:?}");
    assert!(said.lines().all(|line| !line.starts_with("error: z")), "a name has a line of its own: {said}");
}

/// Both outputs of the program, which must be harmless.
#[track_caller]
fn harmless(at: &Path, args: &[&str]) -> String {
    let out = output(at, args);
    let said = text(&out.stdout) + &text(&out.stderr);
    is_harmless(&said);
    assert!(out.status.success(), "{args:?}: {said}");
    // What `predict` says of its memory stands beside its answers.
    said.lines().filter(|l| !l.starts_with("peak memory ")).map(|l| format!("{l}\n")).collect()
}

#[test]
fn names_do_nothing_to_a_terminal_and_json_has_them_exactly() {
    let at = tempfile::tempdir().unwrap();
    let set = odd_set(at.path());
    assert!(harmless(at.path(), &["data", "inspect", "set"]).contains(r"a\u{1b}[2Jb\u{9b}3J"));
    let odd = "runs/\u{1b}]0;t\u{7} $(touch owned)\u{202e}";
    let begun = train(&["--data", "set", "--out", odd, "--set", "description=\u{1b}[31mred"]);
    let said = harmless(at.path(), &begun);
    assert!(
        said.contains(r"\u{1b}[31mred") && said.contains(r"\u{1b}]0;t\u{7} $(touch owned)\u{202e}"),
        "{said}"
    );
    // The command that is suggested does what it says.
    let next = said
        .lines()
        .find_map(|l| l.trim().strip_prefix("next"))
        .unwrap()
        .trim()
        .replacen("mlaan", "\"$0\"", 1);
    let script =
        Command::new("bash").args(["-c", &next, env!("CARGO_BIN_EXE_mlaan")]).current_dir(at.path()).output();
    if let Ok(out) = script {
        assert!(out.status.success(), "{next}: {}", text(&out.stderr));
        is_harmless(&text(&out.stdout));
    }
    assert!(!at.path().join("owned").exists());
    // Classes come back exactly in JSON, which is harmless too.
    let eval = harmless(at.path(), &["eval", odd, "--json"]);
    let found: serde_json::Value = serde_json::from_str(&eval).unwrap();
    let mut names: Vec<&str> =
        found["classes"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    let mut classes = CLASSES;
    names.sort_unstable();
    classes.sort_unstable();
    assert_eq!(names, classes);
    // A name of bytes that are no text, one of two lines, and one that is no image.
    for name in [&b"\xff\x1b[2J.png"[..], b"two\nlines.png"] {
        fs::copy(set.join("test").join(CLASSES[1]).join("0.png"), at.path().join(OsStr::from_bytes(name)))
            .unwrap();
    }
    fs::create_dir(at.path().join("photos")).unwrap();
    for name in [&b"\xff\x1b[2J.png"[..], b"two\nlines.png"] {
        let name = OsStr::from_bytes(name);
        fs::rename(at.path().join(name), at.path().join("photos").join(name)).unwrap();
    }
    let said = harmless(at.path(), &["predict", odd, "photos"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains(r"photos/\xff\u{1b}[2J.png") && said.contains(r"photos/two\u{a}lines.png"),
        "{said}"
    );
    let found = parse(&harmless(at.path(), &["predict", odd, "photos", "--json"]));
    assert!(found.iter().any(|f| f["image"] == "photos/two\nlines.png"), "{found:?}");
    // In CSV a name keeps its lines, quoted.
    let table = ok(at.path(), &["predict", odd, "photos", "--csv", "--top", "3"]);
    assert!(!table.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'), "{table:?}");
    assert!(table.contains(",'=1+1,") && table.contains("\"photos/two\nlines.png\""), "{table}");
    fs::write(at.path().join("photos/\u{1b}[2J.png"), "none").unwrap();
    let out = output(at.path(), &["predict", odd, "photos"]);
    is_harmless(&text(&out.stderr));
    assert!(text(&out.stderr).contains(r"photos/\u{1b}[2J.png: "), "{}", text(&out.stderr));
}

#[test]
fn what_errors_repeat_is_harmless() {
    let at = tempfile::tempdir().unwrap();
    let odd = "\u{1b}[2J\u{9b}1m\nerror: z\u{202e}";
    fs::write(at.path().join("odd.toml"), "extends = \"quickstart\"\n\"\\u001b[2J\\nerror: z\" = 1\n")
        .unwrap();
    fs::write(
        at.path().join("word.toml"),
        "extends = \"quickstart\"\ntrain.schedule = \"\\u001b[2J\\nerror: z\"\n",
    )
    .unwrap();
    let set = format!("train.schedule={odd}");
    let cases: [&[&str]; 8] = [
        &["train", odd],
        &["train", "odd.toml"],
        &["train", "word.toml"],
        &["train", "--set", &set],
        &["train", "--data", odd],
        &["eval", odd],
        &["report", odd],
        &["compare", odd],
    ];
    for args in cases {
        is_harmless(&fails(at.path(), args));
    }
    for args in [&["train", "--epochs", odd][..], &[odd], &["train", "--\u{1b}[2J"]] {
        let out = output(at.path(), args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        is_harmless(&text(&out.stderr));
        assert!(text(&out.stderr).contains(r"\u{1b}[2J"), "{}", text(&out.stderr));
    }
}

/// The program with arguments of any bytes.
fn run(at: &Path, args: &[&str], more: &[OsString]) -> Output {
    mlaan(at, args).args(more).output().unwrap()
}

#[test]
fn paths_need_not_be_utf8_and_what_must_be_is_named() {
    let at = tempfile::tempdir().unwrap();
    let odd = OsString::from_vec(b"r \xff".to_vec());
    let done = |args: &[&str], more: &[OsString]| {
        let out = run(at.path(), args, more);
        assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
        text(&out.stdout)
    };
    let said = done(&train(&["--out"])[..], std::slice::from_ref(&odd));
    assert!(
        said.contains(r"mlaan eval $'r \xff'") && at.path().join(&odd).join("summary.json").exists(),
        "{said}"
    );
    let again = ["train", "--resume", "--epochs", "3", "--threads", "1", "--out"];
    assert!(done(&again, std::slice::from_ref(&odd)).contains("3/3"));
    let found: serde_json::Value =
        serde_json::from_str(&done(&["eval", "--json"], std::slice::from_ref(&odd))).unwrap();
    assert!(found["checkpoint"].as_str().unwrap() == r"r \xff", "{found}");
    done(&["report", "--out", "page.html"], std::slice::from_ref(&odd));
    done(
        &["export", "--format", "safetensors", "--out"],
        &[OsString::from_vec(b"\xfe.safetensors".to_vec()), odd.clone()],
    );
    let photo = OsString::from_vec(b"\xfd.png".to_vec());
    image::RgbImage::new(32, 32).save(at.path().join("a.png")).unwrap();
    fs::rename(at.path().join("a.png"), at.path().join(&photo)).unwrap();
    assert!(done(&["predict"], &[odd.clone(), photo]).starts_with(r"\xfd.png  "));
    // A recipe keeps where images are as text.
    let out = run(at.path(), &["train", "--data"], &[odd]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).starts_with(r"error: `--data r \xff` is not UTF-8"), "{}", text(&out.stderr));
}

#[test]
fn numbers_of_any_size_are_said_as_they_are() {
    let at = tempfile::tempdir().unwrap();
    let most = "9223372036854775807";
    for (set, found, bound) in [
        ("train.batch=9223372036854775808", "9223372036854775808", "from 1 to 4294967296"),
        ("train.batch=9223372036854775807", most, "from 1 to 4294967296"),
        ("seed=18446744073709551616", "18446744073709551616", most),
        ("seed=-99999999999999999999", "-99999999999999999999", most),
        ("data.size=0xffffffffffffffffff", "0xffffffffffffffffff", "from 8 to 8192"),
        ("local.cuts=[1, 99999999999999999999]", "99999999999999999999", "whole numbers"),
        ("train.epochs=4294967297", "4294967297", "from 1 to 4294967296"),
    ] {
        let key = set.split('=').next().unwrap();
        let toml = format!("extends = \"quickstart\"\n{}\n", set.replacen('=', " = ", 1));
        fs::write(at.path().join("big.toml"), toml).unwrap();
        for args in [&["plan", "--set", set][..], &["plan", "big.toml"]] {
            let message = fails(at.path(), args);
            let words = [format!("`{key}`"), format!("found {found}"), bound.to_owned()];
            assert!(words.iter().all(|w| message.contains(&**w)), "{message}");
        }
    }
    let seed = fails(at.path(), &["train", "--seed", "9223372036854775808"]);
    assert!(seed.contains("`seed`: found 9223372036854775808") && seed.contains(most), "{seed}");
    for flag in ["--seed", "--epochs", "--batch", "--limit", "--threads"] {
        let out = output(at.path(), &["train", flag, "99999999999999999999"]);
        let message = text(&out.stderr);
        let words = [flag, "99999999999999999999", "at most 18446744073709551615"];
        assert!(words.iter().all(|w| message.contains(w)) && out.status.code() == Some(2), "{message}");
    }
    // A folder may be called so.
    let message = fails(at.path(), &["train", "--set", "data.source=99999999999999999999"]);
    assert!(message.contains("99999999999999999999: no such file"), "{message}");
    fs::write(at.path().join("suite.toml"), "title = \"t\"\nseeds = 99999999999999999999\nrows = []\n")
        .unwrap();
    let message = fails(at.path(), &["compare", "suite.toml"]);
    assert!(message.contains("`seeds`: found 99999999999999999999") && message.contains(most), "{message}");
}

#[test]
fn threads_that_cannot_run_at_once_are_not_made() {
    let at = tempfile::tempdir().unwrap();
    let cores = std::thread::available_parallelism().unwrap().get();
    let planned = |args: &[&str]| output(at.path(), &[&["plan", "--json"], args].concat());
    let (many, all) = (planned(&["--threads", "1000000"]), planned(&[]));
    assert_eq!(text(&many.stdout), text(&all.stdout), "a plan counts those that run");
    let said = text(&many.stderr);
    assert!(
        said.contains(&format!("{cores} thread")) && said.contains("1,000,000") && said.lines().count() == 1,
        "{said}"
    );
    assert!(all.stderr.is_empty());
    ok(at.path(), &train(&["--out", "one", "--quiet"]));
    let mut args = train(&["--out", "many", "--quiet"]);
    let threads = args.iter().position(|a| *a == "--threads").unwrap() + 1;
    args[threads] = "1000000";
    ok(at.path(), &args);
    assert_eq!(crate::common::model(&at.path().join("one")), crate::common::model(&at.path().join("many")));
}

/// Every line of standard output.
fn lines_of(at: &Path, args: &[&str]) -> Vec<String> {
    let out = mlaan(at, args).env("COLUMNS", "80").output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout).lines().map(str::to_owned).collect()
}

/// A run and a folder with names that take most of a line.
const LONG: &str = "mlaan-released-resnet8-4-on-photographs-of-all-kinds-seed-0";
const STUDIED: &str = "what-the-run-on-photographs-of-all-kinds-has-learnt-by-depth/again";

#[test]
fn every_command_fits_eighty_columns() {
    let at = tempfile::tempdir().unwrap();
    let set = odd_set(at.path()).file_name().unwrap().to_str().unwrap().to_owned();
    let more = ["--out", "run", "--validation", "0.3", "--set", "train.warmup=0"];
    let begun = [train(&["--data", &set]), more.to_vec()].concat();
    let long = [train(&["--data", &set]), vec!["--seed", "1", "--out", LONG]].concat();
    fs::write(
        at.path().join("suite.toml"),
        "title = \"A suite with a long title, which says what it compares, and on which images\"\n\
         set = [\"model.width=4\", \"data.limit=60\", \"train.epochs=1\", \"train.batch=20\", \"train.warmup=0\", \"data.source=builtin\"]\n\
         rows = [{ name = \"bp\", title = \"BP\", recipe = \"bp-resnet8\" },\n\
         { name = \"mlaan-released\", title = \"MLAAN (released)\", recipe = \"mlaan-released-resnet8-4\" }]\n",
    )
    .unwrap();
    let image = format!("{set}/test/x|y\nerror: z\u{202e}/0.png");
    let commands: &[&[&str]] = &[
        &begun,
        &long,
        &["eval", "run", "--mistakes", "3"],
        &["predict", "run", &image],
        &["export", "run", "--format", "onnx", "--out", "net.onnx"],
        &["export", "run", "--format", "safetensors", "--out", "net.safetensors"],
        &["import", "net.safetensors", "--out", "a-network-from-elsewhere-whose-folder-has-a-long-name"],
        &["analyze", "run", "--features", "--heads", "--separability", "--out", "studied"],
        &["analyze", LONG, "--against", "run", "--heads", "--cka", "--separability", "--out", STUDIED],
        &["audit", "mlaan-released-resnet8-4", "--set", "model.width=4"],
        &["plan", "mlaan-released-resnet110-55"],
        &["plan", "infopro-resnet152-51"],
        &["plan", "mlaan-released-resnet32-16", "--memory", "400MiB"],
        &["plan", "--data", &set],
        &[
            "bench",
            "bp-resnet8",
            "--set",
            "model.width=4",
            "--batch=4",
            "--rounds=1",
            "--steps=1",
            "--profile",
        ],
        &["bench", "--data", &set, "--rounds=1"],
        &["data", "inspect", &set],
        &["compare"],
        &["compare", "suite.toml", "--seeds", "2", "--plan"],
        &["compare", "suite.toml", "--seeds", "2", "--out", "compared"],
        &["compare", "table1-cifar10", "--show", "--out", "compared"],
        &["report", "run", "compared"],
        &["recipes"],
        &["recipes", "--schema"],
        &["devices"],
    ];
    for args in commands {
        for line in lines_of(at.path(), args) {
            // A command is there to be copied.
            let is_command = line.trim_start().starts_with("mlaan ") || line.contains("  mlaan ");
            assert!(is_command || console::measure_text_width(&line) <= 80, "{args:?}: {line}");
        }
    }
}

#[test]
fn help_fits_eighty_columns() {
    let at = tempfile::tempdir().unwrap();
    let all = [
        "train",
        "eval",
        "predict",
        "export",
        "import",
        "analyze",
        "audit",
        "plan",
        "bench",
        "data inspect",
        "data download",
        "compare",
        "report",
        "recipes",
        "devices",
        "completions",
        "man",
    ];
    for command in all.into_iter().map(|c| c.split(' ').collect::<Vec<_>>()).chain([vec![]]) {
        for flag in ["-h", "--help"] {
            let said = lines_of(at.path(), &[&command[..], &[flag]].concat());
            let long = said.iter().find(|line| console::measure_text_width(line) > 80);
            assert_eq!(long, None, "{command:?} {flag}");
        }
    }
}
