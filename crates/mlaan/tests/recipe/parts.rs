//! The built-in parts: methods, networks and data sets, alone and joined to every cell of the paper's tables.

use mlaan::local::{Branch, Cascade, Head, Leap, Partition, Task, Tie};
use mlaan::nn::ImageShape;
use mlaan::plan::{Plan, Sizes, plan};
use mlaan::recipe::{Augment, NETWORKS, Normalise, Part, Recipe, Statistics, builtin, network, recipes};
use mlaan::train::setup;
use mlaan_engine::ops::PixelScale;
use mlaan_engine::{DeviceKind, Precision};
use std::collections::BTreeSet;

fn names(part: Part) -> Vec<&'static str> {
    builtin().iter().filter(|b| b.part == part).map(|b| b.name).collect()
}

/// A step of few images: what is wrong with a method shows at any batch.
fn planned(recipe: &Recipe) -> mlaan::Result<Plan> {
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(recipe.data.size, 3), classes: 10, pixels };
    let kind = DeviceKind::Cpu { threads: Some(1) };
    let (train, test, kept, mixed, precision) = (None, None, false, false, Precision::F32);
    let (data_bytes, loading_bytes, optimizer) = (0, 0, setup::optimizer(&recipe.train));
    let (kept_test, validation) = (false, None);
    let sizes = Sizes {
        batch: 4,
        train,
        kept,
        kept_test,
        mixed,
        test,
        validation,
        data_bytes,
        loading_bytes,
        precision,
        optimizer,
        shards: recipe.train.shards_used(),
        model_ema: recipe.train.model_ema_decay.is_some(),
        kind,
    };
    plan(&setup::backbone(&recipe.model)?, &recipe.local, task, sizes)
}

fn refused(name: &str) -> String {
    Recipe::load(name).unwrap_err().to_string()
}

#[test]
fn every_file_is_built_in_and_begins_with_its_source() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes");
    let mut files = BTreeSet::new();
    for inner in ["", "methods", "data", "authors"] {
        for entry in std::fs::read_dir(format!("{folder}/{inner}")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            files.extend(name.strip_suffix(".toml").map(str::to_owned));
        }
    }
    assert_eq!(files, builtin().iter().map(|b| b.name.to_owned()).collect());
    for b in builtin() {
        assert!(b.text.starts_with("# "), "{}", b.name);
        assert!(b.text.contains("\ndescription = \""), "{}", b.name);
    }
}

#[test]
fn every_cell_of_the_papers_tables_can_be_planned() {
    let mut cells: Vec<String> = recipes();
    let small = ["resnet32-8", "resnet32-16", "resnet110-32", "resnet110-55"];
    for data in ["cifar10", "svhn", "stl10"] {
        for method in ["dgl", "infopro", "dgl-star", "infopro-star", "mlaan-paper", "mlaan-released"] {
            cells.extend(small.iter().map(|n| format!("{method}+{n}+{data}")));
        }
        cells.extend(["resnet32", "resnet110"].map(|n| format!("bp+{n}+{data}")));
        let authors = names(Part::Network).into_iter().filter(|n| n.contains("32-") || n.contains("110-"));
        cells.extend(authors.map(|n| format!("mlaan-released+{n}+{data}")));
    }
    cells.extend(
        ["resnet34-17", "resnet101-34", "resnet152-51"].map(|n| format!("mlaan-released-authors-{n}")),
    );
    cells.extend(names(Part::Method).into_iter().filter(|m| *m != "bp").map(|m| format!("{m}-resnet20-10")));
    let mut seen = BTreeSet::new();
    for cell in cells {
        let recipe = Recipe::load(&cell).unwrap_or_else(|e| panic!("{cell}: {e}"));
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::parse(&text, &cell).unwrap().to_toml().unwrap(), text, "{cell}");
        // Methods are the same on sets of the same size.
        if seen.insert(format!("{:?} {:?} {}", recipe.model, recipe.local, recipe.data.size)) {
            let plan = planned(&recipe).unwrap_or_else(|e| panic!("{cell}: {e}"));
            let modules = recipe.local.cuts.as_ref().map_or(recipe.local.modules, |c| c.len() + 1);
            assert_eq!(plan.modules.len(), modules, "{cell}");
        }
    }
}

#[test]
fn the_papers_counts_make_every_block_a_module() {
    for (name, blocks) in [
        ("resnet32-16", 15),
        ("resnet110-55", 54),
        ("resnet34-17", 16),
        ("resnet101-34", 33),
        ("resnet152-51", 50),
    ] {
        let recipe = Recipe::load(&format!("dgl-{name}")).unwrap();
        let partition = Partition::new(&recipe.local, &setup::backbone(&recipe.model).unwrap()).unwrap();
        let sizes: Vec<usize> = (0..partition.len()).map(|j| partition.blocks(j).len()).collect();
        assert_eq!(sizes, [vec![0], vec![1; blocks]].concat(), "{name}");
        // The authors' code counts the stem with the first block.
        let recipe = Recipe::load(&format!("mlaan-released-authors-{name}")).unwrap();
        let partition = Partition::new(&recipe.local, &setup::backbone(&recipe.model).unwrap()).unwrap();
        let sizes: Vec<usize> = (0..partition.len()).map(|j| partition.blocks(j).len()).collect();
        assert_eq!(sizes, vec![1; blocks], "{name}");
    }
}

