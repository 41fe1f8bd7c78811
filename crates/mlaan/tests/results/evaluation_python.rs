//! Evaluations against scikit-learn and NumPy, over logits that look like a network's.

use crate::common::python;
use mlaan::evaluation::{Evaluation, Meter};
use mlaan::rng::{RandomStream, Rng};
use serde_json::Value;
use std::fs;
use std::path::Path;

const SKLEARN: &str = r#"
import json, sys, numpy as np
from sklearn import metrics as m
folder, k = sys.argv[1], int(sys.argv[2])
x = np.fromfile(f"{folder}/x", "<f4").reshape(-1, k).astype("f8")
y = np.fromfile(f"{folder}/y", "<u4")
labels = np.arange(k)
e = np.exp(x - x.max(1, keepdims=True))
s = e / e.sum(1, keepdims=True)
p, c = x.argmax(1), s.max(1)
report = m.classification_report(y, p, output_dict=True, zero_division=0)
right, ece, edges = p == y, 0.0, np.linspace(0, 1, 16)
for low, high in zip(edges[:-1], edges[1:]):
    inside = (c > low) & (c <= high)
    if inside.any():
        ece += abs(right[inside].mean() - c[inside].mean()) * inside.mean()
loss = -np.log(s[np.arange(len(y)), y])
wrong = np.flatnonzero(~right)
json.dump({
    "accuracy": m.accuracy_score(y, p), "loss": m.log_loss(y, s, labels=labels), "ece": float(ece),
    "top5": m.top_k_accuracy_score(y, s, k=5, labels=labels) if k > 5 else None,
    "classes": {int(c): report[str(c)] for c in labels if str(c) in report},
    "macro": report["macro avg"], "weighted": report["weighted avg"],
    "confusion": m.confusion_matrix(y, p, labels=labels).tolist(),
    "worst": wrong[np.argsort(-loss[wrong], kind="stable")][:10].tolist(),
}, sys.stdout)
"#;

fn near(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{what}: {found} is not {expected}");
}

fn scores(found: [Option<f64>; 3], expected: &Value, what: &str) {
    for (found, key) in found.into_iter().zip(["precision", "recall", "f1-score"]) {
        near(found.unwrap() / 100.0, &expected[key], &format!("{what} {key}"));
    }
}

/// Logits whose largest is the label's in about `skill` of all; of the last class none is the label, and it is hardly guessed.
fn logits(images: usize, classes: usize, skill: f64) -> (Vec<f32>, Vec<u32>) {
    let mut rng = Rng::new(5, RandomStream::Synthetic, classes as u64, 0);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..images {
        // More of the first classes than of the later ones.
        let label = ((rng.uniform() * rng.uniform() * (classes - 1) as f64) as usize).min(classes - 2);
        let known = rng.uniform() < skill;
        let row = (0..classes).map(|c| 4.0 * rng.uniform() + if known && c == label { 3.0 } else { 0.0 });
        values.extend(row.map(|x| x as f32));
        labels.push(label as u32);
    }
    (values, labels)
}

fn evaluated(values: &[f32], labels: &[u32], classes: usize) -> Evaluation {
    let mut meter = Meter::new(classes, labels.len(), 10);
    for (i, (row, &label)) in values.chunks(classes).zip(labels).enumerate() {
        meter.add(i, row, label as usize);
    }
    let names: Vec<String> = (0..classes).map(|c| c.to_string()).collect();
    meter.finish(&names, &|_| None)
}

fn check(found: &Evaluation, expected: &Value, classes: usize) {
    near(found.accuracy / 100.0, &expected["accuracy"], "accuracy");
    near(found.loss, &expected["loss"], "loss");
    near(found.calibration_error.unwrap() / 100.0, &expected["ece"], "calibration error");
    match found.top5_accuracy {
        Some(top5) => near(top5 / 100.0, &expected["top5"], "top-5 accuracy"),
        None => assert!(classes <= 5),
    }
    let of = |a: mlaan::evaluation::Average| [a.precision, a.recall, a.f1];
    scores(of(found.macro_average), &expected["macro"], "macro");
    scores(of(found.weighted_average), &expected["weighted"], "weighted");
    for (i, c) in found.classes.iter().enumerate() {
        match expected["classes"].get(i.to_string()) {
            Some(class) => {
                scores([c.precision, c.recall, c.f1], class, &c.name);
                near(c.images as f64, &class["support"], &c.name);
            }
            None => assert_eq!((c.precision, c.images, c.predicted), (None, 0, 0)),
        }
        let row: Vec<u64> = serde_json::from_value(expected["confusion"][i].clone()).unwrap();
        assert_eq!(found.confusion.dense_row(i, classes), row, "class {i}");
    }
    let worst: Vec<usize> = serde_json::from_value(expected["worst"].clone()).unwrap();
    assert_eq!(found.mistakes.iter().map(|m| m.index).collect::<Vec<_>>(), worst);
}

fn write<const N: usize, T: Copy>(path: &Path, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
    fs::write(path, values.iter().flat_map(|&v| bytes(v)).collect::<Vec<u8>>()).unwrap();
}

#[test]
fn evaluations_are_scikit_learns() {
    let Some(python) = python::python(&["sklearn", "numpy"]) else { return };
    for (images, classes, skill) in
        [(400, 3, 0.7), (3000, 10, 0.6), (500, 6, 0.0), (900, 120, 0.9), (12, 40, 0.5)]
    {
        let at = tempfile::tempdir().unwrap();
        let (values, labels) = logits(images, classes, skill);
        write(&at.path().join("x"), &values, f32::to_le_bytes);
        write(&at.path().join("y"), &labels, u32::to_le_bytes);
        let said = python.run(SKLEARN, &[at.path().display().to_string(), classes.to_string()]);
        check(&evaluated(&values, &labels, classes), &serde_json::from_str(&said).unwrap(), classes);
    }
}
