//! What a trained network is for: predict, export, import, and training that starts from it.

use crate::common::{fails, metrics, mlaan, ok, output, parse, text, train};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Two pictures and a file that is none.
fn photos(at: &Path) {
    let folder = at.join("photos");
    fs::create_dir_all(folder.join("more")).unwrap();
    for (i, name) in ["a.png", "more/b, c.png"].iter().enumerate() {
        let colour = |x: u32, y: u32| image::Rgb([(x * 7) as u8, (y * 5) as u8, 90 * i as u8]);
        image::RgbImage::from_fn(40, 32, colour).save(folder.join(name)).unwrap();
    }
}

#[test]
fn images_are_classified_in_three_forms() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    photos(at.path());
    let said = ok(at.path(), &["predict", "run", "photos"]);
    assert_eq!(said.lines().count(), 2);
    assert!(said.starts_with("photos/a.png  ") && said.contains(" %"), "{said}");
    let said = ok(at.path(), &["predict", "run", "photos", "--top", "3", "--threads", "1"]);
    assert_eq!(said.lines().count(), 8);
    let table = ok(at.path(), &["predict", "run", "photos", "--top", "2", "--csv"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines[0], lines.len()), ("image,rank,class,probability", 5));
    assert!(lines[3].starts_with("\"photos/more/b, c.png\",1,"), "{table}");
    let found = parse(&ok(at.path(), &["predict", "run", "photos", "--top", "99", "--json", "--best"]));
    assert_eq!(found.len(), 2);
    let classes = found[1]["classes"].as_array().unwrap();
    let sum: f64 = classes.iter().map(|c| c["probability"].as_f64().unwrap()).sum();
    assert!(classes.len() == 10 && (sum - 1.0).abs() < 1e-5, "{found:?}");
}

#[test]
fn a_broken_file_is_told_and_the_others_are_classified() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    photos(at.path());
    fs::write(at.path().join("photos/broken.png"), "no picture").unwrap();
    let mut child = mlaan(at.path(), &["predict", "run", "-", "--json"]);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"photos/broken.png\nphotos/a.png\n\nphotos/none.png\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stderr), "error: 2 of 3 files could not be read\n");
    let found = parse(&text(&out.stdout));
    assert!(found[0]["error"].as_str().unwrap().contains("not an image"), "{found:?}");
    assert!(found[1]["classes"][0]["class"].is_string() && found[2]["error"].is_string());
    let out = output(at.path(), &["predict", "run", "photos"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).starts_with("photos/broken.png: not an image"), "{}", text(&out.stderr));
    assert_eq!(text(&out.stdout).lines().count(), 2);
    assert!(fails(at.path(), &["predict", "run", "-"]).contains("standard input named none"));
    assert!(fails(at.path(), &["predict", "nowhere", "photos"]).contains("no such file or folder"));
}

