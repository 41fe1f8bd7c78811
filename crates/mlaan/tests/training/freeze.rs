//! Frozen parts of a network: their values stay, nothing is computed or kept for them, and what nobody learns from is not trained.

use crate::runs;

use crate::runs::tensors;
use mlaan::backbone::{Frozen, ResNet};
use mlaan::local::{
    Branch, Cascade, Leap, Learner, Method, Recompute, StepOptions, StepReport, Task, TaskLoss, Tie,
};
use mlaan::nn::optim::Objective;
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Trainer};
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Device, MemoryCategory, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::tempdir;

const SIDE: usize = 8;
const BATCH: usize = 4;

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(SIDE, 3), classes: 4, pixels }
}

/// Seven modules: the stem and six blocks of one each, but where a method says otherwise.
fn methods() -> Vec<(&'static str, Method)> {
    let local = |modules| Method { modules, hidden: 8, ..Method::default() };
    let cascade = |span| Some(Cascade { span, independent: 0.3, cascaded: 0.7 });
    let leap = |tie, on| Some(Leap { tie, on, ..Leap::default() });
    let twin = leap(Tie::Twin, Branch::Cascaded);
    let again = Recompute::Module;
    vec![
        ("bp", local(1)),
        ("bp, recomputed", Method { recompute: again, ..local(1) }),
        ("dgl", local(7)),
        ("mlm, span 2", Method { cascade: cascade(2), reconstruct: [1.0, 1.0], ..local(7) }),
        ("mlm, span 3", Method { cascade: cascade(3), ..local(7) }),
        ("mlaan", Method { cascade: cascade(2), leap: twin, ..local(5) }),
        ("mlaan, recomputed", Method { cascade: cascade(3), recompute: again, ..local(4) }),
        ("lam", Method { leap: leap(Tie::Pulled, Branch::Independent), ..local(7) }),
    ]
}

fn learner(method: &Method, cuts: &[usize], frozen: &[&str], optimizer: Optimizer) -> mlaan::Result<Learner> {
    let devices: Vec<Device> = (0..=cuts.len()).map(|_| Device::cpu(Some(1)).unwrap()).collect();
    let names: Vec<String> = frozen.iter().map(|s| (*s).to_owned()).collect();
    let net = Frozen::new(ResNet::cifar(14, 4).unwrap(), &names);
    Learner::in_stages((&devices, cuts), &net, method, task(), 3, optimizer)
}

fn batch(device: &Device, number: usize) -> (Tensor, Tensor) {
    let pixel = |i: usize| ((i * 37 + number * 11) % 101) as f32 / 50.0 - 1.0;
    let mut images = device.alloc([BATCH, SIDE, SIDE, 3], DType::F32, MemoryCategory::Data).unwrap();
    device.upload(&mut images, &(0..BATCH * SIDE * SIDE * 3).map(pixel).collect::<Vec<_>>()).unwrap();
    let mut labels = device.alloc([BATCH], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut labels, &[0u32, 1, 2, 3]).unwrap();
    (images, labels)
}

type Values = BTreeMap<String, Vec<u32>>;

/// Every value, and what optimisers keep, by name.
fn values(learner: &mut Learner) -> Values {
    let mut all = Values::new();
    let bits =
        |device: &Device, t: &Tensor| device.download(t).unwrap().iter().map(|v: &f32| v.to_bits()).collect();
    learner
        .visit_on(&mut |device, p| {
            all.insert(p.name(), bits(device, p.value));
            for (kind, t) in p.state().into_iter().flat_map(|s| s.tensors()) {
                all.insert(format!("{kind}.{}", p.name()), bits(device, t));
            }
            Ok(())
        })
        .unwrap();
    all
}

/// The values at the beginning and after three steps, and the last report.
fn trained(mut learner: Learner) -> (Values, Values, StepReport) {
    let before = values(&mut learner);
    let (device, mut last) = (learner.device().clone(), None);
    for number in 0..3 {
        let (images, labels) = batch(&device, number);
        last = Some(
            learner.step(images, &labels, &StepOptions::uniform(0.05, number as u64 + 1)).unwrap().clone(),
        );
    }
    (before, values(&mut learner), last.unwrap())
}

const FROZEN: [&[&str]; 5] = [
    &["stem", "layer1"],
    &["layer1.1", "layer2.0.conv1", "layer2.0.bn1.weight"],
    &["conv1.weight", "layer2", "fc.bias"],
    &["layer3.1", "fc"],
    &["stem", "layer1", "layer2", "layer3"],
];

