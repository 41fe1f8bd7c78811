//! `mlaan analyze`: what it prints and writes, and what the user sees of mistakes.

use crate::common::{fails, ok, output, text, train};
use serde_json::Value;
use std::fs;
use std::path::Path;

const BP: &[&str] =
    &["--set", "local.modules=1", "local.leap=none", "local.cascade=none", "--out", "runs/bp"];

/// Two short runs: `runs/own` in four modules and `runs/bp`.
fn runs(at: &Path) {
    ok(at, &train(&["--out", "runs/own"]));
    ok(at, &train(BP));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn everything_that_applies_is_measured_printed_and_written() {
    let at = tempfile::tempdir().unwrap();
    runs(at.path());
    let said =
        ok(at.path(), &["analyze", "runs/own", "runs/bp", "--against", "runs/bp", "--minibatch", "32"]);
    for word in [
        "separability",
        "CKA with bp",
        "mean over layers: own 0.",
        "bp 1.000",
        "Auxiliary classifiers",
        "layer3.0",
        " layer3.0: the network's own classifier, behind its last module\n",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let folder = at.path().join("runs/own/analysis");
    let mut expected = vec!["analysis.json", "cka-1-own.svg", "cka.csv"];
    expected.extend(["features-0.png", "features-1.png", "features-2.png"]);
    expected.extend(["heads.csv", "heads.svg", "separability.csv", "separability.svg"]);
    assert_eq!(names(&folder), expected);

    let json =
        ok(at.path(), &["analyze", "runs/own", "--heads", "--json", "--out", "other", "--threads", "1"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let whole: Value = serde_json::from_slice(&fs::read(folder.join("analysis.json")).unwrap()).unwrap();
    assert_eq!(report["subjects"][0]["heads"], whole["subjects"][0]["heads"]);
    assert!(report["subjects"][0]["separability"].is_null() && whole["subjects"][1]["heads"].is_null());
    assert_eq!(whole["features"][1]["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(names(&at.path().join("other")), ["analysis.json", "heads.csv", "heads.svg"]);
}

#[test]
fn images_may_be_numbers_and_files() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(BP));
    image::RgbImage::from_fn(50, 40, |x, y| image::Rgb([x as u8, y as u8, 9]))
        .save(at.path().join("a.png"))
        .unwrap();
    let analyze = |images: &[&'static str]| {
        [&["analyze", "runs/bp/checkpoints/best.json", "--features", "--places", "2", "--images"], images]
            .concat()
    };
    ok(at.path(), &analyze(&["7,9", "a.png"]));
    let folder = at.path().join("runs/bp/analysis");
    assert_eq!(names(&folder), ["analysis.json", "features-7.png", "features-9.png", "features-file-3.png"]);
    let sheet = image::open(folder.join("features-7.png")).unwrap();
    assert!(sheet.width() > 500 && sheet.height() > 300);
    assert!(fails(at.path(), &analyze(&["7000"])).contains("image 7000"));
    assert!(fails(at.path(), &analyze(&["b.png"])).contains("b.png"));
    fs::write(at.path().join("c.png"), "no picture").unwrap();
    assert!(fails(at.path(), &analyze(&["c.png"])).contains("c.png: not an image"));
}

#[test]
fn mistakes_are_named() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(BP));
    let refused = fails(at.path(), &["analyze", "runs/bp", "--heads"]);
    assert!(refused.contains("auxiliary classifiers"), "{refused}");
    assert!(fails(at.path(), &["analyze", "runs/none"]).contains("runs/none"));
    assert!(fails(at.path(), &["analyze", "runs/bp", "./runs/bp"]).contains("./runs/bp is named twice"));
    for wrong in [&["--cka"][..], &["--c", "0"], &["--pool", "0"], &["--cut", "stem"], &["--limit", "0"]] {
        let out = output(at.path(), &[&["analyze", "runs/bp"], wrong].concat());
        assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    }
    assert_eq!(output(at.path(), &["analyze"]).status.code(), Some(2));
}
