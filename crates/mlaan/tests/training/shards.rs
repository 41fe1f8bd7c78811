//! Steps over shards of a batch: the values are the golden files' (`golden.rs`); here is that a run is as large as planned,
//! resumes, and does not depend on threads or on where losses are read.

use crate::runs;

use crate::common::devices;
use crate::runs::tensors;
use mlaan::backbone::ResNet;
use mlaan::local::{Learner, Method, StepOptions, Task};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Trainer};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, DeviceKind, MemoryCategory};
use std::path::Path;
use tempfile::tempdir;

/// Three steps an epoch; the last batch has 16 images, of which the first shards have one more.
fn recipe(keys: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let small =
        ["model.backbone=resnet8", "model.width=4", "local.modules=3", "train.batch=32", "data.limit=80"];
    r.set_all(small.iter().chain(&["train.epochs=2"]).chain(keys).copied()).unwrap();
    r
}

fn run(recipe: &Recipe, devices: &[Device], folder: &Path, stop_after: Option<usize>) -> (Outcome, u64) {
    let mut trainer = Trainer::from_recipe_in_stages(recipe, devices).unwrap();
    trainer.read_losses_every(stop_after.is_none().then_some(4));
    let planned = trainer.plan().allocated() as u64;
    (runs::run(&mut trainer, folder, stop_after), planned)
}

/// What makes a run small enough for the host's CUDA driver, which is slow.
fn smaller(device: &Device) -> &'static [&'static str] {
    match device.kind() {
        DeviceKind::Cuda => &["data.limit=12", "data.size=16", "train.batch=8", "local.modules=2"],
        DeviceKind::Cpu { .. } => &[],
    }
}

/// Methods and ways of storing, each with what it changes.
const WAYS: [&[&str]; 4] = [
    &["train.model_ema_decay=0.9"],
    &["local.modules=1", "local.cascade=none", "local.leap=none", "train.precision=bf16"],
    &["local.recompute=module", "data.mixup=0.5"],
    &["local.loss=contrastive", "local.reconstruct=[5, 0.5]"],
];

