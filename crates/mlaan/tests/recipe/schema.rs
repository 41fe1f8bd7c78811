//! What recipes may hold, as it is listed for people and for editors.

use crate::common::python::python;
use mlaan::recipe::{KEYS, Recipe, builtin, json_schema, recipes};
use serde_json::{Value, json};

/// The schema of the key or table at `path`, without the words that remove it.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(schema, |s, name| {
        let s = s.get("properties").unwrap_or_else(|| &s["anyOf"][0]["properties"]);
        s.get(name).unwrap_or_else(|| panic!("{path}: no {name}"))
    })
}

#[test]
fn every_key_has_type_default_and_meaning() {
    let schema = json_schema();
    for key in KEYS {
        let s = at(&schema, key.path);
        assert_eq!(s["description"], json!(key.help));
        assert_eq!(
            s.get("anyOf").is_some_and(|a| a[1] == json!({"enum": ["none", "off"]})),
            key.optional,
            "{}",
            key.path
        );
        assert_eq!(s.get("default").is_some(), !key.optional, "{}", key.path);
        assert!(!key.expects().is_empty() && !key.help.is_empty());
        assert_eq!(key.default_text().is_some(), !key.optional, "{}", key.path);
    }
    assert_eq!(at(&schema, "train.lr")["default"], json!(0.8));
    assert_eq!(at(&schema, "local.cascade.span")["default"], json!(2));
    assert_eq!(at(&schema, "local.leap.tie")["enum"], json!(["pulled", "twin", "untied"]));
    assert_eq!(schema["properties"]["train"]["additionalProperties"], json!(false));
    assert!(schema["properties"]["extends"]["anyOf"].is_array());
}

#[test]
fn the_defaults_that_are_listed_can_be_set() {
    let mut r = Recipe::default();
    r.set_all(["local.modules=4", "local.cascade=on", "local.leap=on"]).unwrap();
    for key in KEYS {
        let default = key.default_text().unwrap_or_else(|| "none".into());
        r.set(&format!("{}={default}", key.path)).unwrap_or_else(|e| panic!("{e}"));
    }
    r.set_all(["local.cascade=none", "local.leap=none"]).unwrap();
    assert_eq!(r, Recipe::default());
}

/// A value that `--set` takes for a key, other than its default.
fn another(path: &str) -> &'static str {
    match path {
        "description" | "data.source" => "elsewhere",
        "model.backbone" => "resnet20",
        "model.family" => "cifar",
        "local.stem_alone" | "local.balance" | "data.skip_broken" | "train.full_warmup"
        | "train.per_step" => "true",
        "train.nesterov" => "false",
        "train.milestones" => "[3, 6]",
        "train.gamma" | "train.min_lr" | "train.decay_fraction" | "train.model_ema_decay" => "0.25",
        "local.cuts" => "[0, 3]",
        "local.recompute" => "module",
        "local.offload" => "auxiliary",
        "local.head" => "0c1f",
        "local.loss" => "contrastive",
        "local.temperature" | "train.momentum" | "train.eps" | "local.leap.ema" => "0.25",
        "data.random_erasing" | "data.mixup" | "data.cutmix" | "data.validation" | "data.test" => "0.25",
        "local.reconstruct" => "[5, 0.5]",
        "local.task" => "[0, 1]",
        "local.leap.tie" => "twin",
        "local.leap.on" => "cascaded",
        "local.leap.init" => "random",
        "local.leap.share" => "stage",
        "local.leap.width" => "0.5",
        "local.leap.state" => "bf16",
        "local.leap.sources" => "[[1], [2]]",
        "train.optimizer" => "adamw",
        "train.betas" => "[0.8, 0.9]",
        "train.label_smoothing" => "0.25",
        "train.class_weights" => "[1, 2.5]",
        "train.freeze" => "[\"stem\", \"layer1.0\"]",
        "train.no_decay" => "[\"bias\", \"norm\"]",
        "train.schedule" => "constant",
        "train.precision" => "bf16",
        "data.augment" => "svhn",
        "data.load" => "stream",
        "data.sampler" => "balanced",
        "data.orientation" => "exif",
        "data.normalise" => "{mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25]}",
        "data.randaugment" => "[1, 14]",
        "data.colour_jitter" => "[0.1, 0.2, 0.3, 0.1]",
        _ => "64",
    }
}