fn is_frozen(name: &str, frozen: &[&str]) -> bool {
    let stem = frozen.contains(&"stem") && (name.starts_with("conv1.") || name.starts_with("bn1."));
    stem || frozen.iter().any(|f| name == *f || name.starts_with(&format!("{f}.")))
}

#[test]
fn what_is_frozen_keeps_its_values_and_the_rest_learns() {
    for (name, method) in methods() {
        for frozen in FROZEN {
            let (before, after, report) =
                trained(learner(&method, &[], frozen, Optimizer::default()).unwrap());
            let loss = report.modules.last().unwrap()[0].unwrap().loss;
            assert!(loss.is_finite(), "{name}, {frozen:?}");
            for (tensor, was) in
                before.iter().filter(|(n, _)| !n.starts_with("aux.") && !n.starts_with("momentum."))
            {
                let moved = after[tensor] != *was;
                let still = is_frozen(tensor, frozen) && !tensor.contains("running");
                assert_eq!(moved, !still, "{name}, {frozen:?}: {tensor}");
                let kept = before.contains_key(&format!("momentum.{tensor}"));
                assert_eq!(
                    kept,
                    !still && !tensor.contains("running"),
                    "{name}, {frozen:?}: state of {tensor}"
                );
            }
        }
    }
}

/// What learns learns what it would in a network whose frozen parts were put back after every step.
#[test]
fn what_learns_does_so_as_if_frozen_parts_were_put_back() {
    for (name, method) in methods() {
        for frozen in FROZEN {
            let (_, found, _) = trained(learner(&method, &[], frozen, Optimizer::default()).unwrap());
            let mut whole = learner(&method, &[], &[], Optimizer::default()).unwrap();
            let device = whole.device().clone();
            for number in 0..3 {
                let mut kept = BTreeMap::new();
                let mut each = |learner: &mut Learner, back: bool| {
                    let step = |p: mlaan::nn::Param<'_>| {
                        if is_frozen(&p.name(), frozen) && !p.is_buffer() {
                            match back {
                                false => drop(kept.insert(p.name(), device.download(p.value)?)),
                                true => device.upload(p.value, &kept[&p.name()])?,
                            }
                        }
                        Ok(())
                    };
                    let mut step = step;
                    learner.visit(&mut step).unwrap();
                };
                each(&mut whole, false);
                let (images, labels) = batch(&device, number);
                whole.step(images, &labels, &StepOptions::uniform(0.05, number as u64 + 1)).unwrap();
                each(&mut whole, true);
            }
            let expected = values(&mut whole);
            // Mirrors follow sources before these are put back.
            let followed = |n: &str| n.contains("leap") || n.contains("shadow") || method.leap.is_some();
            for (tensor, bits) in found.iter().filter(|(n, _)| !followed(n)) {
                assert!(*bits == expected[tensor], "{name}, {frozen:?}: {tensor}");
            }
        }
    }
}

#[test]
fn stages_learn_what_one_learns() {
    for (name, method) in methods().into_iter().filter(|(_, m)| m.modules > 1) {
        let n = method.modules;
        for frozen in FROZEN {
            let optimizer = Optimizer { clip_grad_norm: Some(0.5), ..Optimizer::default() };
            let expected = trained(learner(&method, &[], frozen, optimizer).unwrap());
            for cuts in [vec![1], vec![n / 2], vec![n / 3, n - 1]] {
                let found = trained(learner(&method, &cuts, frozen, optimizer).unwrap());
                assert_eq!(found.2, expected.2, "{name}, {frozen:?}, cuts {cuts:?}");
                assert!(found.1 == expected.1, "{name}, {frozen:?}, cuts {cuts:?}");
            }
        }
    }
}

#[test]
fn modules_without_anything_that_learns_are_not_trained() {
    let (_, mut method) = methods().swap_remove(2);
    let auxiliary = |method: &Method, frozen: &[&str]| {
        let mut learner = learner(method, &[], frozen, Optimizer::default()).unwrap();
        let summary = learner.summary().unwrap();
        let (_, _, report) = trained(learner);
        for (row, losses) in summary.iter().zip(&report.modules) {
            assert_eq!(row.is_trained, losses.iter().any(Option::is_some), "{row:?}");
        }
        summary.iter().map(|m| m.auxiliary_parameters > 0).collect::<Vec<_>>()
    };
    assert_eq!(auxiliary(&method, &["stem", "layer1"]), [false, false, false, true, true, true, false]);
    // A cascade reaches what learns below.
    method.cascade = Some(Cascade { span: 2, independent: 0.5, cascaded: 0.5 });
    let frozen = ["layer1", "layer2.0"];
    assert_eq!(auxiliary(&method, &frozen), [true, true, false, false, true, true, false]);
}