#[test]
fn runs_are_as_large_as_planned_and_resume_to_the_bit() {
    for device in devices() {
        let is_cuda = device.kind() == DeviceKind::Cuda;
        let ways = if is_cuda { &WAYS[..1] } else { &WAYS };
        for keys in ways {
            let cut = recipe(&[*keys, smaller(&device), &["train.shards=3"]].concat());
            // What a device held before counts.
            let device = if !is_cuda { Device::cpu(Some(2)).unwrap() } else { device.clone() };
            let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
            let (outcome, planned) = run(&cut, std::slice::from_ref(&device), whole.path(), None);
            let Outcome::Finished(summary) = outcome else { panic!("{keys:?}: {outcome:?}") };
            assert_eq!(summary.peak_allocated_bytes, planned, "{keys:?}");
            let expected = tensors(whole.path());
            for stop in [Some(1), Some(2), None] {
                run(&cut, std::slice::from_ref(&device), parts.path(), stop);
            }
            assert!(tensors(parts.path()) == expected, "{keys:?}");
            if is_cuda {
                continue;
            }
            // Shards are of another result than the batch in one piece, and less memory.
            let one = tempdir().unwrap();
            let (_, uncut) = run(&recipe(keys), std::slice::from_ref(&device), one.path(), None);
            assert!(tensors(one.path()) != expected && planned < uncut, "{keys:?}: {planned}, {uncut}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let cut = recipe(&["train.shards=3"]);
    let found = [1, 2, 3].map(|threads| {
        let folder = tempdir().unwrap();
        run(&cut, &[Device::cpu(Some(threads)).unwrap()], folder.path(), None);
        tensors(folder.path())
    });
    assert!(found[0] == found[1] && found[0] == found[2]);
}

fn learner(device: &Device) -> Learner {
    let method = Method { modules: 3, hidden: 8, ..Method::default() };
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(8, 3), classes: 4, pixels };
    let net = ResNet::cifar(8, 4).unwrap();
    Learner::new(device, &net, &method, task, 1, Optimizer::default()).unwrap()
}

/// Images and labels of a batch of `n`.
fn step(learner: &mut Learner, n: usize) -> f32 {
    let device = learner.device().clone();
    let values: Vec<f32> = (0..n * 8 * 8 * 3).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let mut images = device.alloc([n, 8, 8, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut images, &values).unwrap();
    let mut labels = device.alloc([n], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut labels, &(0..n as u32).map(|i| i % 4).collect::<Vec<_>>()).unwrap();
    let report = learner.step(images, &labels, &StepOptions::uniform(0.0, 1)).unwrap();
    report.modules.last().unwrap()[0].unwrap().loss
}

/// Of a batch with fewer images than shards each image is one; one shard is the batch in one piece.
#[test]
fn a_batch_has_no_more_shards_than_images() {
    let cpu = Device::cpu(Some(1)).unwrap();
    let of = |shards: usize, n: usize| {
        let mut learner = learner(&cpu);
        learner.cut_batches(shards).unwrap();
        step(&mut learner, n).to_bits()
    };
    assert_eq!(of(1, 6), step(&mut learner(&cpu), 6).to_bits());
    assert_eq!(of(2, 2), of(7, 2));
    assert_ne!(of(1, 6), of(3, 6));
}

/// Cascades over the edges of stages, mirrors across them, and one that overlaps batches.
#[test]
fn stages_find_the_same_over_shards() {
    let twin = "local.leap.tie=twin";
    for keys in [
        &["train.model_ema_decay=0.9", "train.clip_grad_norm=1", "data.mixup=0.5"][..],
        &["local.leap=none", "local.cascade.span=3", "train.precision=bf16", "train.class_weights=balanced"],
        &["local.cascade=none", "local.leap=none", "local.loss=contrastive", "local.reconstruct=[5, 0.5]"],
        &[twin, "local.recompute=module", "train.freeze=[\"stem\"]"],
    ] {
        let cut = recipe(&[&["local.modules=4", "train.shards=3", "train.epochs=1"], keys].concat());
        let one = tempdir().unwrap();
        let (expected, _) = run(&cut, &[Device::cpu(Some(2)).unwrap()], one.path(), None);
        let Outcome::Finished(expected) = expected else { panic!("{expected:?}") };
        for (stages, stop) in [(2, Some(2)), (4, None)] {
            let folder = tempdir().unwrap();
            let devices: Vec<Device> = (0..stages).map(|_| Device::cpu(Some(1)).unwrap()).collect();
            let mut found = None;
            for stop_after in stop.map(Some).into_iter().chain([None]) {
                found = Some(run(&cut, &devices, folder.path(), stop_after));
            }
            let Some((Outcome::Finished(found), planned)) = found else { panic!("{keys:?}: {stages}") };
            assert_eq!((found.test_error, found.test_loss), (expected.test_error, expected.test_loss));
            assert!(tensors(folder.path()) == tensors(one.path()), "{keys:?}, {stages} stages");
            // A process that does a part of an epoch may need less than one that does all of it.
            assert!(stop.is_some() || found.peak_allocated_bytes == planned, "{keys:?}, {stages} stages");
        }
    }
    if crate::common::cuda().is_none() {
        return;
    }
    let gpu = || Device::cuda(0).unwrap();
    let cut = recipe(&[&["train.shards=3", "train.epochs=1"], smaller(&gpu())].concat());
    let [one, two] = [vec![gpu()], vec![gpu(), gpu()]].map(|devices| {
        let folder = tempdir().unwrap();
        run(&cut, &devices, folder.path(), None);
        tensors(folder.path())
    });
    assert!(one == two, "two streams of a GPU");
}
