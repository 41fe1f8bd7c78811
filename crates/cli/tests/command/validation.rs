//! Validation from the command line: shares, what is said of them, and evaluation of every split.

use crate::common::{fails, metrics, ok, output, summary, text, train};
use image::{Rgb, RgbImage};
use serde_json::Value;
use std::path::Path;

fn eval(at: &Path, more: &[&str]) -> Value {
    let args = [&["eval", "a", "--json"], more].concat();
    serde_json::from_str(&ok(at, &args)).unwrap()
}

#[test]
fn a_share_is_held_out_said_and_evaluated() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&["--validation", "0.2", "--out", "a"]));
    assert!(said.contains("160 training, 40 validation and 200 test images"), "{said}");
    assert!(said.contains("lowest validation error; test images are used once, at the end"), "{said}");
    assert!(said.contains(" val %  ") && said.contains("the best by its validation accuracy of"), "{said}");
    let run = at.path().join("a");
    let events = metrics(&run);
    assert_eq!((&events[0]["train_images"], &events[0]["val_images"]), (&160.into(), &40.into()));
    let epochs: Vec<&Value> = events.iter().filter(|e| e["event"] == "epoch").collect();
    assert_eq!(epochs.len(), 2);
    for epoch in &epochs {
        let (error, accuracy) =
            (epoch["val_error"].as_f64().unwrap(), epoch["val_accuracy"].as_f64().unwrap());
        assert!((error + accuracy - 100.0).abs() < 1e-9);
        assert!(epoch.get("test_error").is_none(), "{epoch}");
    }
    let summary = summary(&run);
    assert_eq!(summary["val_error"], epochs[1]["val_error"]);
    // Each split is what the run used.
    assert_eq!(eval(at.path(), &[])["error"], summary["test_error"]);
    assert_eq!(eval(at.path(), &["--best"])["error"], summary["best_test_error"]);
    let validation = eval(at.path(), &["--split", "val"]);
    let said = (&validation["error"], &validation["images"], &validation["split"]);
    assert_eq!(said, (&summary["val_error"], &40.into(), &"val".into()));
    assert_eq!(eval(at.path(), &["--split", "val", "--best"])["error"], summary["best_val_error"]);
    assert_eq!(eval(at.path(), &["--split", "train"])["images"], 160);
    // The report has the numbers of the test at the end.
    ok(at.path(), &["report", "a", "--out", "page.html"]);
    let page = std::fs::read_to_string(at.path().join("page.html")).unwrap();
    let row = page.split("<tr>").skip(1).find(|row| row.contains(">a</") && row.contains("builtin"));
    let shown = |key: &str| format!("{:.2}", summary[key].as_f64().unwrap());
    for key in ["test_accuracy", "best_test_accuracy", "test_loss", "test_top5_accuracy"] {
        assert!(row.is_some_and(|row| row.contains(&shown(key))), "{key} {}: {row:?}", shown(key));
    }
    assert!(row.is_some_and(|row| !row.contains('–')), "{row:?}");
    // Fewer of the split, not other ones.
    assert_eq!(eval(at.path(), &["--split", "val", "--limit", "10"])["images"], 10);
    let shown = ok(at.path(), &["eval", "a", "--split", "val"]);
    assert!(shown.contains("40 validation images"), "{shown}");
    // Of so few training images none could be held out: test images do not ask for it.
    assert_eq!(eval(at.path(), &["--limit", "10"])["images"], 10);
    // The same run once more, in two parts.
    let again = ok(at.path(), &["train", "--resume", "--out", "a"]);
    assert!(again.contains("finished already") && again.contains("validation accuracy of"), "{again}");
    assert!(
        fails(at.path(), &["train", "--resume", "--out", "a", "--validation", "0.3"])
            .contains("data.validation is 0.2, not 0.3")
    );
}

#[test]
fn a_share_is_of_the_images_that_would_train() {
    let at = tempfile::tempdir().unwrap();
    // Two of each class: a fifth of them is four, not one of each class.
    let args = ["--set", "data.limit=20", "train.lr=0.1", "--validation", "0.2", "--out", "a"];
    let run: Vec<&str> = [&train(&[])[..], &args].concat();
    let run: Vec<&str> = run.into_iter().filter(|arg| *arg != "--limit" && *arg != "200").collect();
    let said = ok(at.path(), &run);
    assert!(said.contains("16 training, 4 validation and 20 test images"), "{said}");
    let planned = |more: &[&str]| -> Value {
        let args = ["plan", "bp-resnet8", "--json", "--batch", "100", "--set", "data.limit=50"];
        serde_json::from_str(&ok(at.path(), &[&args[..], more].concat())).unwrap()
    };
    assert_eq!(planned(&[])["lr"]["batch"], 50);
    assert_eq!(planned(&["--validation", "0.2"])["lr"]["batch"], 40);
}

