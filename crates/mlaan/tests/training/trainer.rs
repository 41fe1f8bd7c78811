//! Runs: resumed to the bit, interrupted within an epoch, as large as planned, the same for any thread count.

use crate::runs::tensors;
use mlaan::Error;
use mlaan::recipe::{Recipe, recipes};
use mlaan::train::checkpoint;
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Progress, Trainer};
use mlaan_engine::Device;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

/// MLAN on a network small enough for a test: every kind of tensor, a last batch that is not full.
fn recipe(epochs: usize) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let epochs = format!("train.epochs={epochs}");
    let keys =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=32", "data.limit=80"];
    r.set_all(keys.into_iter().chain([epochs.as_str()])).unwrap();
    r
}

fn trainer(recipe: &Recipe, threads: usize) -> Trainer {
    Trainer::from_recipe(recipe, &Device::cpu(Some(threads)).unwrap()).unwrap()
}

fn run(recipe: &Recipe, threads: usize, folder: &Path, stop_after: Option<usize>) -> Outcome {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    trainer(recipe, threads)
        .run(folder, true, &stop, &mut |p| {
            if let Progress::Step { .. } = p {
                steps += 1;
                stop.store(Some(steps) == stop_after, Ordering::Relaxed);
            }
        })
        .unwrap()
}

/// The epochs' lines without what depends on the clock, and without the peak: a process that does a part of an epoch may
/// need less than one that does all of it.
fn epochs(folder: &Path) -> Vec<metrics::Epoch> {
    let timeless = |e: metrics::Epoch| metrics::Epoch {
        seconds: 0.0,
        images_per_second: 0.0,
        peak_allocated_bytes: 0,
        peak_memory_bytes: None,
        ..e
    };
    let lines = metrics::read(folder).unwrap();
    lines.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(timeless(e)) } else { None }).collect()
}

#[test]
fn interrupted_runs_resume_to_the_bit() {
    let recipe = recipe(4);
    let whole = tempdir().unwrap();
    assert!(matches!(run(&recipe, 2, whole.path(), None), Outcome::Finished(_)));
    let expected = tensors(whole.path());
    for kind in ["momentum.conv1.weight", "bn1.running_mean", "aux.shadow_cas_0.conv1.weight", "fc.bias"] {
        assert!(expected.contains_key(kind), "{kind} is part of a checkpoint");
    }
    // Three steps an epoch: within the first epoch, at its end, within a later one; then twice in one run.
    for stops in [vec![1], vec![3], vec![8], vec![2, 2, 3]] {
        let parts = tempdir().unwrap();
        for &stop in &stops {
            let outcome = run(&recipe, 2, parts.path(), Some(stop));
            assert!(matches!(outcome, Outcome::Interrupted { .. }), "{outcome:?}");
        }
        assert!(matches!(run(&recipe, 2, parts.path(), None), Outcome::Finished(_)));
        for (name, bits) in tensors(parts.path()) {
            assert!(expected[&name] == bits, "{name} after stops {stops:?}");
        }
        assert_eq!(epochs(parts.path()), epochs(whole.path()), "stops {stops:?}");
    }
}

/// Keys of a recipe with this optimiser, and what it keeps of a parameter.
const OPTIMIZERS: [(&str, &str, &[&str]); 2] = [
    ("train.optimizer=adamw", "train.lr=0.003", &["exp_avg.conv1.weight", "exp_avg_sq.fc.bias"]),
    ("train.optimizer=lars", "train.lr=2", &["momentum.conv1.weight", "momentum.fc.bias"]),
];

