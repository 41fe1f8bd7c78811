//! `mlaan eval`: what it counts, lists and writes, and that a run keeps the same.

use crate::common::{epochs, fails, ok, summary, train};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn evaluated(at: &Path, more: &[&str]) -> Value {
    serde_json::from_str(&ok(at, &[&["eval", "runs/quickstart", "--json"], more].concat())).unwrap()
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Rows of a CSV without quotes.
fn rows(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn a_run_keeps_what_eval_finds() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&[]));
    let run = at.path().join("runs/quickstart");
    let found = evaluated(at.path(), &["--mistakes", "20", "--threads", "2", "--batch", "7"]);
    let kept = read(&run.join("evaluation.json"));
    assert_eq!((&kept["epoch"], &kept["data"]), (&2.into(), &"builtin".into()));
    for key in [
        "images",
        "accuracy",
        "error",
        "top5_accuracy",
        "top5_error",
        "loss",
        "calibration_error",
        "calibration",
        "undefined",
        "macro_average",
        "weighted_average",
        "classes",
        "confusion",
        "mistakes",
    ] {
        assert!(!found[key].is_null() && found[key] == kept[key], "{key}: {} {}", found[key], kept[key]);
    }
    let (last, end) = (epochs(&run, &[]).remove(1), summary(&run));
    for (of_epoch, of_eval) in [
        ("test_accuracy", "accuracy"),
        ("test_error", "error"),
        ("test_loss", "loss"),
        ("test_top5_accuracy", "top5_accuracy"),
    ] {
        assert_eq!((&last[of_epoch], &end[of_epoch]), (&found[of_eval], &found[of_eval]), "{of_epoch}");
    }
    let number = |value: &Value| value.as_f64().unwrap();
    assert!((number(&found["accuracy"]) + number(&found["error"]) - 100.0).abs() < 1e-9);
    assert!((number(&last["train_accuracy"]) + number(&last["train_error"]) - 100.0).abs() < 1e-9);
    assert!((number(&end["best_test_accuracy"]) + number(&end["best_test_error"]) - 100.0).abs() < 1e-9);
    // Every image stands in the matrix, and the right ones on its diagonal.
    let pairs = found["confusion"].as_array().unwrap();
    let sum = |of: &dyn Fn(&Value) -> bool| -> u64 {
        pairs.iter().filter(|p| of(p)).map(|p| p[2].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&|_| true), 200);
    assert_eq!(sum(&|p| p[0] == p[1]) as f64, 2.0 * number(&found["accuracy"]));
    let mistakes = found["mistakes"].as_array().unwrap();
    let losses: Vec<f64> = mistakes.iter().map(|m| number(&m["loss"])).collect();
    assert!(mistakes.len() == 20 && losses.windows(2).all(|w| w[0] >= w[1]), "{losses:?}");
    assert!(mistakes.iter().all(|m| m["class"] != m["predicted"] && m["image"].is_null()));
    // A run that is gone on with keeps its newest.
    ok(at.path(), &["train", "--resume", "--out", "runs/quickstart", "--epochs", "3", "--threads", "1"]);
    assert_eq!(read(&run.join("evaluation.json"))["epoch"], 3);
}

#[test]
fn a_run_that_was_killed_behind_its_last_epoch_is_evaluated_again() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&[]));
    let run = at.path().join("runs/quickstart");
    let kept = fs::read(run.join("evaluation.json")).unwrap();
    for file in ["evaluation.json", "summary.json"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    ok(at.path(), &["train", "--resume", "--out", "runs/quickstart", "--threads", "1"]);
    assert_eq!(fs::read(run.join("evaluation.json")).unwrap(), kept);
    assert!(run.join("summary.json").exists());
}

