use super::*;
use crate::analyze::{Analysis, Studied};
use crate::compare::{CellOutcome, Comparison, Heading, Machine, Record, Store};
use crate::evaluation::{Evaluated, Meter};
use crate::train::RECIPE;
use crate::train::metrics::{Epoch, Event, Metrics, Start, Summary};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// A name that would be markup, were it not escaped.
const WILD: &str = "<script>alert('x')</script>&";

fn start() -> Start {
    let json = json!({"description": WILD, "seed": 3, "data": "cifar10", "train_images": 10, "test_images": 10,
        "device": "cpu", "planned_bytes": 5 << 20, "backpropagation_bytes": 9 << 20, "modules": 3, "parameters": 7, "version": "0.1.0"});
    serde_json::from_value(json).unwrap()
}

fn epochs(n: usize, error: f64) -> Vec<Epoch> {
    let epoch = |epoch| Epoch {
        epoch,
        train_loss: 2.0 / epoch as f64,
        train_error: error - epoch as f64,
        test_error: error - 0.5 * epoch as f64,
        module_errors: vec![error, f64::NAN, error / 2.0],
        peak_memory_bytes: None,
        peak_allocated_bytes: 3 << 20,
        seconds: 2.0,
        ..Epoch::default()
    };
    (1..=n).map(epoch).collect()
}

fn summary(n: usize, error: f64) -> Summary {
    Summary {
        epochs: n,
        test_error: error - 0.5 * n as f64,
        seconds: 60.0,
        peak_memory_bytes: None,
        peak_allocated_bytes: 3 << 20,
        ..Summary::default()
    }
}

/// A run's folder; without an end where it goes on.
fn run(folder: &Path, error: f64, ended: bool) {
    fs::create_dir_all(folder).unwrap();
    let mut metrics = Metrics::create(folder).unwrap();
    metrics.write(&Event::Start(start())).unwrap();
    for e in epochs(4, error) {
        metrics.write(&Event::Epoch(e)).unwrap();
    }
    if ended {
        metrics.write(&Event::End(summary(4, error))).unwrap();
    }
    fs::write(folder.join(RECIPE), format!("# {WILD}\nseed = 3\n")).unwrap();
}

/// What a run's network of `classes` classes was found to be worth: the last of so many images is taken for the next class.
fn evaluation(folder: &Path, classes: usize, of: usize) {
    let mut meter = Meter::new(classes, 6 * classes, 2);
    for i in 0..6 * classes {
        let (label, guess) = (i % classes, if i % of == of - 1 { (i + 1) % classes } else { i % classes });
        let logits: Vec<f32> = (0..classes).map(|c| if c == guess { 3.0 } else { 0.0 }).collect();
        meter.add(i, &logits, label);
    }
    let names: Vec<String> = (0..classes).map(|c| format!("{WILD} {c}")).collect();
    let found = meter.finish(&names, &|_| Some(format!("{WILD}.jpg")));
    Evaluated { epoch: 4, data: WILD.into(), found }.write(folder).unwrap();
}

/// A comparison of two methods with two seeds, as `compare` leaves it.
fn comparison(folder: &Path) {
    let heading = |name: &str| Heading { name: name.into(), title: name.to_uppercase() };
    let store = Store::new(folder);
    let mut cells = Vec::new();
    for (name, error) in [("bp", 30.0), ("dgl", 40.0)] {
        for seed in 0..2 {
            let record = Record {
                format: 1,
                cell: name.into(),
                seed,
                start: Some(start()),
                machine: Some(Machine { device: "cpu".into(), ..Machine::default() }),
                planned_bytes: Some(4 << 20),
                summary: summary(3, error),
                epochs: epochs(3, error + seed as f64),
                recipe: "seed = 0\n".into(),
            };
            store.keep(&record).unwrap();
        }
        cells.push(cell(name, error));
    }
    let found = Comparison {
        format: 1,
        version: "0.1.0".into(),
        name: "small".into(),
        title: format!("A small table {WILD}"),
        source: "the paper's table 1".into(),
        measure: Default::default(),
        changes: vec!["train.epochs=3".into()],
        what: vec!["mine.toml".into()],
        seeds: vec![0, 1],
        against: Some("bp".into()),
        rows: vec![heading("bp"), heading("dgl")],
        columns: vec![heading("one")],
        cells,
    };
    found.write(folder).unwrap();
}