#[test]
fn every_optimiser_resumes_to_the_bit_and_uses_what_was_planned() {
    let mut seen = vec![];
    for (optimizer, lr, kept) in OPTIMIZERS {
        let mut recipe = recipe(3);
        recipe.set_all([optimizer, lr]).unwrap();
        let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
        let planned = trainer(&recipe, 2).plan().allocated() as u64;
        let Outcome::Finished(summary) = run(&recipe, 2, whole.path(), None) else { panic!("{optimizer}") };
        assert_eq!(summary.peak_allocated_bytes, planned, "{optimizer}");
        let expected = tensors(whole.path());
        assert!(kept.iter().all(|name| expected.contains_key(*name)), "{optimizer}: {:?}", expected.keys());
        // Within the first epoch, at its end (steps count on), within a later one.
        for stop in [Some(2), Some(1), Some(2), None] {
            run(&recipe, 1, parts.path(), stop);
        }
        assert!(tensors(parts.path()) == expected, "{optimizer}");
        assert_eq!(epochs(parts.path()), epochs(whole.path()), "{optimizer}");
        // It learns.
        let losses: Vec<_> = epochs(whole.path()).iter().map(|e| e.train_loss).collect();
        assert!(losses.last() < losses.first(), "{optimizer}: {losses:?}");
        seen.push((expected, planned));
    }
    assert!(seen[0].1 > seen[1].1, "AdamW keeps two tensors of a parameter, LARS one");
}

#[test]
fn rates_of_every_step_go_on_where_a_run_stopped() {
    let mut recipe = recipe(3);
    let wsd = ["train.schedule=wsd", "train.decay_fraction=0.5", "train.lr=0.2", "train.min_lr=0.02"];
    recipe.set_all(wsd.into_iter().chain(["train.per_step=true", "train.warmup_steps=2"])).unwrap();
    let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
    let (stop, mut seen) = (AtomicBool::new(false), vec![]);
    let mut see = |p: Progress<'_>| {
        if let Progress::Step { lr, .. } = p {
            seen.push(lr);
        }
    };
    trainer(&recipe, 2).run(whole.path(), true, &stop, &mut see).unwrap();
    // Nine steps: two of warm-up, then the peak until 4.5, then a line to the ninth.
    let line = |step: f64| 0.02 + 0.18 * (9.0 - step) / 4.5;
    let expected = [0.1, 0.2, 0.2, 0.2, line(5.0), line(6.0), line(7.0), line(8.0), 0.02];
    assert_eq!(seen.len(), expected.len());
    assert!(seen.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{seen:?}");
    // An epoch's line has the rate of its last step.
    assert_eq!(epochs(whole.path()).iter().map(|e| e.lr).collect::<Vec<_>>(), [seen[2], seen[5], seen[8]]);
    for stop in [Some(1), Some(1), Some(3), None] {
        run(&recipe, 1, parts.path(), stop);
    }
    assert!(tensors(parts.path()) == tensors(whole.path()));
    assert_eq!(epochs(parts.path()), epochs(whole.path()));
    // It makes another network than the rates of epochs do.
    recipe.set_all(["train.per_step=false"]).unwrap();
    let per_epoch = tempdir().unwrap();
    run(&recipe, 2, per_epoch.path(), None);
    assert!(tensors(per_epoch.path()) != tensors(whole.path()));
}

#[test]
fn threads_change_nothing_but_time() {
    let recipe = recipe(2);
    let runs: Vec<_> = [1, 2, 3]
        .into_iter()
        .map(|threads| {
            let folder = tempdir().unwrap();
            run(&recipe, threads, folder.path(), None);
            (tensors(folder.path()), epochs(folder.path()))
        })
        .collect();
    assert!(runs[0].0 == runs[1].0 && runs[0].0 == runs[2].0);
    assert_eq!(runs[0].1, runs[1].1);
    assert_eq!(runs[0].1, runs[2].1);
}

#[test]
fn bf16_resumes_to_the_bit_with_any_number_of_threads() {
    let mut recipe = recipe(2);
    recipe.set("train.precision=bf16").unwrap();
    let whole = tempdir().unwrap();
    run(&recipe, 1, whole.path(), None);
    let (expected, parts) = (tensors(whole.path()), tempdir().unwrap());
    for (threads, stop) in [(2, Some(1)), (3, Some(3)), (2, None)] {
        run(&recipe, threads, parts.path(), stop);
    }
    assert!(tensors(parts.path()) == expected);
    assert_eq!(epochs(parts.path()), epochs(whole.path()));
    recipe.set("train.precision=f32").unwrap();
    let single = tempdir().unwrap();
    run(&recipe, 2, single.path(), None);
    assert!(tensors(single.path()) != expected, "the precision has no effect");
}