#[test]
fn without_validation_images_it_is_said_once_what_chooses_the_best_epoch() {
    let at = tempfile::tempdir().unwrap();
    let said = ok(at.path(), &train(&["--out", "a"]));
    let line = "the epoch with the lowest test error, as there are no validation images (--validation 0.1 holds some out)";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    assert!(fails(at.path(), &["eval", "a", "--split", "val"]).contains("there are no validation images"));
}

#[test]
fn shares_are_refused_where_they_are_none() {
    let at = tempfile::tempdir().unwrap();
    for command in ["train", "plan"] {
        for share in ["1", "-0.1", "1.5", "nan"] {
            let said = fails(at.path(), &[command, "--validation", share]);
            assert!(said.contains("data.validation"), "{command} {share}: {said}");
        }
        let found = output(at.path(), &[command, "--validation", "ten"]);
        assert!(found.status.code() == Some(2) && text(&found.stderr).contains("not a number"));
    }
    ok(at.path(), &["plan", "--validation", "0.1"]);
}

#[test]
fn class_folders_without_splits_are_inspected_trained_and_compared() {
    let at = tempfile::tempdir().unwrap();
    for (c, class) in ["cat", "dog"].into_iter().enumerate() {
        let folder = at.path().join("flat").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..20u8 {
            RgbImage::from_pixel(16, 16, Rgb([c as u8 * 100, 10 * i, 40]))
                .save(folder.join(format!("{i}.png")))
                .unwrap();
        }
    }
    let inspected = output(at.path(), &["data", "inspect", "flat"]);
    let (said, note) = (text(&inspected.stdout), text(&inspected.stderr));
    assert!(
        said.contains(" test        8 images") && note.contains("20 % of every class are held out"),
        "{said}{note}"
    );
    // Any recipe holds them out, too, and the run keeps it.
    let small = ["bp-resnet8", "--set", "model.width=4", "--size", "16", "--batch", "8", "--data", "flat"];
    let named = [&["train"], &small[..], &["--epochs", "1", "--threads", "1", "--out", "held"]].concat();
    for args in [named.clone(), [&["plan"], &small[..]].concat(), [&["bench"], &small[..]].concat()] {
        let done = output(at.path(), &args);
        let said = text(&done.stderr);
        assert!(
            done.status.success() && said.contains("20 % of every class are held out"),
            "{args:?}: {said}"
        );
    }
    let recipe = std::fs::read_to_string(at.path().join("held/recipe.toml")).unwrap();
    assert!(recipe.contains("test = 0.2"), "{recipe}");
    ok(at.path(), &[&named[..], &["--resume"]].concat());
    let shares = ["data", "inspect", "flat", "--test", "0.2", "--validation", "0.1"];
    let said = ok(at.path(), &shares);
    for words in [" training    29 images", " validation  3 images", " test        8 images"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json: Value = serde_json::from_str(&ok(at.path(), &[&shares[..], &["--json"]].concat())).unwrap();
    assert_eq!((&json["validation"]["images"], &json["problem_count"]), (&3.into(), &0.into()));
    let set = [
        "--data",
        "flat",
        "--size",
        "16",
        "--validation",
        "0.1",
        "--test",
        "0.2",
        "--set",
        "train.patience=1",
    ];
    let run = [&train(&["--out", "a"])[..], &set].concat();
    let run: Vec<&str> = run.into_iter().filter(|arg| *arg != "--limit" && *arg != "200").collect();
    let said = ok(at.path(), &run);
    assert!(
        said.contains("29 training, 3 validation and 8 test images")
            && said.contains("ends after 1 epoch without"),
        "{said}"
    );
    assert_eq!(eval(at.path(), &["--split", "test"])["images"], 8);
}

#[test]
fn a_comparison_chooses_by_validation_and_says_so() {
    let at = tempfile::tempdir().unwrap();
    let suite = "title = \"t\"\nset = [\"train.epochs=2\", \"data.limit=100\", \"train.batch=50\", \"model.width=4\"]\n\
                 rows = [{ name = \"bp\", recipe = \"bp-resnet8\" }]\n";
    std::fs::write(at.path().join("s.toml"), suite).unwrap();
    let args =
        ["compare", "s.toml", "--data", "builtin", "--seeds", "2", "--out", "c", "--validation", "0.2"];
    let said = ok(at.path(), &args);
    assert!(said.contains("by validation") && said.contains("lowest validation error"), "{said}");
    let table: Value =
        serde_json::from_slice(&std::fs::read(at.path().join("c/compare.json")).unwrap()).unwrap();
    let runs = table["cells"][0]["runs"].as_array().unwrap();
    for run in runs {
        let seed = run["seed"].as_u64().unwrap();
        let summary = summary(
            &at.path()
                .join(format!("c/bp-resnet8/seed-{seed}"))
                .canonicalize()
                .unwrap_or_else(|_| at.path().join(format!("c/bp/seed-{seed}"))),
        );
        assert_eq!(
            (&run["best_test_error"], &run["best_val_error"]),
            (&summary["best_test_error"], &summary["best_val_error"])
        );
    }
    // Seeds validate on images of their own.
    assert!(ok(at.path(), &args).contains("2 done before"));
}