fn cell(name: &str, error: f64) -> CellOutcome {
    let run = |seed: u64| {
        json!({"seed": seed, "state": "done", "epochs": 3, "test_error": error, "best_test_error": error, "best_epoch": 3,
            "seconds": 6.0, "peak_bytes": 3 << 20, "planned_bytes": 4 << 20, "record": null, "error": null})
    };
    let moments = json!({"n": 2, "mean": error, "sd": 0.5});
    let json = json!({
        "name": name, "row": name, "columns": ["one"], "recipe": "seed = 0\n",
        "cost": {"modules": 1, "parameters": 7, "auxiliary_parameters": 0, "memory_bytes": 1000, "plain_memory_bytes": 1000,
            "flops": 1.0, "plain_flops": 1.0, "test_flops": 1.0, "batch": 5, "epochs": 3, "images": null},
        "runs": [run(0), run(1)], "test_error": moments, "best_test_error": moments, "seconds": moments,
        "peak_bytes": 3 << 20, "step": null, "paper": 14.08, "to_paper": error - 14.08,
        "to_plain": {"seconds": 1.0, "peak_bytes": 1.0, "memory": 1.0, "operations": 1.0},
        "test": {"n": 2, "difference": 10.0, "sd": 0.5, "t": 28.0, "p": 0.02, "p_holm": 0.02, "half_width": 4.5},
    });
    serde_json::from_value(json).unwrap()
}

/// An analysis of one checkpoint, with a picture.
fn analysis(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let place = |i: usize| json!({"place": i, "name": format!("layer{i}"), "channels": 4, "module": i, "module_end": true});
    let probed = |i: usize| {
        let mut p = place(i);
        for (key, value) in [
            ("features", json!(4)),
            ("loss", json!(0.5)),
            ("train_error", json!(1.0)),
            ("test_error", json!(55.5)),
            ("iterations", json!(3)),
            ("converged", json!(true)),
        ] {
            p[key] = value;
        }
        p
    };
    let subject: Studied = serde_json::from_value(json!({
        "name": WILD, "path": "runs/a", "epoch": 4, "test_error": 20.0, "recipe": "", "places": [place(0), place(1)],
        "separability": {"grid": 1, "c": 1.0, "train_images": 10, "test_images": 10, "places": [probed(0), probed(1)]},
        "cka": {"against": "bp", "minibatch": 4, "images": 8, "places": [place(0)], "against_places": [place(0)],
            "matrix": [[0.75]], "mean": 0.75},
        "heads": {"images": 10, "modules": [{"module": 0, "name": "layer0", "place": 0, "independent": 33.25, "cascaded": null}]},
    }))
    .unwrap();
    let mut report = Analysis::new("cifar10", [10, 10]);
    report.subjects.push(subject);
    report.features = serde_json::from_value::<Vec<_>>(json!([
        {"image": "0", "label": "cat", "predictions": ["dog"], "file": "features-0.png"}
    ]))
    .unwrap();
    report.write(&folder.join("analysis.json")).unwrap();
    fs::write(folder.join("features-0.png"), b"\x89PNG made up").unwrap();
}

