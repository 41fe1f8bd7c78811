//! What a recipe's optimiser does to the parameters of a network, by their roles.
#![allow(clippy::unwrap_used)]

use mlaan::Device;
use mlaan::backbone::ResNet;
use mlaan::local::{Cascade, Learner, Method, StepOptions, Task};
use mlaan::nn::{Extent, Role};
use mlaan::recipe::Recipe;
use mlaan::train::setup;
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, Purpose, Tensor};
use std::collections::BTreeMap;

const LR: f32 = 0.1;

fn method() -> Method {
    let cascade = Some(Cascade { span: 2, independent: 0.3, cascaded: 0.7 });
    Method { modules: 3, hidden: 8, cascade, reconstruct: [1.0, 1.0], ..Method::default() }
}

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: Extent::square(16, 3), classes: 4, pixels }
}

fn batch(device: &Device) -> (Tensor, Tensor) {
    let mut images = device.alloc([4, 16, 16, 3], DType::F32, Purpose::Data).unwrap();
    let values: Vec<f32> = (0..4 * 16 * 16 * 3).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    device.upload(&mut images, &values).unwrap();
    let mut labels = device.alloc([4], DType::U32, Purpose::Data).unwrap();
    device.upload(&mut labels, &[0u32, 1, 2, 3]).unwrap();
    (images, labels)
}

type Named = BTreeMap<String, (Option<Role>, Vec<f32>)>;

/// Values before and after one step with these settings of a recipe.
fn step(set: &[&str]) -> (Named, Named) {
    let mut recipe = Recipe::default();
    recipe.set_all(set).unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let (net, optimizer) = (ResNet::cifar(8, 4).unwrap(), setup::optimizer(&recipe.train));
    let mut learner = Learner::new(&device, &net, &method(), task(), 1, optimizer).unwrap();
    let before = values(&mut learner);
    let (images, labels) = batch(&device);
    learner.step(images, &labels, &StepOptions::uniform(LR, 1)).unwrap();
    (before, values(&mut learner))
}

fn values(learner: &mut Learner) -> Named {
    let (device, mut all) = (learner.device().clone(), Named::new());
    learner
        .visit(&mut |p| {
            all.insert(p.name(), (p.learned.as_ref().map(|l| l.role), device.download(p.value)?));
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn weight_decay_spares_the_roles_that_a_recipe_names() {
    // The first step moves a parameter by lr (1 + momentum) (gradient + decay), so decay is told apart.
    let (decay, momentum) = (0.5, 0.75);
    let all = ["train.weight_decay=0.5", "train.momentum=0.75"];
    let none = step(&["train.weight_decay=0", "train.momentum=0.75"]).1;
    let (before, every) = step(&all);
    for (list, spared) in [
        ("none", vec![]),
        ("[\"norm\", \"bias\"]", vec![Role::Norm, Role::Bias]),
        ("[\"bias\"]", vec![Role::Bias]),
        ("[\"weight\"]", vec![Role::Weight]),
    ] {
        let set = format!("train.no_decay={list}");
        let after = step(&[all[0], all[1], &set]).1;
        let mut seen = [0; 3];
        for (name, (role, found)) in &after {
            let Some(role) = *role else {
                assert_eq!(found, &none[name].1, "{name} is a buffer");
                continue;
            };
            seen[role as usize] += 1;
            let as_one = if spared.contains(&role) { &none } else { &every };
            assert_eq!(found, &as_one[name].1, "{name} with {set}");
            for ((p, moved), free) in before[name].1.iter().zip(&every[name].1).zip(&none[name].1) {
                let expected = LR * (1.0 + momentum) * decay * p;
                assert!((free - moved - expected).abs() < 1e-5, "{name}: {moved}, {free} without decay");
            }
        }
        assert!(seen.iter().all(|n| *n > 3), "{seen:?}");
    }
}

#[test]
fn roles_are_read_strictly_and_written_only_where_they_are_set() {
    let read = |line: &str| Recipe::parse(&format!("[train]\n{line}\n"), "recipe");
    let plain = Recipe::default();
    assert!(!plain.to_toml().unwrap().contains("no_decay"));
    for free in ["no_decay = []", "no_decay = \"none\""] {
        assert_eq!(read(free).unwrap(), plain, "{free}");
    }
    let set = read("no_decay = [\"bias\", \"norm\"]").unwrap();
    let text = set.to_toml().unwrap();
    assert!(text.contains("no_decay = [\"bias\", \"norm\"]"), "{text}");
    assert_eq!(Recipe::parse(&text, "recipe").unwrap().train, set.train);
    // The order is no difference; the roles are.
    assert_eq!(set.differences(&read("no_decay = [\"norm\", \"bias\"]").unwrap()).unwrap(), []);
    let other = set.differences(&plain).unwrap();
    assert_eq!((other.len(), other[0].key.as_str()), (1, "train.no_decay"));
    let mut removed = set.clone();
    removed.set("train.no_decay=none").unwrap();
    assert_eq!(removed, plain);

    for (line, said) in [
        (
            "no_decay = [\"norms\"]",
            "found \"norms\" (did you mean \"norm\"?), expected a list of weight, bias, norm",
        ),
        ("no_decay = [\"norm\", \"norm\"]", "found \"norm\" twice"),
        ("no_decay = [1]", "found 1 in the list"),
        ("no_decay = \"norm\"", "found the string \"norm\", expected a list of weight, bias, norm"),
        ("no_decay = true", "found true, expected a list"),
    ] {
        let error = read(line).unwrap_err().to_string();
        assert!(error.contains("train.no_decay") && error.contains(said), "{line}: {error}");
    }
}

#[test]
fn a_network_for_inference_cannot_be_trained() {
    let device = Device::cpu(Some(1)).unwrap();
    let net = ResNet::cifar(8, 4).unwrap();
    let mut network = Learner::for_inference(&device, &net, &method(), task(), 1).unwrap();
    let (images, labels) = batch(&device);
    let error = network.step(images, &labels, &StepOptions::uniform(LR, 1)).unwrap_err().to_string();
    assert!(error.contains("built for inference"), "{error}");
}
