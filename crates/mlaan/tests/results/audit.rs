//! The locality audit: every method keeps its gradients where it says, and one that does not is named.

use mlaan::audit::{Audit, audit, audit_recipe};
use mlaan::backbone::{Backbone, ResNet};
use mlaan::local::{Branch, Cascade, Leap, Learner, Method, Owner, Task, TaskLoss};
use mlaan::nn::optim::{Rule, Sgd};
use mlaan::nn::{ImageShape, Optimizer};
use mlaan::recipe::Recipe;
use mlaan_engine::Device;
use mlaan_engine::ops::PixelScale;

fn device() -> Device {
    Device::cpu(Some(2)).unwrap()
}

/// ResNet-8 of width 4 in four modules, the stem in the first.
fn found(keys: &[&str]) -> Audit {
    let mut recipe = Recipe::load("quickstart").unwrap();
    let small = ["model.width=4", "local.modules=3", "local.hidden=8", "data.size=16", "train.batch=8"];
    recipe.set_all(small).unwrap();
    recipe.set_all(keys.iter().copied()).unwrap();
    audit_recipe(&recipe, &device(), 4, &mut |_, _| {}).unwrap()
}

/// The modules that a loss changed.
fn modules(audit: &Audit, module: usize, branch: Branch) -> Vec<usize> {
    let row = audit.rows.iter().find(|r| (r.loss.module, r.loss.branch) == (module, branch)).unwrap();
    let changed = row.parts.iter().filter(|r| !r.changed.is_empty());
    changed.filter_map(|r| if let Owner::Module(m) = r.owner { Some(m) } else { None }).collect()
}

#[test]
fn methods_keep_gradients_where_they_say() {
    let methods: [(&str, &[&str]); 11] = [
        ("bp", &["local.modules=1", "local.leap=none", "local.cascade=none"]),
        ("dgl", &["local.leap=none", "local.cascade=none", "local.head=1c2f"]),
        ("infopro", &["local.leap=none", "local.cascade=none", "local.reconstruct=[5.0, 0.5]"]),
        ("mlm", &["local.leap=none", "local.cascade.span=3"]),
        ("lam", &["local.cascade=none", "local.leap.tie=pulled", "local.leap.on=independent"]),
        ("paper", &["local.cascade.span=2", "local.leap.tie=pulled", "local.leap.on=independent"]),
        ("released", &[]),
        ("contrastive", &["local.leap=none", "local.cascade.span=2", "local.loss=contrastive"]),
        ("shared", &["local.modules=4", "local.leap.share=stage"]),
        ("untied", &["local.leap.tie=untied"]),
        ("frozen", &["train.freeze=[\"stem\", \"layer1\"]"]),
    ];
    for (name, keys) in methods {
        let found = found(keys);
        assert_eq!(found.leaks().count(), 0, "{name}: {:?}", found.leaks().next());
        assert_eq!(found.missing().count(), 0, "{name}: {:?}", found.missing().next());
    }
}

#[test]
fn the_matrix_is_the_method() {
    let dgl = found(&["local.leap=none", "local.cascade=none"]);
    for m in 0..3 {
        assert_eq!(modules(&dgl, m, Branch::Independent), [m]);
    }
    let mlm = found(&["local.leap=none", "local.cascade.span=2"]);
    assert_eq!(mlm.rows.len(), 5, "two losses a module, one behind the last");
    assert_eq!(modules(&mlm, 0, Branch::Cascaded), [0]);
    assert_eq!(modules(&mlm, 1, Branch::Independent), [1]);
    assert_eq!(modules(&mlm, 1, Branch::Cascaded), [0, 1]);
    assert_eq!(modules(&mlm, 2, Branch::Independent), [1, 2], "the classifier's loss is cascaded, too");
    let bp = found(&["local.modules=1", "local.leap=none", "local.cascade=none"]);
    assert_eq!((bp.rows.len(), modules(&bp, 0, Branch::Independent)), (1, vec![0]));
}

