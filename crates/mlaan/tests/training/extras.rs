//! Further random changes in whole runs: planned to the byte, resumed to the bit; what a mixture trains.

use mlaan::backbone::ResNet;
use mlaan::local::{Cascade, Learner, Method, Task, TaskLoss};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trainer, checkpoint, metrics};
use mlaan_engine::ops::{ClassLoss, Labels, LossTarget, Mixed, PixelScale, report};
use mlaan_engine::{DType, Device, MemoryCategory, Shape, Tensor};
use safetensors::SafeTensors;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn recipe() -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    r.set_all(["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=32"]).unwrap();
    r.set_all(["data.limit=80", "train.epochs=2", "data.sampler=balanced"]).unwrap();
    let extras = ["data.colour_jitter=[0.4, 0.4, 0.4, 0.1]", "data.random_erasing=0.5", "data.cutout=8"];
    r.set_all(extras.into_iter().chain(["data.mixup=0.4", "data.cutmix=1.0", "data.randaugment=[2, 9]"]))
        .unwrap();
    r
}

fn run(recipe: &Recipe, device: &Device, folder: &Path, stop_after: Option<usize>) -> (u64, Outcome) {
    let mut trainer = Trainer::from_recipe(recipe, device).unwrap();
    let (planned, stop, mut steps) = (trainer.plan().allocated() as u64, AtomicBool::new(false), 0);
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    (planned, outcome.unwrap())
}

/// A checkpoint's model, as bits.
fn model(folder: &Path) -> Vec<u32> {
    let (_, files) = checkpoint::load(folder).unwrap();
    let names: Vec<String> = files.model.names().map(String::from).collect();
    let mut bits = Vec::new();
    for name in names {
        let shape = files.model.shape(&name).unwrap().to_vec();
        bits.extend(files.model.read(&name, &shape).unwrap().iter().map(|v| v.to_bits()));
    }
    bits
}

#[test]
fn runs_with_everything_are_as_planned_and_resume_to_the_bit() {
    let device = Device::cpu(Some(2)).unwrap();
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (planned, outcome) = run(&recipe(), &device, whole.path(), None);
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!(summary.peak_allocated_bytes, planned);
    for stop in [Some(1), Some(3), None] {
        run(&recipe(), &device, parts.path(), stop);
    }
    assert!(model(whole.path()) == model(parts.path()));
}

