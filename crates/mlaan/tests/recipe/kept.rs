//! A run that an earlier version saved (`kept/`: one epoch of a small network with every kind of tensor, stopped by its
//! recipe) is read, tested and gone on with as that version did. It was made by
//! `mlaan train quickstart --limit 400 --batch 20 --epochs 1 --threads 1 --set model.width=2 local.hidden=4
//! local.head=0c1f local.leap.ema=0.9 data.size=16 train.lr=0.05 train.schedule=constant train.warmup=0`.

use mlaan::Device;
use mlaan::nn::Origin;
use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Trained, Trainer, checkpoint, evaluate, restore, setup};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipe/kept")
}

/// What that version found in its second epoch.
const LOSSES: [f64; 4] = [2.300_694_3, 2.316_028_6, 2.353_523_7, 2.323_157_6];
const TEST_ERROR: f64 = 90.5;

fn trainer(epochs: usize) -> Trainer {
    let mut recipe = Recipe::kept_in(&kept().join("recipe.toml")).unwrap();
    recipe.set_epochs(epochs).unwrap();
    Trainer::from_recipe(&recipe, &Device::cpu(Some(2)).unwrap()).unwrap()
}

#[test]
fn every_tensor_of_a_kept_checkpoint_finds_its_place() {
    let (_, files) = checkpoint::load(&kept()).unwrap();
    let mut trainer = trainer(1);
    let learner = trainer.learner();
    restore(learner, &files, true).unwrap();
    let device = learner.device().clone();
    let mut names: BTreeSet<String> =
        files.model.names().chain(files.state.names()).map(String::from).collect();
    let mut origins = [0; 3];
    learner
        .visit(&mut |p| {
            let (name, shape) = (p.name(), p.shape.dims());
            let file = if name.starts_with("aux.") { &files.state } else { &files.model };
            assert_eq!(device.download(p.value).unwrap(), file.read(&name, shape).unwrap(), "{name}");
            assert!(names.remove(&name), "{name} is there once");
            for (kind, tensor) in p.state().into_iter().flat_map(|s| s.tensors()) {
                let name = format!("{kind}.{name}");
                let values = files.state.read(&name, shape).unwrap();
                assert!(values.iter().any(|v| *v != 0.0), "{name}");
                assert_eq!(device.download(tensor).unwrap(), values, "{name}");
                assert!(names.remove(&name), "{name} is there once");
            }
            let origin = match &name {
                n if n.starts_with("aux.leap_") => Origin::Mirror,
                n if n.starts_with("aux.shadow_") => Origin::Shadow,
                _ => Origin::Own,
            };
            assert_eq!(p.origin, origin, "{name}");
            assert_eq!(p.state().is_some(), !p.is_buffer() && origin != Origin::Shadow, "{name}");
            origins[origin as usize] += 1;
            Ok(())
        })
        .unwrap();
    assert!(names.is_empty(), "without a place: {names:?}");
    assert!(origins.iter().all(|n| *n > 0), "{origins:?}");
}

#[test]
fn a_kept_run_is_tested_as_it_was() {
    let trained = Trained::open(&kept(), true).unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let splits = setup::open(&trained.recipe, 2).unwrap();
    let pool = setup::loader_pool(&device, splits.test.as_ref()).unwrap();
    let mut network = trained.network(&device).unwrap();
    let frame = setup::frame(&trained.recipe.data);
    let found = evaluate(&mut network, &splits.test, &pool, (20, frame)).unwrap();
    // Another instruction set may round an image or two to the other side.
    assert!((found.error - trained.manifest.test_error).abs() <= 0.5, "{} %", found.error);
}

#[test]
fn a_kept_run_resumes_as_it_would_have() {
    let run = tempfile::tempdir().unwrap();
    let (from, to) = (kept().join(checkpoint::FOLDER), run.path().join(checkpoint::FOLDER));
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(&from).unwrap() {
        let name = file.unwrap().file_name();
        std::fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
    std::fs::copy(kept().join(metrics::METRICS), run.path().join(metrics::METRICS)).unwrap();
    let outcome = trainer(2).run(run.path(), true, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
    let lines = metrics::read(run.path()).unwrap();
    let epoch = |e| if let Event::Epoch(e) = e { Some(e) } else { None };
    let second = lines.into_iter().filter_map(epoch).find(|e| e.epoch == 2).unwrap();
    for (found, then) in second.module_losses.iter().zip(LOSSES) {
        assert!((found - then).abs() < 1e-3 * then, "{:?}, not {LOSSES:?}", second.module_losses);
    }
    assert_eq!(second.module_losses.len(), LOSSES.len());
    assert!((second.test_error - TEST_ERROR).abs() <= 1.0, "{} %", second.test_error);
    // 20 steps an epoch, counted on from where it stood.
    assert_eq!(checkpoint::load(run.path()).unwrap().0.step, 40);
}
