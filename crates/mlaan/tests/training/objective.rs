//! Smoothed labels, class weights and clipped gradients in runs: the same bits for any number of threads and after an
//! interruption, as large as planned, and refused where they cannot be meant.

use crate::runs;

use crate::runs::tensors;
use mlaan::recipe::{ClassRule, ClassWeights, Recipe};
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Trainer};
use mlaan_engine::Device;
use std::path::Path;
use tempfile::tempdir;

/// MLAN on a network small enough for a test; a last batch that is not full.
fn recipe(set: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let small =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "local.hidden=8", "train.batch=32"];
    r.set_all(small.into_iter().chain(["data.limit=80", "train.epochs=3"])).unwrap();
    r.set_all(set.iter().copied()).unwrap();
    r
}

fn trainer(recipe: &Recipe, threads: usize) -> Trainer {
    Trainer::from_recipe(recipe, &Device::cpu(Some(threads)).unwrap()).unwrap()
}

fn run(recipe: &Recipe, threads: usize, folder: &Path, stop_after: Option<usize>) -> Outcome {
    runs::run(&mut trainer(recipe, threads), folder, stop_after)
}

fn train_losses(folder: &Path) -> Vec<f64> {
    let lines = metrics::read(folder).unwrap();
    lines
        .into_iter()
        .filter_map(|e| if let Event::Epoch(e) = e { Some(e.train_loss) } else { None })
        .collect()
}

const SETTINGS: [&[&str]; 4] = [
    &["train.label_smoothing=0.1"],
    &["train.class_weights=[0.5, 2, 1, 1, 3, 1, 1, 1, 0.25, 1]", "data.mixup=0.2"],
    &["train.clip_grad_norm=0.05"],
    &[
        "train.label_smoothing=0.2",
        "train.class_weights=balanced",
        "train.clip_grad_norm=0.5",
        "train.optimizer=adamw",
        "train.lr=0.01",
    ],
];

#[test]
fn runs_resume_to_the_bit_with_any_number_of_threads_and_use_what_was_planned() {
    let plain = tempdir().unwrap();
    run(&recipe(&[]), 2, plain.path(), None);
    let without = tensors(plain.path());
    for set in SETTINGS {
        let recipe = recipe(set);
        let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
        let planned = trainer(&recipe, 2).plan().allocated() as u64;
        let Outcome::Finished(summary) = run(&recipe, 2, whole.path(), None) else { panic!("{set:?}") };
        assert_eq!(summary.peak_allocated_bytes, planned, "{set:?}");
        // Within the first epoch, then with other threads.
        assert!(matches!(run(&recipe, 3, parts.path(), Some(2)), Outcome::Interrupted { .. }));
        run(&recipe, 1, parts.path(), None);
        let expected = tensors(whole.path());
        assert!(tensors(parts.path()) == expected, "{set:?}");
        assert!(expected["fc.weight"] != without["fc.weight"], "{set:?} reaches the classifier");
        assert!(expected["conv1.weight"] != without["conv1.weight"], "{set:?} reaches the first module");
        let losses = train_losses(whole.path());
        assert!(losses.last() < losses.first(), "{set:?} learns: {losses:?}");
    }
}

/// With a target spread over ten classes no loss can be less than the entropy of the target.
#[test]
fn losses_that_are_told_are_the_smoothed_ones() {
    let folder = tempdir().unwrap();
    run(&recipe(&["train.label_smoothing=0.9", "train.epochs=1"]), 2, folder.path(), None);
    let (own, others): (f64, f64) = (0.1 + 0.09, 0.09);
    let least = -own * own.ln() - 9.0 * others * others.ln();
    assert!(train_losses(folder.path())[0] >= least);
}

#[test]
fn a_norm_that_nothing_reaches_changes_no_bit() {
    let [plain, clipped] = [0; 2].map(|_| tempdir().unwrap());
    run(&recipe(&["train.epochs=1"]), 2, plain.path(), None);
    run(&recipe(&["train.epochs=1", "train.clip_grad_norm=1e6"]), 2, clipped.path(), None);
    assert!(tensors(plain.path()) == tensors(clipped.path()));
}

#[test]
fn weights_that_are_all_one_and_smoothing_by_nothing_are_off() {
    let mut r = recipe(&["train.label_smoothing=0"]);
    assert_eq!(r, recipe(&[]));
    r.set_all(["train.label_smoothing=0.1", "train.class_weights=balanced"]).unwrap();
    assert_eq!(r.train.class_weights, Some(ClassWeights::Rule(ClassRule::Balanced)));
    assert_eq!(Recipe::parse(&r.to_toml().unwrap(), "written").unwrap(), r);
    r.set_all(["train.label_smoothing=none", "train.class_weights=none"]).unwrap();
    assert_eq!(r, recipe(&[]));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (set, said) in [
        ("train.label_smoothing=1", "a number from 0 to less than 1"),
        ("train.label_smoothing=-0.1", "a number from 0 to less than 1"),
        ("train.class_weights=balance", "did you mean \"balanced\"?"),
        ("train.class_weights=[1, 0]", "a list of numbers above 0"),
        ("train.class_weights=[]", "a list of numbers above 0"),
        ("train.class_weights=2", "found 2, expected balanced, or a list"),
        ("train.clip_grad_norm=0", "`none` leaves it out"),
        ("train.clip_grad_norm=-1", "a number above 0"),
    ] {
        let key = set.split('=').next().unwrap();
        let error = Recipe::load("quickstart").unwrap().set_all([set]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(said), "{set}: {error}");
    }
    let device = Device::cpu(Some(1)).unwrap();
    let refused = |set: &[&str]| match Trainer::from_recipe(&recipe(set), &device) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("{set:?}"),
    };
    let error = refused(&["train.class_weights=[1, 2, 3]"]);
    assert!(error.contains("found 3 numbers, but the data set has 10 classes"), "{error}");
    let error = refused(&["train.class_weights=balanced", "data.limit=3"]);
    assert!(error.contains("there is no training image of `"), "{error}");
}
