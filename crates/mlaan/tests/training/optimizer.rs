//! What a recipe's optimiser does to the parameters of a network, by their roles.

use mlaan::Device;
use mlaan::backbone::ResNet;
use mlaan::local::{Cascade, Learner, Method, StepOptions, Task};
use mlaan::nn::{ImageShape, Role};
use mlaan::recipe::Recipe;
use mlaan::train::setup;
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DType, MemoryCategory, Tensor};
use std::collections::BTreeMap;

const LR: f32 = 0.1;

fn method() -> Method {
    let cascade = Some(Cascade { span: 2, independent: 0.3, cascaded: 0.7 });
    Method { modules: 3, hidden: 8, cascade, reconstruct: [1.0, 1.0], ..Method::default() }
}

fn task() -> Task {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    Task { image: ImageShape::square(16, 3), classes: 4, pixels }
}

fn batch(device: &Device) -> (Tensor, Tensor) {
    let mut images = device.alloc([4, 16, 16, 3], DType::F32, MemoryCategory::Data).unwrap();
    let values: Vec<f32> = (0..4 * 16 * 16 * 3).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    device.upload(&mut images, &values).unwrap();
    let mut labels = device.alloc([4], DType::U32, MemoryCategory::Data).unwrap();
    device.upload(&mut labels, &[0u32, 1, 2, 3]).unwrap();
    (images, labels)
}

type Named = BTreeMap<String, (Option<Role>, Vec<f32>)>;

/// Values before and after one step with these settings of a recipe.
fn step(set: &[&str]) -> (Named, Named) {
    let mut recipe = Recipe::default();
    // Steps are taken with a rate of their own.
    recipe.set_all(set.iter().copied().chain(["train.lr=0.5"])).unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let (net, optimizer) = (ResNet::cifar(8, 4).unwrap(), setup::optimizer(&recipe.train));
    let mut learner = Learner::new(&device, &net, &method(), task(), 1, optimizer).unwrap();
    let before = values(&mut learner);
    let (images, labels) = batch(&device);
    learner.step(images, &labels, &StepOptions::uniform(LR, 1)).unwrap();
    (before, values(&mut learner))
}