#[test]
fn set_changes_every_key_and_nothing_else() {
    for key in KEYS {
        let mut r = Recipe::default();
        if key.path.starts_with("local.cascade") || key.path.starts_with("local.leap") {
            r.set(key.path.rsplit_once('.').map(|(table, _)| format!("{table}=on")).unwrap().as_str())
                .unwrap();
        }
        let before = toml::Table::try_from(&r).unwrap();
        r.set(&format!("{}={}", key.path, another(key.path))).unwrap_or_else(|e| panic!("{e}"));
        let after = toml::Table::try_from(&r).unwrap();
        let mut changed = Vec::new();
        differences("", &before, &after, &mut changed);
        assert_eq!(changed, [key.path]);
    }
}

fn differences(path: &str, a: &toml::Table, b: &toml::Table, changed: &mut Vec<String>) {
    let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
    for name in names {
        let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (a.get(name), b.get(name)) {
            (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) => differences(&full, a, b, changed),
            (a, b) if a != b => changed.push(full),
            _ => {}
        }
    }
}

/// Checks every document of `cases` and prints `ok` or a message for each.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator
task = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(task['schema'])
validator = Draft202012Validator(task['schema'])
for case in task['cases']:
    print(next((e.message.replace('\\n', ' ')[:200] for e in validator.iter_errors(case)), 'ok'))
";

#[test]
fn a_validator_agrees_with_the_checks() {
    let Some(python) = python(&["jsonschema"]) else { return };
    let of = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    let mut right: Vec<Value> = builtin().iter().map(|b| of(b.text)).collect();
    right.extend(recipes().iter().map(|name| of(&Recipe::load(name).unwrap().to_toml().unwrap())));
    right.extend(
        [
            "extends = [\"a.toml\", \"dgl\"]\nlocal.leap = \"none\"\nlocal.cascade = \"on\"",
            "data.colour_jitter = 0.4\ndata.limit = \"off\"",
            "data.colour_jitter = [0.4, 0.4, 0.4, 0.1]",
            "train.label_smoothing = 0.1\ntrain.class_weights = \"balanced\"\ntrain.clip_grad_norm = 1",
            "train.label_smoothing = 0\ntrain.class_weights = [0.5, 2]\ntrain.clip_grad_norm = \"none\"",
            "train.freeze = [\"stem\", \"layer1\"]",
            "data.randaugment = [2, 9]",
            "data.normalise = {mean = [0, 0, 0], std = [1, 1, 1]}",
        ]
        .map(of),
    );
    let wrong = [
        "extends = 3",
        "epochs = 3",
        "train.epochs = 0",
        "train.epochs = \"none\"",
        "train.epochs = 2.5",
        "local.task = [1.0]",
        "local.head = \"1c0f\"",
        "local.temperature = 0",
        "local.leap.ema = 1.5",
        "local.leap.sources = [[-1]]",
        "local.cuts = [-1]",
        "model.backbone = \"vgg11\"",
        "data.normalise = {mean = [0, 0, 0], std = [1, 1, 0]}",
        "data.normalise = {mean = [0, 0, 0]}",
        "data.colour_jitter = [0.4, 0.4, 0.4, 0.6]",
        "data.colour_jitter = [0.4]",
        "data.randaugment = [0, 9]",
        "data.randaugment = [2, 31]",
        "data.randaugment = [2]",
        "data.randaugment = 2",
        "data.augment = \"sharpen\"",
        "train = \"none\"",
        "train.label_smoothing = 1",
        "train.label_smoothing = -0.1",
        "train.class_weights = \"even\"",
        "train.class_weights = []",
        "train.class_weights = [1, 0]",
        "train.class_weights = 2",
        "train.clip_grad_norm = 0",
        "train.freeze = \"stem\"",
        "train.freeze = [\"\"]",
        "train.freeze = [\"fc\", \"fc\"]",
    ];
    for text in wrong {
        assert!(Recipe::parse(text, "wrong").is_err(), "{text}");
    }
    let cases: Vec<Value> = right.iter().cloned().chain(wrong.iter().map(|t| of(t))).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("task.json");
    std::fs::write(&file, json!({"schema": json_schema(), "cases": cases}).to_string()).unwrap();
    let text = python.run(VALIDATE, &[file]);
    let answers: Vec<&str> = text.lines().collect();
    assert_eq!(answers.len(), cases.len());
    for (answer, case) in answers.iter().zip(&right) {
        assert_eq!(*answer, "ok", "{case}");
    }
    for (answer, text) in answers.iter().skip(right.len()).zip(wrong) {
        assert_ne!(*answer, "ok", "{text}");
    }
}
