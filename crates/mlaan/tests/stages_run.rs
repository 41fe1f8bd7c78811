//! Runs in stages: the files of a run in one stage, interrupted or not, as large as planned on every device.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::cuda;
use common::run_results::results;
use mlaan::Error;
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trainer};
use mlaan_engine::{Device, DeviceKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

/// Five modules; epochs of four batches and a smaller one, for training and for testing.
fn recipe(method: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let keys =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "local.hidden=8", "train.batch=8"];
    r.set_all(keys.into_iter().chain(["data.limit=36", "data.size=16", "train.epochs=2"])).unwrap();
    r.set_all(method.iter().copied()).unwrap();
    r
}

/// A run ends within a period of the steps in which mirrors learn.
const SHARED: (&str, &[&str]) = (
    "a shared chain that learns in every third step",
    &[
        "local.leap.share=stage",
        "local.leap.every=3",
        "local.leap.tie=pulled",
        "local.leap.ema=0.9",
        "data.limit=148",
    ],
);

const METHODS: [(&str, &[&str]); 9] = [
    ("dgl, mixtures", &["local.leap=none", "local.cascade=none", "data.mixup=0.2"]),
    ("mlm, span 3", &["local.leap=none", "local.cascade.span=3"]),
    (
        "mlm, span 2, bf16, recomputed",
        // Small tensors find their last places only after some ten steps.
        &[
            "local.leap=none",
            "local.cascade.span=2",
            "train.precision=bf16",
            "local.recompute=module",
            "data.limit=148",
        ],
    ),
    ("mlaan", &[]),
    (
        "mlaan, smoothed, weighted, clipped",
        &[
            "train.label_smoothing=0.1",
            "train.class_weights=[0.5, 2, 1, 1, 3, 1, 1, 1, 0.25, 1]",
            "train.clip_grad_norm=0.1",
        ],
    ),
    ("mlaan, lag 1", &["local.leap.lag=1", "data.limit=148"]),
    (
        "pulled, span 3, lag 2",
        &["local.leap.lag=2", "local.leap.tie=pulled", "local.cascade.span=3", "data.limit=100"],
    ),
    SHARED,
    ("decoder", &["local.reconstruct=[5.0, 0.5]", "local.cascade.span=2"]),
];

fn processors(n: usize) -> Vec<Device> {
    (0..n).map(|_| Device::cpu(Some(1)).unwrap()).collect()
}

/// Runs, to the end or until so many steps were told; the trainer is as large as planned, on every device.
fn run(recipe: &Recipe, devices: &[Device], folder: &Path, stop_after: Option<usize>) -> Outcome {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut trainer = Trainer::from_recipe_in_stages(recipe, devices).unwrap();
    assert_eq!(trainer.plan().stages.len(), devices.len());
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(stop_after.is_some_and(|n| steps >= n), Ordering::Relaxed);
        }
    });
    let outcome = outcome.unwrap();
    if let (Outcome::Finished(summary), None) = (&outcome, stop_after) {
        for (k, (device, stage)) in devices.iter().zip(&trainer.plan().stages).enumerate() {
            let (used, planned) = (device.usage(), stage.usage);
            assert_eq!((used.footprint, used.peak), (planned.footprint, planned.peak), "stage {k}");
        }
        if steps > 5 {
            assert_eq!(summary.peak_allocated_bytes, trainer.plan().allocated() as u64);
        }
    }
    outcome
}

#[test]
fn runs_in_stages_write_the_files_of_one_as_large_as_planned() {
    for (name, method) in METHODS {
        let recipe = recipe(method);
        let one = tempdir().unwrap();
        run(&recipe, &processors(1), one.path(), None);
        let expected = results(one.path());
        for stages in [2, 3] {
            let several = tempdir().unwrap();
            run(&recipe, &processors(stages), several.path(), None);
            let found = results(several.path());
            assert_eq!(found.0, expected.0, "{name}, {stages} stages");
            for (a, b) in found.1.iter().zip(&expected.1) {
                assert!(a == b, "{name}, {stages} stages: {} and {}", a.0, b.0);
            }
            assert_eq!(found.1.len(), expected.1.len());
        }
    }
}

#[test]
fn a_run_is_interrupted_and_resumed_in_another_number_of_stages() {
    for (name, method) in [METHODS[1], SHARED] {
        let mut recipe = recipe(method);
        // Losses come when a batch is through, which may be the stages' number and one later: the epoch is longer than that.
        recipe.set_all(["data.limit=84"]).unwrap();
        let whole = tempdir().unwrap();
        run(&recipe, &processors(1), whole.path(), None);
        let expected = results(whole.path());
        for [first, second] in [[2, 3], [3, 1], [1, 2]] {
            let folder = tempdir().unwrap();
            let outcome = run(&recipe, &processors(first), folder.path(), Some(2));
            assert!(matches!(outcome, Outcome::Interrupted { epoch: 0, .. }), "{name}: {outcome:?}");
            run(&recipe, &processors(second), folder.path(), Some(usize::MAX));
            let found = results(folder.path());
            assert!(found == expected, "{name}: {first} stages, then {second}");
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_ends_all_stages_with_the_message_of_one() {
    let mut recipe = recipe(METHODS[1].1);
    recipe.set_all(["train.lr=1e6", "train.warmup=0"]).unwrap();
    let message = |stages| {
        let folder = tempdir().unwrap();
        let mut trainer = Trainer::from_recipe_in_stages(&recipe, &processors(stages)).unwrap();
        let e = trainer.run(folder.path(), false, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
        assert!(matches!(e, Error::NonFinite { .. }), "{e}");
        e.to_string()
    };
    let expected = message(1);
    assert!([2, 3].iter().all(|&n| message(n) == expected), "{expected}");
}

#[test]
fn two_streams_of_a_gpu_learn_what_one_learns() {
    let Some(one) = cuda() else { return };
    assert_eq!(one.kind(), DeviceKind::Cuda);
    for (name, method) in [METHODS[1], METHODS[4]] {
        let mut recipe = recipe(method);
        // The host's CUDA driver is slow.
        recipe.set_all(["data.limit=12"]).unwrap();
        let [alone, both] = [0; 2].map(|_| tempdir().unwrap());
        run(&recipe, &[Device::cuda(0).unwrap()], alone.path(), None);
        run(&recipe, &[Device::cuda(0).unwrap(), Device::cuda(0).unwrap()], both.path(), None);
        assert!(results(alone.path()) == results(both.path()), "{name}");
    }
}