#[test]
fn half_size_state_of_mirrors_resumes_to_the_bit_and_uses_what_was_planned() {
    let wide = trainer(&recipe(2), 2).plan().allocated();
    for (keys, kind) in [
        (vec![], "momentum."),
        (vec!["train.optimizer=adamw", "train.lr=0.003"], "exp_avg_sq."),
        (vec!["train.optimizer=lars", "train.lr=2", "local.leap.tie=pulled"], "momentum."),
    ] {
        let mut recipe = recipe(2);
        recipe.set_all(keys.iter().copied().chain(["local.leap.state=bf16"])).unwrap();
        let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
        let planned = trainer(&recipe, 2).plan().allocated();
        let Outcome::Finished(summary) = run(&recipe, 2, whole.path(), None) else { panic!("{keys:?}") };
        assert_eq!(summary.peak_allocated_bytes, planned as u64, "{keys:?}");
        assert!(planned < wide || kind != "momentum.", "{planned} and {wide}");
        let expected = tensors(whole.path());
        for (threads, stop) in [(1, Some(2)), (3, Some(2)), (2, None)] {
            run(&recipe, threads, parts.path(), stop);
        }
        assert!(tensors(parts.path()) == expected, "{keys:?}");
        // Weights of shadows and what is kept of mirrors' weights are of half size, vectors and all else are not.
        let narrow = |name: &str| expected[name].iter().all(|bits| bits & 0xffff == 0);
        let mirror = |leaf: &str| format!("{kind}aux.leap_cas_0.0.{leaf}");
        assert!(narrow(&mirror("conv1.weight")) && !narrow(&mirror("bn1.weight")), "{keys:?}");
        assert!(!narrow("aux.leap_cas_0.0.conv1.weight") && !narrow(&format!("{kind}conv1.weight")));
        if !keys.contains(&"local.leap.tie=pulled") {
            assert!(narrow("aux.shadow_cas_0.conv1.weight") && !narrow("aux.shadow_cas_0.bn1.weight"));
            assert!(!narrow("aux.shadow_cas_0.bn1.running_mean"));
        }
        let losses: Vec<_> = epochs(whole.path()).iter().map(|e| e.train_loss).collect();
        assert!(losses.last() < losses.first(), "{keys:?}: {losses:?}");
    }
}