#[test]
fn eval_shows_accuracy_first_and_fits_eighty_columns() {
    let at = tempfile::tempdir().unwrap();
    ok(at.path(), &train(&[]));
    let said = ok(at.path(), &["eval", "runs/quickstart", "--mistakes", "3", "--confusion", "c.csv"]);
    let place = |word: &str| said.find(word).unwrap_or_else(|| panic!("{word} is missing:\n{said}"));
    assert!(place(" accuracy ") < place(" error "), "{said}");
    for word in [
        "top-5 accuracy",
        " loss ",
        " ECE ",
        "precision",
        "macro average",
        "weighted average",
        "Confusion, images",
        "Mistakes with the highest loss",
        "number ",
        " written            c.csv (the confusion matrix)",
    ] {
        place(word);
    }
    assert!(said.lines().all(|l| l.chars().count() <= 80), "{said}");
    let csv = fs::read_to_string(at.path().join("c.csv")).unwrap();
    let rows = rows(&csv);
    let found = evaluated(at.path(), &[]);
    assert!(found["confusion_file"].is_null());
    assert_eq!(evaluated(at.path(), &["--confusion", "d.csv"])["confusion_file"], "d.csv");
    let names: Vec<&str> =
        found["classes"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(rows[0][1..], names);
    assert_eq!(rows[1..].iter().map(|r| r[0]).collect::<Vec<_>>(), names);
    for pair in found["confusion"].as_array().unwrap() {
        let [class, predicted] = [0, 1].map(|i| pair[i].as_u64().unwrap() as usize);
        assert_eq!(rows[class + 1][predicted + 1], pair[2].to_string());
    }
    let all: u64 = rows[1..].iter().flat_map(|r| &r[1..]).map(|n| n.parse::<u64>().unwrap()).sum();
    assert_eq!(all, 200);
    assert!(found["mistakes"].as_array().unwrap().is_empty(), "none was asked for");
}

#[test]
fn a_matrix_that_cannot_be_written_is_told_before_the_evaluation() {
    let at = tempfile::tempdir().unwrap();
    fs::create_dir(at.path().join("folder")).unwrap();
    let message = |out: &str| fails(at.path(), &["eval", "nowhere", "--confusion", out]);
    assert!(message("folder").contains("folder: this is a folder"));
    assert!(message("gone/c.csv").contains("gone: there is no such folder"));
    assert!(message("c.csv").contains("nowhere"));
}

/// Pictures of two classes, of one colour each; the test pictures of the second class are of the first one's colour.
fn pictures(root: &Path) {
    for (split, colours) in [("train", [10, 240]), ("test", [10, 10])] {
        for (class, colour) in ["dark", "light"].into_iter().zip(colours) {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for i in 0..4u8 {
                let pixel = image::Rgb([colour, colour, colour + i]);
                image::RgbImage::from_pixel(16, 16, pixel)
                    .save(folder.join(format!("{class}-{i}.png")))
                    .unwrap();
            }
        }
    }
}

#[test]
fn mistakes_are_known_by_their_files_in_memory_and_on_disk() {
    let at = tempfile::tempdir().unwrap();
    pictures(&at.path().join("set"));
    for load in ["memory", "stream"] {
        let set = format!("data.load={load}");
        let args =
            ["train", "bp-resnet8", "--data", "set", "--epochs", "4", "--batch", "4", "--threads", "1"];
        let more = [
            "--out",
            load,
            "--set",
            &set,
            "model.width=4",
            "train.lr=0.05",
            "train.warmup=0",
            "data.size=16",
        ];
        ok(at.path(), &[&args[..], &more].concat());
        let said = ok(at.path(), &["eval", load, "--mistakes", "50", "--json"]);
        let found: Value = serde_json::from_str(&said).unwrap();
        let mistakes = found["mistakes"].as_array().unwrap();
        // Test pictures of both classes look the same, so at least half of them are wrong.
        assert!(mistakes.len() >= 4, "{said}");
        for m in mistakes {
            let image = m["image"].as_str().unwrap();
            let class = m["class"].as_str().unwrap();
            assert!(image.ends_with(".png") && image.contains(&format!("set/test/{class}/{class}-")), "{m}");
        }
        // The run keeps the same names, and so does its report.
        let kept = read(&at.path().join(load).join("evaluation.json"));
        assert_eq!(kept["mistakes"], found["mistakes"]);
        ok(at.path(), &["report", load, "--out", "page.html"]);
        let page = fs::read_to_string(at.path().join("page.html")).unwrap();
        // By their place in the set: where that lies is nobody's business who gets the page.
        let inside = mistakes[0]["image"].as_str().unwrap().strip_prefix("set/").unwrap();
        assert!(page.contains(&format!(">{inside}<")) && !page.contains("number 0"), "{inside}");
        let said = ok(at.path(), &["eval", load, "--mistakes", "1"]);
        assert!(said.contains(".png") && !said.contains("top-5"), "{said}");
    }
    // A name is not broken, however narrow the terminal.
    let long = format!("{} {}.png", "a".repeat(40), "b".repeat(40));
    for class in ["dark", "light"] {
        let folder = at.path().join("set/test").join(class);
        fs::rename(folder.join(format!("{class}-0.png")), folder.join(&long)).unwrap();
    }
    let args = ["eval", "memory", "--mistakes", "50"];
    let out = crate::common::mlaan(at.path(), &args).env("COLUMNS", "60").output().unwrap();
    let said = crate::common::text(&out.stdout);
    assert!(said.lines().any(|line| line.ends_with(&format!("/{long}"))), "{said}");
}

#[test]
fn other_images_without_a_test_split_are_tested_on_in_part() {
    let at = tempfile::tempdir().unwrap();
    for set in ["set", "other"] {
        for class in ["cat", "dog"] {
            let folder =
                at.path().join(set).join(if set == "set" { class.into() } else { format!("{class}fish") });
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..10u8 {
                let pixel = |x: u32, y: u32| image::Rgb([x as u8, y as u8, 20 * i]);
                image::RgbImage::from_fn(16, 16, pixel).save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    let train = [
        "train",
        "bp-resnet8",
        "--data",
        "set",
        "--test",
        "0.5",
        "--epochs",
        "1",
        "--batch",
        "5",
        "--threads",
        "1",
    ];
    ok(at.path(), &[&train[..], &["--set", "train.warmup=0"]].concat());
    let run = "runs/bp-resnet8";
    // The run's own share is a recipe's; of others it is a fifth, or what is asked for.
    let copied = |name: &str| {
        for class in ["cat", "dog"] {
            let to = at.path().join(name).join(class);
            std::fs::create_dir_all(&to).unwrap();
            for i in 0..10 {
                let file = format!("{i}.png");
                std::fs::copy(at.path().join("set").join(class).join(&file), to.join(&file)).unwrap();
            }
        }
    };
    copied("again");
    let images = |args: &[&str]| {
        let found = ok(at.path(), &[&["eval", run, "--json", "--threads", "1"][..], args].concat());
        let found: Value = serde_json::from_str(&found).unwrap();
        found["images"].as_u64().unwrap()
    };
    assert_eq!((images(&[]), images(&["--data", "again", "--test", "0.3"])), (10, 6));
    // Of its own it has trained on all that it did not hold out.
    let said = crate::common::fails(at.path(), &["eval", run, "--data", "set", "--test", "0.8"]);
    assert!(said.contains("the run's own images"), "{said}");
    let out = crate::common::output(at.path(), &["eval", run, "--test", "0.8"]);
    assert!(out.status.code() == Some(2) && crate::common::text(&out.stderr).contains("--data"));
    // That their classes are others is what is wrong, not their splits.
    let said = crate::common::fails(at.path(), &["eval", run, "--data", "other", "--threads", "1"]);
    assert!(
        said.contains("its classes are not those of the checkpoint") && said.contains("catfish"),
        "{said}"
    );
}