#[test]
fn on_cuda_images_are_made_on_the_host_as_planned() {
    let Some(device) = crate::common::cuda() else { return };
    let mut r = recipe();
    r.set_all(["local.cascade=none", "local.leap=none", "local.modules=1", "train.epochs=1"]).unwrap();
    r.set_all(["train.batch=4", "data.limit=10"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (planned, outcome) = run(&r, &device, folder.path(), None);
    let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
    assert_eq!(summary.peak_allocated_bytes, planned);
}

#[test]
fn every_option_changes_what_is_learnt() {
    let device = Device::cpu(Some(2)).unwrap();
    let mut models = Vec::new();
    let keys = ["data.colour_jitter=0.3", "data.random_erasing=0.5", "data.cutout=8"];
    let more = ["seed=0", "data.mixup=0.4", "data.cutmix=1.0", "data.randaugment=[2, 9]"];
    for key in keys.into_iter().chain(more) {
        let (mut r, folder) = (recipe(), tempfile::tempdir().unwrap());
        let off = ["colour_jitter", "random_erasing", "cutout", "mixup", "cutmix", "randaugment"];
        r.set_all(off.map(|k| format!("data.{k}=none"))).unwrap();
        r.set_all([key, "train.epochs=1", "data.limit=32"]).unwrap();
        run(&r, &device, folder.path(), None);
        let lines = metrics::read(folder.path()).unwrap();
        assert!(lines.len() > 2, "{key}");
        models.push(model(folder.path()));
    }
    for (i, a) in models.iter().enumerate() {
        assert!(models[i + 1..].iter().all(|b| a != b), "{i}");
    }
}

/// Gradients and the last loss of one batch.
fn gradients(method: &Method, labels: &[u32], mixed: Option<(&[u32], f32)>) -> (Vec<f32>, f32) {
    let device = Device::cpu(Some(2)).unwrap();
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(16, 3), classes: 5, pixels };
    let mut learner =
        Learner::new(&device, &ResNet::cifar(8, 4).unwrap(), method, task, 1, Optimizer::default()).unwrap();
    let mut images = device.alloc([4, 16, 16, 3], DType::F32, MemoryCategory::Data).unwrap();
    let values: Vec<f32> = (0..4 * 16 * 16 * 3).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    device.upload(&mut images, &values).unwrap();
    let classes = |values: &[u32]| {
        let mut t = device.alloc([4], DType::U32, MemoryCategory::Data).unwrap();
        device.upload(&mut t, values).unwrap();
        t
    };
    let (own, second) =
        (classes(labels), mixed.map(|(other, share)| (classes(other), shares(&device, share))));
    let mixed = second.as_ref().map(|(other, share)| Mixed { other, share });
    let report = learner.gradients(images, Labels { own: &own, mixed }).unwrap();
    let loss = report.modules.last().unwrap()[0].unwrap().loss;
    let mut all = Vec::new();
    learner
        .visit(&mut |p| {
            if !p.is_buffer() {
                all.extend(device.download(p.grad().unwrap())?);
            }
            Ok(())
        })
        .unwrap();
    (all, loss)
}

fn shares(device: &Device, share: f32) -> Tensor {
    let mut t = device.alloc([4], DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut t, &[share; 4]).unwrap();
    t
}

#[test]
fn a_mixture_trains_the_mixture_of_both_classes() {
    let cascade = Some(Cascade { span: 2, independent: 0.3, cascaded: 0.7 });
    let method = Method { modules: 3, hidden: 8, cascade, ..Method::default() };
    let (first, second) = ([0, 1, 2, 3], [4, 1, 0, 2]);
    let (a, b) = (gradients(&method, &first, None), gradients(&method, &second, None));
    let mixed = gradients(&method, &first, Some((&second, 0.75)));
    assert!((mixed.1 - (0.75 * a.1 + 0.25 * b.1)).abs() < 1e-5);
    let most = a.0.iter().fold(0f32, |m, v| m.max(v.abs()));
    for ((a, b), mixed) in a.0.iter().zip(&b.0).zip(&mixed.0) {
        assert!((0.75 * a + 0.25 * b - mixed).abs() < 1e-5 * most, "{a} {b} {mixed}");
    }
}

/// PyTorch's loss of the targets that torchvision's MixUp and CutMix make, and its gradient (`mixtures/oracle.py`).
#[test]
fn the_loss_of_mixtures_is_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mixtures/mixtures.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let golden = |name: &str| -> Vec<f32> {
        let data = file.tensor(name).unwrap().data();
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (n, classes) = (12, 5);
    for device in crate::common::devices() {
        let floats = |name: &str, shape: Shape| {
            let mut t = device.alloc(shape, DType::F32, MemoryCategory::Data).unwrap();
            device.upload(&mut t, &golden(name)).unwrap();
            t
        };
        let logits = floats("logits", [n, 1, 1, classes].into());
        let weights = floats("weights", [classes].into());
        for (kind, mixture) in ["plain", "changed"].iter().flat_map(|k| ["mixup", "cutmix"].map(|m| (k, m))) {
            // Two classes of each row are not 0, or one.
            let (mut own, mut other, mut share) = (vec![0u32; n], vec![0u32; n], vec![0f32; n]);
            for (i, row) in golden(&format!("{mixture}/targets")).chunks_exact(classes).enumerate() {
                let there: Vec<usize> = (0..classes).filter(|&c| row[c] > 0.0).collect();
                let (first, last) = (there[0], there[there.len() - 1]);
                (own[i], other[i], share[i]) = (first as u32, last as u32, row[first]);
            }
            let labels = |values: &[u32]| {
                let mut t = device.alloc([n], DType::U32, MemoryCategory::Data).unwrap();
                device.upload(&mut t, values).unwrap();
                t
            };
            let (own, other) = (labels(&own), labels(&other));
            let mut shares = device.alloc([n], DType::F32, MemoryCategory::Data).unwrap();
            device.upload(&mut shares, &share).unwrap();
            let mut values = device.full([1, report::COLUMNS], 0.0, MemoryCategory::Data).unwrap();
            let mut grad = device.alloc(logits.shape(), DType::F32, MemoryCategory::Gradients).unwrap();
            let target = LossTarget { weight: 1.0, grad: Some(&mut grad), values: &mut values, row: 0 };
            let labels = Labels { own: &own, mixed: Some(Mixed { other: &other, share: &shares }) };
            match *kind {
                "plain" => device.cross_entropy(&logits, labels, target),
                _ => {
                    let options = ClassLoss { smoothing: 0.1, weights: Some(&weights) };
                    device.cross_entropy_with(&logits, labels, options, target)
                }
            }
            .unwrap();
            let found = device.download(&values).unwrap()[report::LOSS];
            let expected = golden(&format!("{mixture}/{kind}/loss"))[0];
            let place = format!("{mixture}, {kind}, {}", device.name());
            assert!((found / expected - 1.0).abs() < 1e-5, "{place}: {found} for {expected}");
            let expected = golden(&format!("{mixture}/{kind}/grad"));
            let found = device.download(&grad).unwrap();
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(off < 1e-6, "{place}: {off}");
        }
    }
}

#[test]
fn contrastive_losses_refuse_mixtures() {
    let device = Device::cpu(Some(1)).unwrap();
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(16, 3), classes: 5, pixels };
    let method = Method { modules: 2, hidden: 8, loss: TaskLoss::Contrastive, ..Method::default() };
    let mut learner =
        Learner::new(&device, &ResNet::cifar(8, 4).unwrap(), &method, task, 1, Optimizer::default()).unwrap();
    let images = device.full([4, 16, 16, 3], 0.5, MemoryCategory::Data).unwrap();
    let own = device.alloc([4], DType::U32, MemoryCategory::Data).unwrap();
    let share = shares(&device, 0.75);
    let labels = Labels { own: &own, mixed: Some(Mixed { other: &own, share: &share }) };
    let error = learner.gradients(images, labels).unwrap_err().to_string();
    assert!(error.contains("data.mixup") && error.contains("cross_entropy"), "{error}");
}