#[test]
fn names_that_the_network_lacks_are_said_with_those_that_it_has() {
    let refused = |frozen: &[&str]| match learner(&Method::default(), &[], frozen, Optimizer::default()) {
        Err(e) => e.to_string(),
        Ok(_) => panic!("{frozen:?}"),
    };
    let error = refused(&["stem", "layr1"]);
    assert!(
        error.contains("train.freeze") && error.contains("no `layr1` (did you mean `layer1`?)"),
        "{error}"
    );
    assert!(error.contains("stem, conv1, bn1, layer1, layer2, layer3, fc"), "{error}");
    // Half a name is none, and running statistics are no parameters.
    for lacking in ["layer", "layer1.0.conv", "bn1.running_mean", "aux", "layer4", ""] {
        assert!(refused(&[lacking]).contains(&format!("no `{lacking}`")), "{lacking}");
    }
    let error = refused(&["stem", "layer1", "layer2", "layer3", "fc"]);
    assert!(error.contains("nothing would learn"), "{error}");
}

#[test]
fn changes_to_losses_that_train_nothing_are_refused() {
    let method = Method { loss: TaskLoss::Contrastive, modules: 7, hidden: 8, ..Method::default() };
    let smoothed = |class_weights| Optimizer {
        objective: Objective { label_smoothing: if class_weights { 0.0 } else { 0.1 }, class_weights },
        ..Optimizer::default()
    };
    for (class_weights, key) in [(false, "train.label_smoothing"), (true, "train.class_weights")] {
        assert!(learner(&method, &[], &["fc"], smoothed(class_weights)).is_ok());
        let error =
            learner(&method, &[], &["layer3.1", "fc"], smoothed(class_weights)).err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("there is none here"), "{error}");
    }
}

fn recipe(set: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let small =
        ["model.backbone=resnet14", "model.width=4", "local.modules=7", "local.hidden=8", "train.batch=32"];
    r.set_all(small.into_iter().chain(["data.limit=80", "train.epochs=2"])).unwrap();
    r.set_all(set.iter().copied()).unwrap();
    r
}

fn run(recipe: &Recipe, threads: usize, folder: &Path, stop_after: Option<usize>) -> (u64, Outcome) {
    let mut trainer = Trainer::from_recipe(recipe, &Device::cpu(Some(threads)).unwrap()).unwrap();
    let planned = trainer.plan().allocated() as u64;
    (planned, runs::run(&mut trainer, folder, stop_after))
}

#[test]
fn runs_resume_to_the_bit_use_what_was_planned_and_need_less() {
    for method in [&["local.modules=1", "local.cascade=none", "local.leap=none"][..], &[]] {
        let whole = Trainer::from_recipe(&recipe(method), &Device::cpu(Some(2)).unwrap()).unwrap();
        let without = whole.plan().allocated() as u64;
        let recipe = recipe(&[method, &["train.freeze=[\"stem\", \"layer1\"]"]].concat());
        let [one, parts] = [0; 2].map(|_| tempdir().unwrap());
        let (planned, outcome) = run(&recipe, 2, one.path(), None);
        let Outcome::Finished(summary) = outcome else { panic!("{outcome:?}") };
        assert_eq!(summary.peak_allocated_bytes, planned);
        assert!(planned < without, "{planned} of {without}");
        run(&recipe, 3, parts.path(), Some(2));
        run(&recipe, 1, parts.path(), None);
        let found = tensors(one.path());
        assert!(tensors(parts.path()) == found);
        assert!(
            !found.contains_key("momentum.conv1.weight")
                && found.contains_key("momentum.layer2.0.conv1.weight")
        );
        let lines = metrics::read(one.path()).unwrap();
        let losses = lines
            .into_iter()
            .filter_map(|e| if let Event::Epoch(e) = e { Some(e.module_losses) } else { None });
        for losses in losses.filter(|l| l.len() == 7) {
            let told: Vec<bool> = losses.iter().map(|l| l.is_finite()).collect();
            assert_eq!(told, [false, false, false, true, true, true, true], "{losses:?}");
        }
    }
}