/// Everything that a page may hold.
fn page() -> String {
    let at = tempfile::tempdir().unwrap();
    comparison(&at.path().join("small"));
    for (seed, of) in [("seed-0", 3), ("seed-1", 2)] {
        let folder = at.path().join("small/bp").join(seed);
        fs::create_dir_all(&folder).unwrap();
        evaluation(&folder, 4, of);
    }
    analysis(&at.path().join("small/bp/seed-0/analysis"));
    run(&at.path().join("runs/mine/seed-0"), 50.0, true);
    run(&at.path().join("runs/mine/seed-1"), 52.0, true);
    run(&at.path().join("runs/other"), 60.0, false);
    evaluation(&at.path().join("runs/mine/seed-1"), 4, 3);
    evaluation(&at.path().join("runs/other"), 500, 3);
    let bench = json!({"machine": {"text": "a machine"}, "memory": [{"recipe": "bp-resnet110", "precision": "f32", "batch": 128,
        "mlaan": {"planned_bytes": 850_000_000_u64, "resident_bytes": 852_000_000_u64}, "pytorch": {"channels last": 1_268_000_000_u64}}]});
    fs::write(at.path().join("memory.json"), bench.to_string()).unwrap();
    let paths = ["small", "runs", "memory.json"].map(|p| at.path().join(p));
    let material = Material::gather(&paths).unwrap();
    assert_eq!((material.comparisons.len(), material.analyses.len(), material.measured.len()), (1, 1, 1));
    let runs: Vec<(&str, usize)> = material.groups.iter().map(|g| (g.name.as_str(), g.runs.len())).collect();
    assert_eq!(runs, [("mine", 2), ("other", 1)]);
    assert_eq!(material.all_groups().map(|g| g.runs.len()).sum::<usize>(), 7);
    material.page(WILD, "2026-01-31").unwrap()
}

#[test]
fn a_page_has_all_sections_and_loads_nothing() {
    let page = page();
    for word in [
        "A small table",
        "14.08",
        "paper 85.92 %, -15.92 to it",
        "What the methods are",
        "DGL is 10.0 ± 0.5 points behind BP at 1.00x its tensor memory and 1.00x its time; two seeds tell them apart (p\u{a0}=\u{a0}0.02).",
        "measured 60.00 ± 0.50 %",
        "Test error against BP",
        "BP: test accuracy 58.33 ± 11.79 %, 2 seeds",
        ">33.33 ± 47.14<",
        " 2 (66.7 %)<",
        "the right one on the diagonal, mean over 2 seeds.",
        "Confusion, BP (images, sum over 2 seeds)",
        "Confusion, mine",
        "accuracy 66.67 % of 24 images",
        "The first of its 2 runs.",
        "Calibration, mine",
        "Mistakes with the highest loss, mine",
        "Confusion, other: the pairs with most images",
        "the 100 of 500 classes with the lowest recall",
        "weighted average",
        "Linear separability",
        "55.50",
        "Linear CKA",
        "Mean over equal depths: 0.750",
        "33.25",
        "Feature maps of image 0 (cat)",
        "data:image/png;base64,iVBORyBtYWRlIHVw",
        "planned 4.00 MiB",
        "backpropagation, planned 9.00 MiB",
        "PyTorch, channels last",
        "1 not ended",
        "mlaan compare mine.toml --seeds 2 --set train.epochs=3",
        "mlaan train recipe.toml",
        "Configurations and versions",
        "2026-01-31",
    ] {
        // `cargo` prints a page of a megabyte otherwise.
        assert!(page.contains(word), "{word} is missing");
    }
    assert!(!page.contains("DGL: test accuracy"), "none of its runs kept an evaluation");
    for outside in ["http://", "https://", "<script", "src=\"/", "@import", "url("] {
        let found = page.match_indices(outside).map(|(i, _)| &page[i..page.len().min(i + 60)]);
        let found: Vec<&str> = found.filter(|f| !f.starts_with("http://www.w3.org/2000/svg")).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn a_page_is_well_formed_and_escapes_what_it_is_given() {
    let page = page();
    assert!(page.contains("&lt;script&gt;alert"), "names are shown");
    let (mut open, mut ids, mut rest) = (Vec::new(), Vec::new(), page.as_str());
    while let Some(begin) = rest.find('<') {
        rest = &rest[begin + 1..];
        let tag = &rest[..rest.find('>').unwrap()];
        let name: String = tag.trim_start_matches('/').chars().take_while(|c| c.is_alphanumeric()).collect();
        let is_void = ["meta", "link", "img", "DOCTYPE"].contains(&name.as_str());
        if let Some(id) = tag.split(" id=\"").nth(1) {
            ids.push(id.split('"').next().unwrap().to_owned());
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') && !tag.starts_with('!') && !is_void {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let n = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), n, "ids are unique");
    for link in page.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert!(ids.iter().any(|i| i == id), "{id}");
    }
    // For those who do not see it.
    for (what, needs) in
        [("<svg", "<title>"), ("<table", "<caption>"), ("<figure", "<figcaption>"), ("<img", "alt=\"")]
    {
        assert!(page.matches(what).count() > 0);
        assert!(page.matches(needs).count() >= page.matches(what).count(), "{what}");
    }
}

#[test]
fn a_damaged_evaluation_is_named() {
    let at = tempfile::tempdir().unwrap();
    run(&at.path().join("a"), 50.0, true);
    fs::write(at.path().join("a/evaluation.json"), "{\"epoch\": 1}").unwrap();
    let error = Material::gather(&[at.path().into()]).unwrap_err().to_string();
    assert!(error.contains("evaluation.json") && error.contains("is no evaluation"), "{error}");
}

#[test]
fn folders_that_hold_nothing_are_named() {
    let at = tempfile::tempdir().unwrap();
    let error = |path: &Path| Material::gather(&[path.to_path_buf()]).unwrap_err().to_string();
    assert!(error(at.path()).contains("holds no run"), "{}", error(at.path()));
    assert!(error(&at.path().join("gone")).contains("there is no such file or folder"));
    let file = at.path().join("a.json");
    fs::write(&file, "{").unwrap();
    assert!(error(&file).contains("is not JSON"), "{}", error(&file));
    fs::write(&file, Value::Null.to_string()).unwrap();
    assert!(error(&file).contains("holds no run"));
}

#[test]
fn pictures_come_from_the_analysis_folder_only() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("analysis");
    analysis(&folder);
    fs::write(at.path().join("secret.png"), b"elsewhere").unwrap();
    let path = folder.join("analysis.json");
    let text = fs::read_to_string(&path).unwrap().replace("features-0.png", "../secret.png");
    fs::write(&path, text).unwrap();
    assert!(Material::gather(&[folder]).is_err(), "there is no secret.png beside the analysis");
}

#[test]
fn nothing_gives_a_page_without_sections() {
    let group = Group::default();
    assert!(group.curve(|e| e.test_error).is_empty() && group.modules().is_empty());
    assert!(!Material::default().page("nothing", "2026-01-31").unwrap().contains("<section"));
}

#[test]
fn what_is_no_run_is_no_run() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("odd");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("metrics.jsonl"), "garbage\n").unwrap();
    let message = Material::gather(&[at.path().into()]).unwrap_err().to_string();
    assert!(message.contains("metrics.jsonl") && message.contains("no event"), "{message}");
}