/// Runs `name` for two steps: it uses what was planned for it.
fn uses_what_was_planned(name: &str, recompute: &str, precision: &str) {
    let folder = tempdir().unwrap();
    let mut recipe = Recipe::load(name).unwrap();
    let keys = ["train.epochs=1", "train.batch=6", "data.limit=8", "data.source=builtin"];
    let more = [format!("local.recompute={recompute}"), format!("train.precision={precision}")];
    recipe.set_all(keys.into_iter().chain(more.iter().map(String::as_str))).unwrap();
    let mut trainer = trainer(&recipe, 2);
    let planned = trainer.plan().allocated() as u64;
    let outcome = trainer.run(folder.path(), false, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let Outcome::Finished(summary) = outcome else { panic!("{name}: {outcome:?}") };
    assert_eq!(summary.peak_allocated_bytes, planned, "{name}, {recompute}, {precision}");
}

#[test]
fn a_run_uses_what_was_planned_to_the_byte() {
    for name in recipes().iter().filter(|name| name.ends_with("-resnet32-16")) {
        ["f32", "bf16"].iter().for_each(|precision| uses_what_was_planned(name, "none", precision));
    }
}

#[test]
fn a_run_that_recomputes_uses_what_was_planned_to_the_byte() {
    for name in ["bp-resnet32", "mlaan-paper-resnet32-16", "mlaan-released-resnet32-16"] {
        ["f32", "bf16"].iter().for_each(|precision| uses_what_was_planned(name, "module", precision));
    }
}

#[test]
fn runs_of_other_networks_use_what_was_planned_to_the_byte() {
    let others = [
        ("quickstart", "f32"),
        ("bp-resnet110", "bf16"),
        ("mlaan-released-resnet110-55", "f32"),
        ("bp-resnet34", "f32"),
        ("bp-resnet50", "bf16"),
    ];
    others.iter().for_each(|(name, precision)| uses_what_was_planned(name, "none", precision));
}

#[test]
fn rates_follow_the_images_that_are_taken_and_older_runs_keep_theirs() {
    let mut recipe = recipe(3);
    recipe.set_all(["train.batch=100000", "train.lr=0.1", "train.lr_batch=160", "train.warmup=0"]).unwrap();
    recipe.set_all(["train.schedule=constant"]).unwrap();
    let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
    run(&recipe, 1, whole.path(), None);
    // 80 of 160 images.
    assert!(epochs(whole.path()).iter().all(|e| e.lr == 0.05));
    while !matches!(run(&recipe, 1, parts.path(), Some(1)), Outcome::Finished(_)) {}
    assert_eq!(epochs(parts.path()), epochs(whole.path()));
    assert!(tensors(parts.path()) == tensors(whole.path()));
    // What earlier versions wrote followed the recipe's batch.
    let mut manifest = checkpoint::load(parts.path()).unwrap().0;
    assert_eq!(manifest.rate_batch, Some(80));
    let mut trainer = trainer(&recipe, 1);
    assert_eq!(trainer.rates().peak().backbone, 0.05);
    manifest.rate_batch = None;
    trainer.resume_from(&manifest);
    assert_eq!(trainer.rates().peak().backbone, 62.5);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_the_module() {
    let mut recipe = recipe(20);
    recipe.set_all(["train.lr=1e6", "train.weight_decay=1.0", "train.warmup=0"]).unwrap();
    let folder = tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let err = trainer(&recipe, 2).run(folder.path(), false, &stop, &mut |_| {}).unwrap_err();
    assert!(matches!(err, Error::NonFinite { .. }), "{err}");
    let text = err.to_string();
    assert!(["module", "step", "train.lr"].iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn a_folder_with_another_run_is_not_overwritten() {
    let folder = tempdir().unwrap();
    run(&recipe(1), 2, folder.path(), None);
    let before = tensors(folder.path());
    let stop = AtomicBool::new(false);
    let err = trainer(&recipe(1), 2).run(folder.path(), false, &stop, &mut |_| {}).unwrap_err();
    assert!(err.to_string().contains("--resume"), "{err}");
    let mut other = recipe(1);
    other.set("seed=9").unwrap();
    let err = trainer(&other, 2).run(folder.path(), true, &stop, &mut |_| {}).unwrap_err();
    assert!(err.to_string().contains("seed"), "{err}");
    assert!(tensors(folder.path()) == before);
}

/// A run that may take so long stops by itself, and goes on as if it had not.
#[test]
fn runs_out_of_time_stop_and_go_on_to_the_bit() {
    let recipe = recipe(6);
    let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
    assert!(matches!(run(&recipe, 2, whole.path(), None), Outcome::Finished(_)));
    let (stop, mut stops) = (AtomicBool::new(false), vec![]);
    // Nothing, some steps of a first epoch, some epochs, the rest.
    for tenths in [Some(0), Some(1), Some(4), None] {
        let mut trainer = trainer(&recipe, 2);
        let begin = std::time::Instant::now();
        trainer.stop_by(tenths.map(|n| begin + std::time::Duration::from_millis(100 * n)));
        let outcome = trainer.run(parts.path(), true, &stop, &mut |_| {}).unwrap();
        match outcome {
            Outcome::OutOfTime { epoch, step, .. } => stops.push((epoch, step)),
            other => assert!(matches!(other, Outcome::Finished(_)), "{other:?}"),
        }
        // At the most a step and a checkpoint more than it may take.
        assert!(tenths.is_none() || begin.elapsed().as_secs() < 20);
    }
    assert_eq!(stops.first(), Some(&(0, 0)));
    assert!(stops.is_sorted());
    assert!(tensors(parts.path()) == tensors(whole.path()), "after stops {stops:?}");
    assert_eq!(epochs(parts.path()), epochs(whole.path()), "after stops {stops:?}");
    let events = metrics::read(parts.path()).unwrap();
    let interrupted = events.iter().filter(|e| matches!(e, metrics::Event::Interrupted { .. })).count();
    assert!(interrupted >= 1, "{events:?}");
}
