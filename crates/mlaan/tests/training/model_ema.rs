//! The EMA of the weights: its values, that it changes nothing else, and that runs test, keep, resume and use it.

use crate::common::devices;
use mlaan::backbone::ResNet;
use mlaan::data::{Frame, LoaderPool};
use mlaan::local::{Cascade, Leap, Learner, Method, StepOptions, Task};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event, Tested};
use mlaan::train::{Outcome, Progress, Trained, Trainer, checkpoint, evaluate};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::tempdir;

const DECAY: f64 = 0.75;

fn learner(devices: &[Device], cuts: &[usize], decay: Option<f64>) -> Learner {
    let cascade = Some(Cascade { span: 2, independent: 0.3, cascaded: 0.7 });
    let method = Method { modules: 4, hidden: 8, cascade, leap: Some(Leap::default()), ..Method::default() };
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(8, 3), classes: 4, pixels };
    let net = ResNet::cifar(8, 4).unwrap();
    let mut learner =
        Learner::in_stages((devices, cuts), &net, &method, task, 1, Optimizer::default()).unwrap();
    if let Some(decay) = decay {
        learner.keep_average(decay).unwrap();
    }
    learner
}

fn step(learner: &mut Learner, number: u64) {
    let device = learner.device().clone();
    let values: Vec<f32> =
        (0..6 * 8 * 8 * 3).map(|i| ((i * 37 + number * 11) % 101) as f32 / 50.0 - 1.0).collect();
    let mut images = device.alloc([6, 8, 8, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut images, &values).unwrap();
    let mut labels = device.alloc([6], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut labels, &[0u32, 1, 2, 3, 0, 1]).unwrap();
    learner.step(images, &labels, &StepOptions::uniform(0.1, number)).unwrap();
}

type Values = BTreeMap<String, Vec<f32>>;

/// The weights, and the EMA of those that have one.
fn values(learner: &mut Learner) -> (Values, Values) {
    let (mut weights, mut averages) = (Values::new(), Values::new());
    let see = &mut |device: &Device, p: mlaan::nn::Param<'_>, a: Option<&mut mlaan_engine::Tensor>| {
        weights.insert(p.name(), device.download(p.value)?);
        if let Some(a) = a {
            averages.insert(p.name(), device.download(a)?);
        }
        Ok(())
    };
    learner.visit_averaged(see).unwrap();
    (weights, averages)
}

#[test]
fn it_follows_parameters_and_running_statistics_and_changes_nothing_else() {
    for device in devices() {
        let (mut with, mut without) = (
            learner(std::slice::from_ref(&device), &[], Some(DECAY)),
            learner(std::slice::from_ref(&device), &[], None),
        );
        let (start, mut expected) = values(&mut with);
        assert!(expected.contains_key("bn1.running_var") && expected.contains_key("fc.bias"));
        assert!(start.keys().all(|name| expected.contains_key(name) != name.starts_with("aux.")));
        for number in 1..=3 {
            step(&mut with, number);
            step(&mut without, number);
            let (weights, averages) = values(&mut with);
            assert!(weights == values(&mut without).0, "the weights are those of a run without an EMA");
            for (name, average) in &mut expected {
                for (e, p) in average.iter_mut().zip(&weights[name]) {
                    *e = (DECAY * f64::from(*e) + (1.0 - DECAY) * f64::from(*p)) as f32;
                }
                let near = average
                    .iter()
                    .zip(&averages[name])
                    .all(|(a, b)| (a - b).abs() <= 1e-6 * a.abs().max(0.1));
                assert!(near, "{name} after step {number}");
            }
            assert!(averages["conv1.weight"] != weights["conv1.weight"]);
        }
        // In each other's place, and back.
        let (weights, averages) = values(&mut with);
        with.exchange_average().unwrap();
        let (now, kept) = values(&mut with);
        assert!(averages.iter().all(|(name, a)| now[name] == *a && kept[name] == weights[name]));
        with.exchange_average().unwrap();
        assert!(values(&mut with) == (weights, averages));
    }
}

#[test]
fn it_does_not_depend_on_stages() {
    let cpu = || Device::cpu(Some(1)).unwrap();
    let (mut one, mut three) =
        (learner(&[cpu()], &[], Some(DECAY)), learner(&[cpu(), cpu(), cpu()], &[1, 3], Some(DECAY)));
    for number in 1..=4 {
        step(&mut one, number);
        step(&mut three, number);
    }
    assert!(values(&mut one) == values(&mut three));
}

/// A network small enough for a test, with every kind of tensor; three steps an epoch, the last batch not full.
fn recipe(epochs: usize, keys: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let epochs = format!("train.epochs={epochs}");
    let small =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=32", "data.limit=80"];
    r.set_all(small.iter().chain(keys).copied().chain([epochs.as_str()])).unwrap();
    r
}