#[test]
fn the_authors_cuts_and_sources_are_in_blocks_counted_from_0() {
    let recipe = |name: &str| Recipe::load(&format!("mlaan-released-authors-{name}")).unwrap();
    let sources = |name: &str| recipe(name).local.leap.unwrap().sources.unwrap();
    let r32 = sources("resnet32-16");
    assert_eq!(
        (&r32[0], &r32[2], &r32[9], &r32[13]),
        (&vec![5, 10, 12, 14], &vec![5, 10, 13, 14], &vec![10, 12, 13, 14], &vec![14])
    );
    assert_eq!(sources("resnet110-55")[35], [36, 39, 40, 53]);
    assert_eq!(sources("resnet34-17")[13], [14, 14, 15]);
    // Cut nearly, but not quite, as evenly as the rule does it.
    let authors = recipe("resnet110-32");
    assert_eq!(authors.local.cuts.as_ref().unwrap()[..5], [2, 3, 5, 6, 8]);
    let rule = Recipe::load("mlaan-released-resnet110-32").unwrap();
    let cut = |r: &Recipe| Partition::new(&r.local, &setup::backbone(&r.model).unwrap()).unwrap();
    assert_ne!(cut(&authors), cut(&rule));
    assert_eq!(cut(&recipe("resnet32-8")), cut(&Recipe::load("dgl-resnet32-8").unwrap()));
    assert_eq!(recipe("resnet34-17").local.cascade.unwrap().span, 3);
    assert_eq!(recipe("resnet32-16").local.cascade.unwrap().span, 2);
}

#[test]
fn methods_have_the_papers_numbers() {
    let method = |name: &str| Recipe::load(&format!("{name}-resnet32-16")).unwrap().local;
    let dgl = method("dgl");
    assert_eq!((dgl.modules, dgl.cascade.clone(), dgl.leap.clone()), (16, None, None));
    assert_eq!(dgl.head, Head::Classifier { convolutions: 1, linears: 2 });
    let released = method("mlaan-released");
    let twin = Leap { tie: Tie::Twin, on: Branch::Cascaded, depth: 4, ema: 0.995, ..Leap::default() };
    let weighted = Cascade { span: 2, independent: 0.001, cascaded: 0.999 };
    assert_eq!((released.cascade, released.leap), (Some(weighted.clone()), Some(twin.clone())));
    assert_eq!(released.head, Head::Classifier { convolutions: 0, linears: 1 });
    let paper = method("mlaan-paper");
    let pulled = Leap { tie: Tie::Pulled, on: Branch::Independent, ..twin.clone() };
    assert_eq!(paper.cascade, Some(Cascade { span: 3, independent: 0.5, cascaded: 0.5 }));
    assert_eq!(
        (paper.leap, method("lam").leap, method("lam").cascade),
        (Some(pulled.clone()), Some(pulled), None)
    );
    assert_eq!(method("mlm").cascade, Some(Cascade { span: 3, ..weighted.clone() }));
    for (name, head) in [("dgl-star", dgl.head), ("infopro-star", method("infopro").head)] {
        let star = method(name);
        assert_eq!(
            (star.cascade, star.leap, star.head),
            (Some(weighted.clone()), Some(twin.clone()), head),
            "{name}"
        );
    }
    for name in ["infopro", "infopro-star"] {
        assert_eq!((method(name).reconstruct, method(name).task), ([5.0, 0.5], [0.0, 1.0]), "{name}");
    }
    let imagenet = method("infopro-imagenet");
    assert_eq!((imagenet.reconstruct, imagenet.task), ([5.0; 2], [0.75; 2]));
}

#[test]
fn data_sets_have_the_papers_numbers() {
    for (name, epochs, batch, lr, size, augment, statistics) in [
        ("cifar10", 400, 1024, 0.8, 32, Augment::Cifar, Statistics::Cifar10),
        ("svhn", 400, 1024, 0.8, 32, Augment::Svhn, Statistics::Svhn),
        ("stl10", 400, 128, 0.1, 96, Augment::Stl10, Statistics::Stl10),
        ("imagenet", 90, 128, 0.05, 224, Augment::Imagenet, Statistics::Imagenet),
    ] {
        let r = Recipe::load(&format!("dgl+resnet32-16+{name}")).unwrap();
        assert_eq!(
            (r.train.epochs, r.train.batch, r.train.lr, r.train.lr_batch),
            (epochs, batch, lr, Some(batch)),
            "{name}"
        );
        assert_eq!((r.train.momentum, r.train.weight_decay, r.train.warmup), (0.9, 1e-4, 10), "{name}");
        assert_eq!(
            (r.data.size, r.data.augment, r.data.normalise),
            (size, augment, Normalise::Named(statistics)),
            "{name}"
        );
    }
}

