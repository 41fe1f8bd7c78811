//! Recipes: what is read, what is refused and how, and the built-in set.

use mlaan::Error;
use mlaan::local::{Branch, Cascade, Head, Leap, LeapInit, LeapState, Offload, Recompute, TaskLoss, Tie};
use mlaan::nn::Role;
use mlaan::recipe::{
    Augment, ClassWeights, ColourJitter, Family, KEYS, MeanStd, Normalise, OptimizerKind, Recipe, Sampler,
    Schedule,
};
use std::collections::BTreeSet;

fn refused(text: &str) -> (String, String) {
    key_and_message(Recipe::parse(text, "my.toml").unwrap_err())
}

fn key_and_message(e: Error) -> (String, String) {
    match e {
        Error::Recipe { key, message } => (key, message),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_refused(text: &str, key: &str, words: &[&str]) {
    let (found, message) = refused(text);
    assert_eq!(found, key, "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

/// A recipe in which every optional key has a value but those of other optimisers and schedules than its own.
fn full() -> Recipe {
    let mut r = Recipe::default();
    r.model.family = Some(Family::Cifar);
    r.model.width = Some(8);
    r.model.init = Some("runs/before".into());
    r.model.init_key = Some("ema".into());
    r.local.cuts = Some(vec![0, 3]);
    r.local.stem_alone = Some(true);
    r.local.offload = Offload::Auxiliary;
    (r.local.recompute, r.local.segments) = (Recompute::Module, Some(2));
    r.local.cascade = Some(Cascade::default());
    r.local.leap = Some(Leap {
        sources: Some(vec![vec![0, 4], vec![4]]),
        init: LeapInit::Random,
        state: LeapState::Bf16,
        tie: Tie::Untied,
        width: 0.5,
        every: 3,
        ..Leap::default()
    });
    r.train.lr_auxiliary = Some(0.1);
    r.train.lr_cascaded = Some(0.2);
    r.train.lr_batch = Some(512);
    r.train.full_warmup = Some(true);
    r.train.optimizer = OptimizerKind::Lars;
    (r.train.schedule, r.train.min_lr, r.train.decay_fraction) = (Schedule::Wsd, Some(0.01), Some(0.3));
    (r.train.per_step, r.train.warmup_steps) = (Some(true), Some(100));
    (r.train.eps, r.train.trust_coefficient) = (Some(1e-6), Some(0.02));
    r.train.no_decay = [Role::Norm].into_iter().collect();
    r.train.patience = Some(5);
    (r.data.validation, r.data.test) = (Some(0.1), Some(0.2));
    (r.train.label_smoothing, r.train.clip_grad_norm) = (Some(0.1), Some(1.0));
    r.train.freeze = vec!["layer1".into()];
    (r.train.shards, r.train.model_ema_decay) = (Some(4), Some(0.999));
    r.train.class_weights = Some(ClassWeights::Each(vec![0.5, 2.0]));
    r.data.limit = Some(100);
    r.data.short_side = Some(40);
    r.data.colour_jitter = Some(ColourJitter::Each([0.4, 0.4, 0.4, 0.1]));
    (r.data.random_erasing, r.data.cutout, r.data.mixup) = (Some(0.25), Some(8), Some(0.2));
    r.data.cutmix = Some(1.0);
    r.data.randaugment = Some([2, 9]);
    r.data.sampler = Sampler::Balanced;
    r
}

#[test]
fn an_empty_recipe_has_the_documented_defaults() {
    let r = Recipe::parse("", "empty").unwrap();
    assert_eq!(r, Recipe::default());
    assert_eq!(r.model.backbone.depth(), 32);
    assert_eq!((r.model.family(), r.model.width()), (Family::Cifar, 16));
    assert_eq!((r.train.epochs, r.train.batch, r.train.warmup), (400, 1024, 10));
    assert_eq!((r.train.lr, r.train.momentum, r.train.weight_decay), (0.8, 0.9, 1e-4));
    assert!(r.train.nesterov);
    assert_eq!(r.train.schedule, Schedule::Cosine);
    assert_eq!((r.data.source.as_str(), r.data.size), ("builtin", 32));
    assert_eq!(r.local.modules, 1);
}

#[test]
fn every_key_is_listed_and_every_listed_key_exists() {
    let mut adamw = full();
    let rates =
        ["lr=0.001", "lr_auxiliary=0.001", "lr_cascaded=0.001", "min_lr=1e-5"].map(|k| format!("train.{k}"));
    let adamw_keys = ["train.optimizer=adamw", "train.betas=[0.8, 0.9]"].map(String::from);
    adamw.set_all(adamw_keys.into_iter().chain(rates)).unwrap();
    let (mut step, mut cuts) = (full(), full());
    step.set_all(["train.schedule=step", "train.step_size=30", "train.gamma=0.5"]).unwrap();
    cuts.set_all(["train.schedule=multistep", "train.milestones=[30, 60]"]).unwrap();
    let table = |r: Recipe| -> toml::Table { toml::from_str(&r.to_toml().unwrap()).unwrap() };
    let mut found = BTreeSet::new();
    let mut open: Vec<_> = [full(), adamw, step, cuts].map(|r| (String::new(), table(r))).into();
    while let Some((path, table)) = open.pop() {
        for (name, value) in table {
            let full = if path.is_empty() { name } else { format!("{path}.{name}") };
            match value {
                toml::Value::Table(inner) => open.push((full, inner)),
                _ => drop(found.insert(full)),
            }
        }
    }
    let listed: BTreeSet<String> = KEYS.iter().map(|k| k.path.to_owned()).collect();
    assert_eq!(found, listed);
}

#[test]
fn optional_keys_can_be_removed_and_others_cannot() {
    for key in KEYS.iter().filter(|k| k.path != "description" && k.path != "data.source") {
        let mut full = full();
        full.train.betas = Some([0.8, 0.9]);
        (full.train.step_size, full.train.gamma, full.train.milestones) =
            (Some(30), Some(0.5), Some(vec![30]));
        let mut r = full.clone();
        let removed = r.set(&format!("{}=none", key.path));
        let words = ["data.augment", "local.recompute", "local.offload", "local.leap.share"];
        let is_word = words.contains(&key.path);
        assert_eq!(removed.is_ok(), key.optional || is_word, "{}", key.path);
        if key.optional {
            assert_ne!(r, full, "{}", key.path);
        }
    }
}

#[test]
fn toml_comes_back_the_same() {
    let full = full();
    let text = full.to_toml().unwrap();
    assert_eq!(Recipe::parse(&text, "again").unwrap(), full);
    let written = Recipe::default().to_toml().unwrap();
    assert!(written.contains("width = 16"), "{written}");
    assert!(written.contains("weight_decay = 0.0001"), "{written}");
    let again = Recipe::parse(&written, "again").unwrap();
    assert_eq!(again.to_toml().unwrap(), written);

    let mut r = Recipe::default();
    let statistics = MeanStd { mean: [0.5, 0.25, 0.0], std: [0.1, 0.2, 1.0] };
    r.set("data.normalise={mean=[0.5, 0.25, 0], std=[0.1, 0.2, 1]}").unwrap();
    assert_eq!(r.data.normalise, Normalise::Values(statistics));
    let again = Recipe::parse(&r.to_toml().unwrap(), "again").unwrap();
    assert_eq!(again.data.normalise, r.data.normalise);
}

#[test]
fn unknown_keys_are_named_in_full_with_the_nearest() {
    assert_refused(
        "[local.cascade]\nspam = 3",
        "local.cascade.spam",
        &["local.cascade.span", "independent, cascaded", "my.toml, line 2"],
    );
    assert_refused("[trian]\nepochs = 3", "trian", &["did you mean `train`", "my.toml, line 1"]);
    assert_refused("epochs = 3", "epochs", &["did you mean `train.epochs`"]);
    assert_refused("[train]\nzzz = 3", "train.zzz", &["unknown key. Allowed in [train]: epochs, batch"]);
    assert_refused("data.normalise = {mean=[0,0,0], sdt=[1,1,1]}", "data.normalise", &["sdt", "mean, std"]);
}

#[test]
fn wrong_types_say_what_was_found_and_what_is_expected() {
    assert_refused("train.epochs = \"many\"", "train.epochs", &["the string \"many\"", "whole number"]);
    assert_refused("train.epochs = 2.5", "train.epochs", &["2.5", "whole number"]);
    assert_refused("train.nesterov = 1", "train.nesterov", &["found 1", "true or false"]);
    assert_refused("train = 3", "train", &["found 3", "expected a table", "epochs, batch"]);
    assert_refused("[train.lr]\na = 1", "train.lr", &["a table", "a number"]);
    assert_refused("seed = -1", "seed", &["-1", "at least 0"]);
    assert_refused("local.task = [1.0]", "local.task", &["two numbers"]);
    assert_refused("description = 3", "description", &["found 3", "a string"]);
    assert_refused("data.normalise = 3", "data.normalise", &["found 3", "imagenet", "mean"]);
}

#[test]
fn impossible_values_say_what_is_allowed() {
    for (text, key, word) in [
        ("local.modules = 0", "local.modules", "at least 1"),
        ("local.hidden = 0", "local.hidden", "at least 1"),
        ("local.temperature = 0", "local.temperature", "above 0"),
        ("local.reconstruct = [1, -1]", "local.reconstruct", "from 0"),
        ("local.task = [nan, 1]", "local.task", "from 0"),
        ("local.task = [0, 0]", "local.task", "no module would learn"),
        ("local.cuts = [2, 2]", "local.cuts", "greater"),
        ("local.cuts = [-1]", "local.cuts", "from 0"),
        ("local.cascade.span = 1", "local.cascade.span", "at least 2"),
        ("local.cascade.span = 2", "local.cascade", "at least 2 modules"),
        (
            "local = {modules = 4, cascade = {independent = 0, cascaded = 0}}",
            "local.cascade.cascaded",
            "both 0",
        ),
        ("local = {modules = 4, leap = {on = \"cascaded\"}}", "local.leap.on", "no [local.cascade]"),
        ("local = {modules = 4, leap = {ema = 1.5}}", "local.leap.ema", "from 0 to 1"),
        ("local = {modules = 4, leap = {sources = [[1]]}}", "local.leap.sources", "expected 3"),
        ("local = {modules = 2, leap = {sources = [[3, -1]]}}", "local.leap.sources", "list 0"),
        ("local = {modules = 4, leap = {width = 0.5}}", "local.leap.width", "untied"),
        ("local = {modules = 4, leap = {width = 0.5, tie = \"untied\"}}", "local.leap.init", "random"),
        ("local = {modules = 4, leap = {width = 1.5}}", "local.leap.width", "at most 1"),
        ("local = {modules = 4, leap = {every = 0}}", "local.leap.every", "from 1 to 64"),
        ("local = {modules = 4, leap = {share = \"all\"}}", "local.leap.share", "none, stage"),
        (
            "local = {modules = 4, offload = \"auxiliary\", leap = {share = \"stage\"}}",
            "local.leap.share",
            "local.offload",
        ),
        ("local.leap.ema = 0.9", "local.leap", "at least 2 modules"),
        ("local.offload = \"auxiliary\"", "local.offload", "no auxiliary networks"),
        ("local.offload = \"all\"", "local.offload", "auxiliary"),
        ("local.head = \"1c0f\"", "local.head", "AcBf"),
        ("local.loss = \"crossentropy\"", "local.loss", "did you mean \"cross_entropy\""),
        ("train.epochs = 0", "train.epochs", "at least 1"),
        ("train.batch = 0", "train.batch", "at least 1"),
        ("train.lr = -0.1", "train.lr", "from 0"),
        ("train.lr = inf", "train.lr", "from 0"),
        ("train.lr_cascaded = -1", "train.lr_cascaded", "from 0"),
        ("train.momentum = 1.5", "train.momentum", "from 0 to 1"),
        ("train.schedule = \"cosin\"", "train.schedule", "\"cosine\""),
        ("data.size = 7", "data.size", "from 8"),
        ("data.limit = 0", "data.limit", "at least 1"),
        ("data.short_side = 16", "data.short_side", "at least 32"),
        ("data.colour_jitter = -0.1", "data.colour_jitter", "from 0"),
        ("data.colour_jitter = [0.1, 0.1, 0.1]", "data.colour_jitter", "four"),
        ("data.colour_jitter = [0.1, 0.1, 0.1, 0.6]", "data.colour_jitter", "0.5"),
        ("data.randaugment = [0, 9]", "data.randaugment", "from 1 to 14"),
        ("data.randaugment = [2, 31]", "data.randaugment", "from 0 to 30"),
        ("data.randaugment = [2, 9.5]", "data.randaugment", "whole numbers"),
        ("data.random_erasing = 1.5", "data.random_erasing", "from 0 to 1"),
        ("data.cutout = 33", "data.cutout", "32 pixels"),
        ("data.mixup = 0", "data.mixup", "above 0"),
        ("data.sampler = \"random\"", "data.sampler", "shuffle, balanced"),
        ("data.cutmix = 0", "data.cutmix", "above 0"),
        ("data.cutmix = 1.0\nlocal.loss = \"contrastive\"", "data.cutmix", "cross_entropy"),
        ("data.mixup = 0.2\nlocal.loss = \"contrastive\"", "data.mixup", "cross_entropy"),
        ("data.normalise = {mean=[125,0,0], std=[1,1,1]}", "data.normalise", "divide by 255"),
        ("data.normalise = {mean=[0,0,0], std=[1,1,0]}", "data.normalise", "none of them 0"),
        ("data.normalise = {mean=[0,0,0]}", "data.normalise", "std"),
        ("model.width = 0", "model.width", "from 1"),
        ("model.backbone = \"resnet33\"", "model.backbone", "resnet32 and resnet38"),
        ("model.backbone = \"vgg11\"", "model.backbone", "unknown"),
        ("model.backbone = \"resnet9999999999999999999999\"", "model.backbone", "unknown"),
        ("model = {backbone = \"resnet18\", family = \"cifar\"}", "model.family", "6n+2"),
        ("model = {backbone = \"resnet32\", family = \"imagenet\"}", "model.family", "152"),
    ] {
        let (found, message) = refused(text);
        assert_eq!(found, key, "{text}: {message}");
        assert!(message.contains(word), "{text}: `{word}` is not in: {message}");
        assert!(message.contains("my.toml"), "{message}");
    }
}

#[test]
fn backbones_have_their_family_and_width() {
    for (name, family, width) in [
        ("resnet8", Family::Cifar, 16),
        ("resnet110", Family::Cifar, 16),
        ("resnet18", Family::Imagenet, 64),
        ("resnet50", Family::Imagenet, 64),
        ("resnet152", Family::Imagenet, 64),
    ] {
        let r = Recipe::parse(&format!("model.backbone = \"{name}\""), "t").unwrap();
        assert_eq!((r.model.family(), r.model.width()), (family, width), "{name}");
        assert_eq!(r.model.backbone.to_string(), name);
    }
    let r = Recipe::parse("model = {backbone = \"resnet50\", family = \"cifar\"}", "t").unwrap();
    assert_eq!((r.model.family(), r.model.width()), (Family::Cifar, 16));
}

#[test]
fn a_syntax_error_names_file_line_and_column() {
    let e = Recipe::parse("seed = 1\n[train]\nlr = = 2\n", "my.toml").unwrap_err();
    let text = e.to_string();
    assert!(text.starts_with("my.toml, line 3, column 6: not valid TOML"), "{text}");
    let e = Recipe::parse("seed = 1\nseed = 2\n", "my.toml").unwrap_err().to_string();
    assert!(e.contains("line 2"), "{e}");
}

#[test]
fn load_prefers_built_in_names_then_files() {
    assert_eq!(Recipe::load("quickstart").unwrap().model.backbone.depth(), 8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "seed = 5").unwrap();
    assert_eq!(Recipe::load(path.to_str().unwrap()).unwrap().seed, 5);
    let text = Recipe::load("mlaan-relased-resnet32").unwrap_err().to_string();
    assert!(text.contains("mlaan-released-resnet32-16"), "{text}");
    let text = Recipe::load("no/such.toml").unwrap_err().to_string();
    assert!(text.contains("neither a built-in recipe nor a file") && text.contains("quickstart"), "{text}");
    assert!(matches!(Recipe::load(folder.path().to_str().unwrap()), Err(Error::NoRecipe { .. })));
}

#[test]
fn set_reaches_every_kind_of_key() {
    let mut r = Recipe::default();
    r.set_all([
        "local.cascade.span = 3",
        "local.modules=16",
        "local.head=0c1f",
        "local.loss=contrastive",
        "local.leap.tie=twin",
        "local.leap.on=\"cascaded\"",
        "local.reconstruct=[5, 0.5]",
        "local.cuts=[0,5]",
        "model.backbone=resnet110",
        "train.lr=1",
        "data.source=/images/of cats",
        "data.augment=none",
        "data.limit=10",
        "data.normalise=svhn",
        "data.colour_jitter=[0.4, 0.3, 0.2, 0]",
        "data.cutout=8",
        "description=a = b",
    ])
    .unwrap();
    let cascade = r.local.cascade.clone().unwrap();
    assert_eq!((cascade.span, cascade.independent, cascade.cascaded), (3, 0.001, 0.999));
    let leap = r.local.leap.clone().unwrap();
    assert_eq!((leap.tie, leap.on, leap.depth), (Tie::Twin, Branch::Cascaded, 4));
    assert_eq!(r.local.head, Head::Classifier { convolutions: 0, linears: 1 });
    assert_eq!((r.local.loss, r.local.cuts.clone()), (TaskLoss::Contrastive, Some(vec![0, 5])));
    assert_eq!((r.local.reconstruct, r.train.lr), ([5.0, 0.5], 1.0));
    assert_eq!(r.data.colour_jitter, Some(ColourJitter::Each([0.4, 0.3, 0.2, 0.0])));
    r.set("data.colour_jitter=0.4").unwrap();
    assert_eq!((r.data.colour_jitter, r.data.cutout), (Some(ColourJitter::Same(0.4)), Some(8)));
    assert_eq!(r.data.source, "/images/of cats");
    assert_eq!((r.data.augment, r.data.limit), (Augment::None, Some(10)));
    assert_eq!(r.description, "a = b");
    assert_eq!(r.model.backbone.depth(), 110);

    r.set_all(["local.leap=none", "local.cascade=off", "local.cuts=none", "data.limit=none"]).unwrap();
    assert!(r.local.leap.is_none() && r.local.cascade.is_none() && r.local.cuts.is_none());
    assert_eq!(r.data.limit, None);
    r.set_all(["local.cascade=on", "local.leap={ema=0.5}", "data.source=2024"]).unwrap();
    assert_eq!(r.local.cascade, Some(Cascade::default()));
    assert_eq!(r.local.leap.as_ref().unwrap().ema, 0.5);
    assert_eq!(r.data.source, "2024");
}

#[test]
fn a_refused_set_says_why_and_changes_nothing() {
    let before = Recipe::default();
    for (assignment, key, word) in [
        ("local.cascade.spn=3", "local.cascade.spn", "local.cascade.span"),
        ("local.cascade.span=one", "local.cascade.span", "whole number"),
        ("epoch=3", "epoch", "did you mean"),
        ("trian.epochs=3", "trian.epochs", "did you mean `train.epochs`"),
        ("local.cascad.span=3", "local.cascad.span", "did you mean `local.cascade.span`"),
        ("train.epochs", "train.epochs", "key=value"),
        ("train.epochs=none", "train.epochs", "whole number"),
        ("train=none", "train", "expected a table"),
        ("local.cascade=3", "local.cascade", "or on, or none"),
        ("train.lr.x=3", "train.lr.x", "no keys inside"),
        ("train.lr=1\nseed = 3", "train.lr", "a number"),
        ("data.normalise.mean=[0,0,0]", "data.normalise.mean", "as a whole"),
        ("data.normalise=foo", "data.normalise", "{mean = [r, g, b]"),
        ("data.mixup=0", "data.mixup", "`none` leaves it out"),
        ("data.cutout=0", "data.cutout", "`none` leaves it out"),
        ("=3", "", "unknown key"),
    ] {
        let mut r = before.clone();
        let (found, message) = key_and_message(r.set(assignment).unwrap_err());
        assert_eq!(found, key, "{assignment}: {message}");
        assert!(message.contains(word), "{assignment}: `{word}` is not in: {message}");
        assert_eq!(r, before, "{assignment}");
    }
    let mut r = before.clone();
    // The first is fine by itself, but contradicts the single module.
    assert!(r.set_all(["train.epochs=3", "local.cascade.span=3"]).is_err());
    assert_eq!(r, before);
    // Lists of sources leave a depth without effect.
    let listed = Recipe::load("mlaan-released-authors-resnet32-8").unwrap();
    let set = |keys: &[&str]| listed.clone().set_all(keys);
    let (key, message) = key_and_message(set(&["local.leap.depth=2"]).unwrap_err());
    assert!(key == "local.leap.depth" && message.contains("local.leap.sources"), "{key}: {message}");
    set(&["local.leap.depth=2", "local.leap.sources=none"]).unwrap();
}

#[test]
fn flags_have_typed_setters() {
    let mut r = Recipe::default();
    r.set_epochs(3).unwrap();
    r.set_batch(64).unwrap();
    r.set_seed(9).unwrap();
    r.set_limit(Some(100)).unwrap();
    r.set_source("none");
    assert_eq!((r.train.epochs, r.train.batch, r.seed), (3, 64, 9));
    assert_eq!((r.data.limit, r.data.source.as_str()), (Some(100), "none"));
    r.set_limit(None).unwrap();
    assert_eq!(r.data.limit, None);
    assert!(r.set_epochs(0).is_err() && r.set_batch(0).is_err() && r.set_limit(Some(0)).is_err());
    assert!(r.set_seed(u64::MAX).is_err());
    r.seed = u64::MAX;
    assert_eq!(key_and_message(r.validate().unwrap_err()).0, "seed");
}

#[test]
fn schedules_need_their_keys_and_refuse_those_of_others() {
    for (set, said) in [
        (&["schedule=step"][..], "train.step_size"),
        (&["schedule=multistep"], "train.milestones"),
        (&["schedule=multistep", "milestones=[6, 2]"], "each greater than the one before"),
        (&["warmup_steps=10"], "train.per_step = true"),
        (&["step_size=3"], "a key of train.schedule = \"step\", and the schedule here is \"cosine\""),
        (&["gamma=0.5"], "\"step\" or \"multistep\""),
        (&["schedule=constant", "min_lr=0.1"], "\"cosine\" or \"linear\" or \"wsd\""),
        (&["schedule=wsd", "decay=1.5"], "above 0, at most 1"),
        (&["schedule=step", "step_size=0"], "at least 1"),
        (&["schedule=steps", "step_size=1"], "did you mean \"step\"?"),
    ] {
        let mut recipe = Recipe::load("bp-resnet32").unwrap();
        let set: Vec<_> = set.iter().map(|key| format!("train.{key}")).collect();
        let error = recipe.set_all(&set).unwrap_err().to_string();
        assert!(error.contains(said), "{set:?}: {error}");
    }
    // Keys of a schedule that was left are dropped, and those that a file inherits do no harm.
    let mut recipe = Recipe::load("bp-resnet32").unwrap();
    let plain = recipe.clone();
    recipe
        .set_all([
            "train.schedule=wsd",
            "train.decay_fraction=0.3",
            "train.per_step=true",
            "train.warmup_steps=5",
        ])
        .unwrap();
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::parse(&text, "again").unwrap().train, recipe.train);
    let file = format!("{}\n", text.replace("schedule = \"wsd\"", "schedule = \"step\"\nstep_size = 3"));
    let error = Recipe::parse(&file, "mine.toml").unwrap_err().to_string();
    assert!(error.contains("train.decay_fraction") && error.contains("mine.toml"), "{error}");
    recipe.set_all(["train.schedule=cosine", "train.per_step=false"]).unwrap();
    assert_eq!(recipe, plain);
}

#[test]
fn keys_are_read_by_their_earlier_names() {
    let today = "extends = \"bp-resnet32\"\n[train]\nschedule = \"wsd\"\ndecay_fraction = 0.3\n";
    let before = today.replace("decay_fraction", "decay");
    let read = Recipe::parse(&before, "before.toml").unwrap();
    assert_eq!(read.train.decay_fraction, Some(0.3));
    assert_eq!(read, Recipe::parse(today, "today.toml").unwrap());
    let kept = read.to_toml().unwrap();
    assert!(kept.contains("\ndecay_fraction = 0.3\n"), "{kept}");
    let kept_before = kept.replace("decay_fraction", "decay");
    let as_kept = |text: &str| Recipe::kept(text, "a checkpoint").unwrap();
    assert_eq!(as_kept(&kept_before), as_kept(&kept));
    for set in [&["train.schedule=wsd", "train.decay=0.3"][..], &["train={schedule = \"wsd\", decay = 0.3}"]]
    {
        let mut recipe = Recipe::load("bp-resnet32").unwrap();
        recipe.set_all(set).unwrap();
        assert_eq!(
            (recipe.train.schedule, recipe.train.decay_fraction),
            (Schedule::Wsd, Some(0.3)),
            "{set:?}"
        );
    }
    let wrong = Recipe::parse(&before.replace("0.3", "3"), "before.toml").unwrap_err().to_string();
    assert!(wrong.contains("train.decay_fraction") && wrong.contains("before.toml, line 4"), "{wrong}");
    let twice =
        Recipe::parse(&format!("{before}decay_fraction = 0.2\n"), "twice.toml").unwrap_err().to_string();
    assert!(twice.contains("`train.decay` is another name of it") && twice.contains("twice.toml"), "{twice}");
}