#[test]
fn an_exported_network_comes_back_and_classifies_the_same() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    photos(at.path());
    let said = ok(at.path(), &["export", "run", "--format", "safetensors", "--out", "net.safetensors"]);
    assert!(
        said.starts_with("net.safetensors: resnet8 after 2 epochs, 10 classes, images of 32x32"),
        "{said}"
    );
    assert!(
        said.contains(" images       32x32 as they are; others: shorter side resized to 36, center crop"),
        "{said}"
    );
    assert!(!said.contains(" outputs "), "{said}");
    let said = ok(at.path(), &["export", "run", "--format", "onnx", "--out", "net.onnx", "--best"]);
    for line in [
        " images       32x32 as they are; others: shorter side resized to 36, center crop of 32x32; RGB pixels",
        " input        image: float32 [N, 3, 32, 32], RGB from 0 to 1\n",
        " outputs      logits, probabilities: float32 [N, 10]; class names in the metadata (classes)\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("net.onnx") && fs::metadata(at.path().join("net.onnx")).unwrap().len() > 4_000);
    let manifest: Value =
        serde_json::from_slice(&fs::read(at.path().join("run/checkpoints/last.json")).unwrap()).unwrap();
    let names: Vec<&str> =
        manifest["run"]["classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    fs::write(at.path().join("names.txt"), names.join("\n")).unwrap();
    let import = ["import", "net.safetensors", "--classes", "names.txt", "--normalise", "cifar10"];
    let said = ok(at.path(), &[&import[..], &["--out", "back"]].concat());
    assert!(said.contains("(47 tensors).") && said.contains("resnet8, 10 classes"), "{said}");
    // The same again is there already; another one is not put over it.
    let again = ok(at.path(), &[&import[..], &["--out", "back"]].concat());
    let told =
        |said: &str| said.lines().filter(|l| !l.contains("peak memory")).collect::<Vec<_>>().join("\n");
    assert_eq!(told(&again), told(&said));
    assert!(
        fails(at.path(), &[&import[..], &["--out", "back", "--size", "40"]].concat()).contains("not empty")
    );
    assert!(fails(at.path(), &[&import[..], &["--out", "photos"]].concat()).contains("not empty"));
    let evaluated = |run: &str| {
        let said = ok(at.path(), &["eval", run, "--data", "builtin", "--limit", "50", "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()["images"].clone()
    };
    assert_eq!(evaluated("back"), evaluated("run"));
    let found = parse(&ok(at.path(), &["predict", "back", "photos", "--json"]));
    assert!(found[0]["classes"][0]["class"].is_string());
}

#[test]
fn lists_of_classes_are_checked_before_a_classifier_is_given_up() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    ok(at.path(), &["export", "run", "--format", "safetensors", "--out", "net.safetensors"]);
    let list = |name: &str, text: String| fs::write(at.path().join(name), text).unwrap();
    let names: Vec<String> = (0..10).map(|i| format!("\"{i}\": [\"n{i}\", \"kind {i}\"]")).collect();
    list("names.json", format!("{{{}}}", names.join(", ")));
    list("eleven.txt", (0..11).map(|i| format!("kind {i}\n")).collect());
    list("hole.txt", (0..10).map(|i| if i == 3 { "\n".into() } else { format!("kind {i}\n") }).collect());
    let import = |more: &[&'static str]| [&["import", "net.safetensors", "--classes"], more].concat();
    assert!(ok(at.path(), &import(&["names.json", "--out", "a"])).contains("resnet8, 10 classes"));
    let manifest = fs::read_to_string(at.path().join("a/checkpoints/last.json")).unwrap();
    assert!(manifest.contains("\"kind 0\"") && manifest.contains("\"kind 9\""), "{manifest}");
    let message = fails(at.path(), &import(&["eleven.txt", "--out", "b"]));
    assert!(
        message.contains("has 10 classes, and 11 are named") && message.contains("--new-classifier"),
        "{message}"
    );
    assert!(!at.path().join("b").exists());
    let said = ok(at.path(), &import(&["eleven.txt", "--new-classifier", "--out", "b"]));
    assert!(said.contains("the classifier is new") && said.contains("11 classes"), "{said}");
    assert!(fails(at.path(), &import(&["hole.txt", "--out", "c"])).contains("line 4 is empty"));
}

/// The first and the last tensor that learn.
fn values(run: &Path) -> [Vec<f32>; 2] {
    let trained = mlaan::train::Trained::open(run, false).unwrap();
    let mut dict = mlaan::import::StateDict::open(trained.model_file().path()).unwrap();
    ["conv1.weight", "fc.bias"].map(|name| dict.read(name).unwrap())
}

#[test]
fn training_starts_from_weights_and_says_so() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&["--out", "run", "--quiet"]));
    ok(at.path(), &["export", "run", "--format", "safetensors", "--out", "net.safetensors"]);
    for (from, out) in [("run", "a"), ("net.safetensors", "b")] {
        let more = ["--init", from, "--out", out, "--set", "train.lr=0", "train.epochs=1"];
        let said = ok(at.path(), &train(&more));
        assert!(said.contains(&format!("Weights of {from} (47 tensors).")), "{said}");
        let events = metrics(&at.path().join(out));
        assert_eq!(events[0]["init"]["from"], from);
        assert_eq!(events[0]["init"]["new_classifier"], false);
        // At a rate of 0 all that learns stays as it was taken.
        assert_eq!(values(&at.path().join(out)), values(&at.path().join("run")));
        let recipe = fs::read_to_string(at.path().join(out).join("recipe.toml")).unwrap();
        assert!(recipe.contains(&format!("init = \"{from}\"")), "{recipe}");
    }
    let message = fails(at.path(), &train(&["--init", "run", "--set", "model.width=8", "--out", "c"]));
    assert!(
        message.contains("of another shape (conv1.weight [4, 3, 3, 3] instead of [8, 3, 3, 3]"),
        "{message}"
    );
    assert!(fails(at.path(), &train(&["--init", "nowhere.pth", "--out", "d"])).contains("nowhere.pth"));
}