/// Values after two steps with these settings.
fn two_steps(set: &[&str]) -> Named {
    let mut recipe = Recipe::default();
    // Steps are taken with a rate of their own.
    recipe.set_all(set.iter().copied().chain(["train.lr=0.5"])).unwrap();
    let device = Device::cpu(Some(2)).unwrap();
    let (net, optimizer) = (ResNet::cifar(8, 4).unwrap(), setup::optimizer(&recipe.train));
    let mut learner = Learner::new(&device, &net, &method(), task(), 1, optimizer).unwrap();
    for number in 1..=2 {
        let (images, labels) = batch(&device);
        learner.step(images, &labels, &StepOptions::uniform(LR, number)).unwrap();
    }
    values(&mut learner)
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
fn decay_of_adamw_is_apart_from_the_gradient_and_spares_roles() {
    let with = |decay: &str, spared: &str| {
        step(&[
            "train.optimizer=adamw",
            &format!("train.weight_decay={decay}"),
            &format!("train.no_decay={spared}"),
        ])
    };
    let (before, every) = with("0.5", "none");
    let (free, spared) = (with("0", "none").1, with("0.5", "[\"norm\", \"bias\"]").1);
    let mut seen = [0; 3];
    for (name, (role, found)) in &spared {
        let Some(role) = *role else { continue };
        seen[role as usize] += 1;
        let as_one = if role == Role::Weight { &every } else { &free };
        assert_eq!(found, &as_one[name].1, "{name}");
        for ((p, moved), free) in before[name].1.iter().zip(&every[name].1).zip(&free[name].1) {
            // p - lr · decay · p, whatever the gradient; the step itself is no longer than lr.
            assert!((free - moved - LR * 0.5 * p).abs() < 1e-6, "{name}: {moved}, {free} without decay");
            assert!((free - p).abs() <= LR * 1.0001, "{name}: {p} to {free}");
        }
    }
    assert!(seen.iter().all(|n| *n > 3), "{seen:?}");
}

#[test]
fn the_settings_of_a_recipe_reach_the_step() {
    for (optimizer, keys) in [
        ("adamw", &["train.betas=[0.5, 0.999]", "train.betas=[0.9, 0.5]", "train.eps=0.1"][..]),
        (
            "lars",
            &["train.trust_coefficient=0.1", "train.eps=0.5", "train.momentum=0.5", "train.nesterov=false"],
        ),
    ] {
        let optimizer = format!("train.optimizer={optimizer}");
        let usual = two_steps(&[&optimizer]);
        assert_ne!(usual, two_steps(&[]), "{optimizer}");
        for key in keys {
            assert_ne!(two_steps(&[&optimizer, key]), usual, "{optimizer}: {key}");
        }
    }
    // What is written as usual is the same.
    let written = ["train.optimizer=adamw", "train.betas=[0.9, 0.999]", "train.eps=1e-8"];
    assert_eq!(two_steps(&written), two_steps(&written[..1]));
    let written = ["train.optimizer=lars", "train.trust_coefficient=0.001", "train.eps=1e-8"];
    assert_eq!(two_steps(&written), two_steps(&written[..1]));
}

#[test]
fn keys_of_another_optimiser_are_refused_where_they_are_written_and_left_where_they_are_inherited() {
    let read = |text: &str| Recipe::parse(text, "mine.toml");
    // The recipe's momentum is inherited.
    let adamw = read("extends = \"bp-resnet32\"\ntrain.optimizer = \"adamw\"\ntrain.lr = 0.001").unwrap();
    let text = adamw.to_toml().unwrap();
    assert!(
        text.contains("optimizer = \"adamw\"") && !text.contains("momentum") && !text.contains("nesterov"),
        "{text}"
    );
    assert_eq!(Recipe::kept(&text, "run").unwrap().differences(&adamw).unwrap(), []);
    assert_eq!(read(&text).unwrap().differences(&adamw).unwrap(), []);
    let other = adamw.differences(&read("extends = \"bp-resnet32\"\ntrain.lr = 0.001").unwrap()).unwrap();
    let other: Vec<_> = other.iter().map(ToString::to_string).collect();
    assert_eq!(other, ["train.optimizer is \"adamw\", not \"sgd\""]);
    for recipe in ["bp-resnet32", "quickstart"] {
        let text = Recipe::load(recipe).unwrap().to_toml().unwrap();
        assert!(!text.contains("optimizer") && text.contains("momentum"), "{text}");
    }

    for (keys, said) in [
        (
            &["optimizer=adamw", "momentum=0.9"][..],
            "a key of train.optimizer = \"sgd\" or \"lars\", and the optimizer here is \"adamw\"",
        ),
        (&["nesterov=false", "optimizer=adamw"], "train.nesterov"),
        (&["betas=[0.9, 0.99]"], "a key of train.optimizer = \"adamw\", and the optimizer here is \"sgd\""),
        (&["optimizer=lars", "betas=[0.9, 0.99]"], "here is \"lars\""),
        (&["eps=1e-6"], "\"adamw\" or \"lars\""),
        (&["optimizer=adamw", "trust_coefficient=0.1"], "= \"lars\""),
    ] {
        let mut recipe = Recipe::load("bp-resnet32").unwrap();
        let set: Vec<_> = keys.iter().map(|key| format!("train.{key}")).collect();
        let error = recipe.set_all(&set).unwrap_err().to_string();
        assert!(error.contains(said), "{keys:?}: {error}");
        let lines: Vec<_> = keys.iter().map(|key| key.replace("=a", "=\"a").replace("=l", "=\"l")).collect();
        let lines: Vec<_> =
            lines.iter().map(|l| if l.contains('"') { format!("{l}\"") } else { l.clone() }).collect();
        let error = read(&format!("[train]\n{}", lines.join("\n"))).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("mine.toml"), "{lines:?}: {error}");
    }

    // Another optimiser drops what was set for the one before.
    let mut recipe = adamw;
    recipe.set_all(["train.betas=[0.8, 0.9]", "train.eps=1e-3"]).unwrap();
    recipe.set_all(["train.optimizer=lars", "train.lr=2"]).unwrap();
    assert_eq!((recipe.train.betas, recipe.train.eps), (None, None));
    recipe.set_all(["train.momentum=0.8"]).unwrap();
    for (key, said) in [
        ("betas=[0.9, 1.0]", "each from 0 to less than 1"),
        ("betas=[0.9]", "two numbers"),
        ("eps=0", "above 0"),
        ("optimizer=adam", "did you mean \"adamw\"?"),
        ("optimizer=none", "one of sgd, adamw, lars"),
    ] {
        let error = recipe.set(&format!("train.{key}")).unwrap_err().to_string();
        assert!(error.contains(said), "{key}: {error}");
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

#[test]
fn rates_of_another_optimiser_are_refused_where_they_are_inherited() {
    let read = |text: &str| Recipe::parse(text, "mine.toml");
    for (optimizer, usual) in [("adamw", "--lr 0.001"), ("lars", "1 to 10")] {
        let set = format!("train.optimizer={optimizer}");
        let mut recipe = Recipe::load("bp-resnet32").unwrap();
        let before = recipe.clone();
        let said = recipe.set_all([&set]).unwrap_err().to_string();
        let rate = format!("train.lr = {}, which is meant for \"sgd\"", before.train.lr);
        assert!(said.contains(&rate) && said.contains(usual) && said.contains(optimizer), "{said}");
        assert_eq!(recipe, before);
        recipe.set_all([set.as_str(), "train.lr=0.002"]).unwrap();
        // The same one again is no other, and other keys are free.
        recipe.set_all([&set]).unwrap();
        recipe.set_all(["train.weight_decay=0.1"]).unwrap();
        let said = recipe.set_all(["train.optimizer=sgd"]).unwrap_err().to_string();
        assert!(said.contains("train.lr = 0.002") && said.contains("--lr 0.1"), "{said}");
        recipe.set_all(["train={optimizer=\"sgd\", lr=0.1}"]).unwrap();

        let line = format!("train.optimizer = \"{optimizer}\"");
        for base in ["", "extends = \"bp-resnet32\"\n"] {
            let said = read(&format!("{base}{line}")).unwrap_err().to_string();
            assert!(said.contains("mine.toml") && said.contains(usual), "{said}");
            let whole = read(&format!("{base}{line}\ntrain.lr = 0.003")).unwrap();
            let kept = Recipe::kept(&whole.to_toml().unwrap(), "run").unwrap();
            assert_eq!(kept.differences(&whole).unwrap(), []);
        }
    }
    for (key, other) in
        [("lr_auxiliary=0.3", "lr_auxiliary"), ("lr_cascaded=0.3", "lr_cascaded"), ("min_lr=0.01", "min_lr")]
    {
        let mut recipe = Recipe::load("quickstart").unwrap();
        recipe.set_all([format!("train.{key}"), "train.lr=0.1".into()]).unwrap();
        let adamw = ["train.optimizer=adamw".to_owned(), "train.lr=0.001".into()];
        let said = recipe.set_all(&adamw).unwrap_err().to_string();
        assert!(said.contains(&format!("train.{other} = ")), "{said}");
        recipe.set_all(adamw.iter().cloned().chain([format!("train.{other}=none")])).unwrap();
    }
    // One key after the other, which belong together.
    let mut recipe = Recipe::load("quickstart").unwrap();
    recipe.set("train.optimizer=adamw").unwrap();
    recipe.set("train.lr=0.001").unwrap();
}