/// Builds one method and audits it as another.
fn taken_for(built: &Method, declared: &Method) -> Audit {
    let backbone = ResNet::cifar(8, 4).unwrap();
    let pixels = PixelScale { mean: [0.5; 3], std: [0.25; 3] };
    let task = Task { image: ImageShape::square(16, 3), classes: 10, pixels };
    let rule = Rule::Sgd(Sgd { momentum: 0.0, nesterov: false });
    let optimizer = Optimizer { rule, weight_decay: 0.0, ..Optimizer::default() };
    let device = device();
    let mut build = || Learner::new(&device, &backbone, built, task, 0, optimizer);
    let backbone: &dyn Backbone = &backbone;
    audit(&mut build, (declared, backbone), (4, 0), &mut |_, _| {}).unwrap()
}

#[test]
fn a_cut_that_a_gradient_crosses_is_named() {
    let span = |span| Method {
        modules: 4,
        hidden: 8,
        cascade: Some(Cascade { span, ..Cascade::default() }),
        ..Method::default()
    };
    // Cascades go one module further than the method allows.
    let found = taken_for(&span(3), &span(2));
    let leaks: Vec<_> = found.leaks().map(|(loss, reach)| (loss.module, loss.branch, reach.owner)).collect();
    let expected = [
        (2, Branch::Cascaded, Owner::Module(0)),
        // The classifier's loss.
        (3, Branch::Independent, Owner::Module(1)),
    ];
    assert_eq!(leaks, expected);
    let (_, first) = found.leaks().next().unwrap();
    assert!(first.leaked().iter().all(|name| name.contains("conv1") || name.contains("bn1")), "{first:?}");
    // The other way round a loss does not train what it should.
    let found = taken_for(&span(2), &span(3));
    assert_eq!(found.leaks().count(), 0);
    let missing: Vec<_> = found.missing().map(|(loss, reach)| (loss.module, reach.owner)).collect();
    assert_eq!(missing, [(2, Owner::Module(0)), (3, Owner::Module(1))]);
}

#[test]
fn a_contrastive_loss_is_seen_through_too() {
    let span = |span| Method {
        modules: 4,
        hidden: 8,
        loss: TaskLoss::Contrastive,
        cascade: Some(Cascade { span, ..Cascade::default() }),
        ..Method::default()
    };
    let found = taken_for(&span(3), &span(2));
    let leaks: Vec<_> = found.leaks().map(|(loss, reach)| (loss.module, reach.owner)).collect();
    assert_eq!(leaks, [(2, Owner::Module(0)), (3, Owner::Module(1))]);
}

#[test]
fn mirrors_may_follow_and_nothing_else() {
    let leap = |leap| Method { modules: 3, hidden: 8, leap, ..Method::default() };
    let with = taken_for(&leap(Some(Leap::default())), &leap(Some(Leap::default())));
    assert_eq!(with.leaks().count(), 0);
    let followed = with.rows.iter().flat_map(|r| &r.parts).filter(|r| r.mirrors && !r.changed.is_empty());
    assert!(followed.count() > 0, "mirrors follow what was trained");
    // Where the method has none, what follows is a leak.
    let without = taken_for(&leap(Some(Leap::default())), &leap(None));
    let owners: Vec<Owner> = without.leaks().map(|(_, reach)| reach.owner).collect();
    assert!(!owners.is_empty() && owners.iter().all(|o| matches!(o, Owner::Auxiliary(..))), "{owners:?}");
}

#[test]
fn an_audit_comes_back_as_it_was_written() {
    let (found, folder) = (found(&[]), tempfile::tempdir().unwrap());
    assert_eq!(Audit::read(folder.path()).unwrap(), None);
    found.write(folder.path()).unwrap();
    assert_eq!(Audit::read(folder.path()).unwrap(), Some(found));
    std::fs::write(folder.path().join("audit.json"), "{\"modules\": 3}").unwrap();
    let err = Audit::read(folder.path()).unwrap_err().to_string();
    assert!(err.contains("audit.json") && err.contains("is no audit"), "{err}");
}
