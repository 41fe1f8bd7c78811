//! Event files as TensorBoard's own reader understands them: every step once, also after an interruption.

use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event};
use mlaan::train::tensorboard::TensorBoard;
use mlaan::train::{Progress, Trainer};
use mlaan_engine::Device;
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const READ: &str = r#"
import json, sys
from tensorboard.backend.event_processing import event_accumulator
found = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={event_accumulator.SCALARS: 0})
found.Reload()
tags = found.Tags()
scalars = {tag: [[e.step, e.value] for e in found.Scalars(tag)] for tag in tags["scalars"]}
texts = {tag: [e.tensor_proto.string_val[0].decode() for e in found.Tensors(tag)] for tag in tags["tensors"]}
print(json.dumps({"scalars": scalars, "texts": texts}))
"#;

/// A run of four epochs of three steps.
fn recipe() -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let keys = [
        "model.backbone=resnet8",
        "model.width=4",
        "local.modules=4",
        "train.batch=32",
        "data.limit=80",
        "train.epochs=4",
    ];
    r.set_all(keys).unwrap();
    r
}

/// Goes on with the run, and stops it after so many steps.
fn run(recipe: &Recipe, folder: &Path, events: &Path, stop_after: Option<usize>) {
    let mut trainer = Trainer::from_recipe(recipe, &Device::cpu(Some(1)).unwrap()).unwrap();
    let mut board = TensorBoard::create(events, recipe, 3).unwrap();
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut watch = |p: Progress<'_>| {
        board.tell(p).unwrap();
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    };
    trainer.run(folder, true, &stop, &mut watch).unwrap();
}

/// A copy of an event file cut off within a record, as after a kill that the checkpoint did not see: values of steps that
/// are trained again.
fn killed(recipe: &Recipe, events: &Path) {
    let mut board = TensorBoard::create(events, recipe, 3).unwrap();
    board.tell(Progress::Resumed { epoch: 1, step: 2 }).unwrap();
    let wild = metrics::Epoch { epoch: 4, test_error: 99.0, ..metrics::Epoch::default() };
    board.tell(Progress::Epoch(&wild)).unwrap();
    drop(board);
    let mut files: Vec<_> = std::fs::read_dir(events).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let last = files.pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, [&bytes[..], &[24, 0, 0]].concat()).unwrap();
}

#[test]
fn tensorboard_reads_every_epoch_once() {
    let Some(python) =
        crate::common::python::python(&["tensorboard.backend.event_processing.event_accumulator"])
    else {
        return;
    };
    let at = tempfile::tempdir().unwrap();
    let (folder, events, recipe) = (at.path().join("run"), at.path().join("events"), recipe());
    run(&recipe, &folder, &events, Some(5));
    killed(&recipe, &events);
    run(&recipe, &folder, &events, None);

    let found: Value = serde_json::from_str(&python.run(READ, &[&events])).unwrap();
    let series = |tag: &str| -> Vec<(u64, f64)> {
        let points = found["scalars"][tag].as_array().unwrap_or_else(|| panic!("{tag}: {found}"));
        points.iter().map(|p| (p[0].as_u64().unwrap(), p[1].as_f64().unwrap())).collect()
    };
    let epochs: Vec<_> = metrics::read(&folder).unwrap().into_iter().filter_map(epoch).collect();
    assert_eq!(epochs.len(), 4);
    let same = |tag: &str, value: &dyn Fn(&metrics::Epoch) -> f64| {
        let wanted: Vec<(u64, f64)> =
            epochs.iter().map(|e| (3 * e.epoch as u64, f64::from(value(e) as f32))).collect();
        assert_eq!(series(tag), wanted, "{tag}");
    };
    same("train/loss", &|e| e.train_loss);
    same("train/error", &|e| e.train_error);
    same("train/accuracy", &|e| e.train_accuracy);
    same("test/accuracy", &|e| e.test_accuracy);
    same("test/error", &|e| e.test_error);
    same("test/loss", &|e| e.test_loss);
    same("test/top5_accuracy", &|e| e.test_top5_accuracy.unwrap());
    same("lr", &|e| e.lr);
    same("images_per_second", &|e| e.images_per_second);
    same("memory/peak_allocated_bytes", &|e| e.peak_allocated_bytes as f64);
    for k in 0..4 {
        same(&format!("module/{k}/loss"), &|e| e.module_losses[k]);
        same(&format!("module/{k}/error"), &|e| e.module_errors[k]);
    }
    let steps: Vec<u64> = series("steps/loss").iter().map(|p| p.0).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    let text = found["texts"]["recipe"].to_string();
    assert!(text.contains("resnet8") && text.contains("```toml"), "{text}");
}

fn epoch(event: Event) -> Option<metrics::Epoch> {
    if let Event::Epoch(e) = event { Some(e) } else { None }
}