fn run(recipe: &Recipe, device: &Device, folder: &Path, stop_after: Option<usize>) -> (Outcome, u64) {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let mut trainer = Trainer::from_recipe(recipe, device).unwrap();
    let planned = trainer.plan().allocated() as u64;
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    (outcome.unwrap(), planned)
}

/// The tensors of the model and of the state of a folder's last checkpoint, as bits.
fn tensors(folder: &Path) -> [BTreeMap<String, Vec<u32>>; 2] {
    let (_, files) = checkpoint::load(folder).unwrap();
    [&files.model, &files.state].map(|file| {
        let bits = |name: &str| {
            let shape = file.shape(name).unwrap().to_vec();
            file.read(name, &shape).unwrap().iter().map(|v| v.to_bits()).collect()
        };
        file.names().map(|name| (name.to_owned(), bits(name))).collect()
    })
}

fn epochs(folder: &Path) -> Vec<metrics::Epoch> {
    let lines = metrics::read(folder).unwrap();
    lines.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(e) } else { None }).collect()
}

/// What makes a run small enough for the host's CUDA driver, which is slow.
fn smaller(device: &Device) -> &'static [&'static str] {
    match device.kind() {
        DeviceKind::Cuda => &["data.limit=12", "data.size=16", "train.batch=8", "local.modules=2"],
        DeviceKind::Cpu { .. } => &[],
    }
}

#[test]
fn runs_test_keep_and_use_it_as_planned_and_resume_to_the_bit() {
    for device in devices() {
        let (plain, whole, parts) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
        let without = recipe(2, smaller(&device));
        let side = if device.kind() == DeviceKind::Cuda { 16 } else { 32 };
        let mut with = without.clone();
        with.set("train.model_ema_decay=0.9").unwrap();
        let (outcome, planned) = run(&with, &device, whole.path(), None);
        let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
        assert_eq!(summary.peak_allocated_bytes, planned);
        let less = Trainer::from_recipe(&without, &device).unwrap().plan().allocated() as u64;
        assert!(planned > less, "{planned}, {less}");
        run(&without, &device, plain.path(), None);
        // The model is the EMA, the state has the weights.
        let [model, state] = tensors(whole.path());
        for (name, weights) in &tensors(plain.path())[0] {
            assert!(state[&format!("raw.{name}")] == *weights, "{name}");
            assert!(model[name] != *weights, "{name}");
        }
        for stop in [Some(1), Some(2), Some(1), None] {
            run(&with, &device, parts.path(), stop);
        }
        assert!(tensors(parts.path()) == [model, state]);
        // What was tested is what a checkpoint gives whoever uses it.
        let trained = Trained::open(whole.path(), false).unwrap();
        let mut network = trained.network(&device).unwrap();
        let splits = mlaan::train::setup::open(&trained.recipe, 1).unwrap();
        let pool = LoaderPool::new(1, LoaderPool::AHEAD).unwrap();
        let found = evaluate(&mut network, &splits.test, &pool, (32, Frame::new(side, None))).unwrap();
        let last = epochs(whole.path()).pop().unwrap();
        assert_eq!((found.error, last.tested), (last.test_error, Some(Tested::ModelEma)));
        assert_eq!((summary.tested, epochs(plain.path())[0].tested), (Some(Tested::ModelEma), None));
    }
}

/// A run without one goes on with one that begins at its weights, and the other way round with the weights alone.
#[test]
fn it_begins_at_the_weights_of_an_older_checkpoint_and_may_be_left() {
    let (device, folder) = (Device::cpu(Some(2)).unwrap(), tempdir().unwrap());
    run(&recipe(2, &[]), &device, folder.path(), None);
    let [before, _] = tensors(folder.path());
    // So slow that it stays where it begins.
    run(&recipe(4, &["train.model_ema_decay=0.999999"]), &device, folder.path(), None);
    let [average, state] = tensors(folder.path());
    let far = |a: &[u32], b: &[u32]| {
        let off = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs();
        a.iter().zip(b).map(off).fold(0.0, f32::max)
    };
    for name in ["conv1.weight", "bn1.running_mean", "fc.weight"] {
        assert!(far(&average[name], &before[name]) < 1e-5, "{name}");
        assert!(far(&state[&format!("raw.{name}")], &before[name]) > 1e-3, "{name}");
    }
    run(&recipe(5, &[]), &device, folder.path(), None);
    let [model, state] = tensors(folder.path());
    assert!(!state.contains_key("raw.conv1.weight"));
    let straight = tempdir().unwrap();
    for epochs in [2, 4, 5] {
        run(&recipe(epochs, &[]), &device, straight.path(), None);
    }
    assert!(model == tensors(straight.path())[0]);
}