#[test]
fn joined_names_say_the_same_in_any_order() {
    let expected = Recipe::load("mlaan-released+resnet110-55+stl10").unwrap();
    assert_eq!(
        expected.description,
        "MLAAN as the authors' code computes it, ResNet-110 in 55 modules, STL-10"
    );
    for name in [
        "stl10+resnet110-55+mlaan-released",
        "mlaan-released-resnet110-55+stl10",
        "stl10+mlaan-released-resnet110-55",
        "dgl+resnet32-8+svhn+mlaan-released+resnet110-55+stl10",
        "mlaan-released-authors-resnet32-16+resnet110-55+stl10",
    ] {
        assert_eq!(Recipe::load(name).unwrap(), expected, "{name}");
    }
    // On the network's usual set.
    let usual = [("resnet32-16", "cifar10"), ("resnet101-34", "imagenet")];
    for (network, data) in usual {
        let whole = Recipe::load(&format!("dgl-{network}")).unwrap();
        for name in [format!("dgl+{network}"), format!("dgl+{network}+{data}")] {
            assert_eq!(Recipe::load(&name).unwrap(), whole, "{name}");
        }
    }
    assert_eq!(
        Recipe::parts("dgl-resnet44-8").unwrap().iter().map(|p| p.1.as_str()).collect::<Vec<_>>(),
        ["dgl", "resnet44-8", "cifar10"]
    );
}

#[test]
fn files_extend_parts_and_parts_change_files() {
    let r = Recipe::parse("extends = [\"lam\", \"resnet20-10\", \"svhn\"]\nlocal.leap.depth = 2", "mine")
        .unwrap();
    assert_eq!((r.local.modules, r.local.leap.unwrap().depth, r.data.augment), (10, 2, Augment::Svhn));
    assert_eq!(r.description, "LAM alone, ResNet-20 in 10 modules, SVHN");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "extends = \"lam-resnet20-10\"\ndescription = \"mine\"\nseed = 3").unwrap();
    let r = Recipe::load(&format!("{}+stl10", path.display())).unwrap();
    assert_eq!((r.seed, r.data.size, r.description.as_str()), (3, 96, "mine, STL-10"));
}

#[test]
fn a_method_leaves_nothing_of_the_one_below() {
    for below in names(Part::Method) {
        for method in names(Part::Method) {
            let network = if method == "bp" { "resnet32" } else { "resnet32-16" };
            let alone = Recipe::load(&format!("{method}+{network}")).unwrap();
            assert_eq!(
                Recipe::load(&format!("{below}+{method}+{network}")).unwrap(),
                alone,
                "{below}, {method}"
            );
        }
    }
}

#[test]
fn what_does_not_make_a_recipe_says_what_is_missing() {
    for (name, words) in [
        ("dgl", &["names no network", "dgl+resnet32-16+svhn"][..]),
        ("resnet32-16", &["names no method"]),
        ("cifar10", &["names no method"]),
        ("dgl+cifar10", &["names no network"]),
        ("dgl+resnet32", &["local.modules", "DGL needs modules", "write the network as resnet32-16, or"]),
        ("dgl-resnet20", &["DGL needs modules", "write the network as resnet20-10, or"]),
        ("dgl-resnet50", &["write the network as resnet50-17, or"]),
        ("bp+resnet32-16", &["local.modules", "Backpropagation has one module", "resnet32-16 has 16"]),
        ("bp-resnet32-16", &["Backpropagation has one module"]),
        ("dgl-authors-resnet32-16", &["local.leap", "for methods with [local.leap]", "DGL has none"]),
        ("lam-authors-resnet34-17", &["local.cascade"]),
        ("dgl-resnet33-4", &["model.backbone", "6n+2", "resnet33-4"]),
        ("mlaan-paper-resnet32", &["MLAAN as the paper describes it needs modules"]),
        ("dgl+rsnet32-16", &["rsnet32-16: neither"]),
        ("mlaan-relased-resnet32-16", &["Did you mean mlaan-released-resnet32-16"]),
    ] {
        let e = refused(name);
        assert!(words.iter().all(|w| e.contains(w)), "{name}: {e}");
    }
    let recipe = Recipe::load("dgl-resnet32-17").unwrap();
    assert!(planned(&recipe).unwrap_err().to_string().contains("1 to 16 modules"));
    assert!(NETWORKS.iter().all(|n| network(n).is_some()));
}

#[test]
fn mirrors_may_be_of_any_block_that_fits() {
    let sources = |text: &str| {
        let set = [format!("local.leap.sources={text}")];
        planned(&Recipe::compose(&["lam-resnet14-3"], set)?).map(|_| ())
    };
    // Two blocks are of each stage: 4 brings the shape down, 5 keeps it.
    sources("[[1, 2, 4, 5, 5], [4]]").unwrap();
    let e = sources("[[4], [4]]").unwrap_err().to_string();
    assert!(e.contains("local.leap.sources") && e.contains("[4] do not fit behind"), "{e}");
    assert!(sources("[[6], [4]]").unwrap_err().to_string().contains("blocks 0 to 5"));
    assert!(sources("[[], [4]]").unwrap_err().to_string().contains("has no EMA copy of a block"));
}