#[test]
fn epochs_that_nobody_trained_take_no_time() {
    let of = |epochs: &mut dyn Iterator<Item = usize>| {
        let epoch =
            |epoch| Epoch { epoch, test_error: 50.0, module_errors: vec![1.0, 2.0], ..Epoch::default() };
        let run = Run { epochs: epochs.map(epoch).collect(), ..Run::default() };
        Group { name: "odd".into(), runs: vec![run.clone(), run] }
    };
    let huge = of(&mut [1, 2, 10_000_000_000, usize::MAX].into_iter());
    let curve = huge.curve(|e| e.test_error);
    assert_eq!(curve.iter().map(|p| p.0).collect::<Vec<_>>(), [1.0, 2.0, 1e10, usize::MAX as f64]);
    let many = of(&mut (1..=100_000));
    let page =
        Material { groups: vec![huge, many], ..Material::default() }.page("odd", "2026-01-31").unwrap();
    assert!(page.contains("(one of ") && page.len() < 30 << 20, "{} bytes", page.len());
}

#[test]
fn commands_to_repeat_are_quoted_and_pages_hold_no_control_characters() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("-a $(b) \u{1b}[2J");
    comparison(&folder);
    let material = Material::gather(&[folder]).unwrap();
    let page = material.page("t\u{9b}\u{202e}", "2026-01-31").unwrap();
    assert!(
        page.contains(r"-a $(b) \x1b[2J&#39;") || page.contains(r"-a $(b) \x1b[2J'"),
        "the folder is quoted"
    );
    assert!(!page.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
}
