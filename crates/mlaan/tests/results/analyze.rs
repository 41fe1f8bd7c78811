//! Analyses of trained networks: what is equal by definition, and the same numbers for any number of threads.

use crate::common::trained;
use mlaan::Device;
use mlaan::analyze::{Analysis, Seen, Studied, Subject, cka, features, heads, separability};
use mlaan::data::{Dataset, Frame, Memory, Splits};
use mlaan::train::{evaluate, setup};
use std::path::Path;
use std::sync::Arc;

const MLAAN: &[&str] = &["local.modules=4"];
const BP: &[&str] = &["local.modules=1", "local.leap=none", "local.cascade=none", "seed=5"];

struct Opened {
    subject: Subject,
    splits: Splits,
    pool: mlaan::data::LoaderPool,
}

impl Opened {
    fn new(run: &Path, device: &Device) -> Self {
        let subject = Subject::open("it", run, device, true).unwrap();
        let splits = setup::open(&subject.recipe, 1).unwrap();
        let pool = setup::loader_pool(device, splits.test.as_ref()).unwrap();
        Opened { subject, splits, pool }
    }

    fn separability(&mut self, options: separability::Options) -> separability::Separability {
        let Opened { subject, splits, pool } = self;
        let seen = Seen { data: &splits.test, pool, batch: 32 };
        separability::separability(subject, splits, &seen, options, &mut |_| {}).unwrap()
    }

    fn heads(&mut self, batch: usize) -> mlaan::Result<heads::Heads> {
        let Opened { subject, splits, pool } = self;
        heads::heads(subject, &Seen { data: &splits.test, pool, batch })
    }

    fn cka(&mut self, other: &mut Subject, batch: usize) -> mlaan::Result<cka::Cka> {
        let Opened { subject, splits, pool } = self;
        cka::cka(subject, other, &Seen { data: &splits.test, pool, batch })
    }
}

#[test]
fn threads_change_no_number() {
    let at = tempfile::tempdir().unwrap();
    let (own, other) = (trained(&at.path().join("own"), MLAAN), trained(&at.path().join("other"), BP));
    let run = |threads| {
        let device = Device::cpu(Some(threads)).unwrap();
        let (mut own, mut other) = (Opened::new(&own, &device), Opened::new(&other, &device));
        let found = own.cka(&mut other.subject, 20).unwrap();
        let options = separability::Options { grid: 2, ..separability::Options::default() };
        (found, own.separability(options), own.heads(32).unwrap())
    };
    let one = run(1);
    assert!(one == run(2) && one == run(3));
}

#[test]
fn a_network_is_like_itself_and_less_like_another() {
    let at = tempfile::tempdir().unwrap();
    let (own, other) = (trained(&at.path().join("own"), MLAAN), trained(&at.path().join("other"), BP));
    let device = Device::cpu(Some(2)).unwrap();
    let mut opened = Opened::new(&own, &device);
    // Whether its auxiliary networks are there makes no difference.
    let mut again = Subject::open("again", &own, &device, false).unwrap();
    let found = opened.cka(&mut again, 16).unwrap();
    assert_eq!((found.places.len(), found.images, found.minibatch), (4, 80, 16));
    for (i, row) in found.matrix.iter().enumerate() {
        assert!((row[i].unwrap() - 1.0).abs() < 1e-12, "{row:?}");
        for (j, v) in row.iter().enumerate() {
            assert!((v.unwrap() - found.matrix[j][i].unwrap()).abs() < 1e-9);
        }
    }
    assert!((found.mean.unwrap() - 1.0).abs() < 1e-12);
    let mut other = Subject::open("other", &other, &device, false).unwrap();
    let apart = opened.cka(&mut other, 16).unwrap();
    assert!(apart.mean.unwrap() < 0.999 && apart.mean.unwrap() > 0.0, "{apart:?}");
    // A last minibatch that is smaller is left out; fewer than four images tell nothing.
    assert_eq!(opened.cka(&mut other, 48).unwrap().images, 48);
    assert!(opened.cka(&mut other, 3).unwrap_err().to_string().contains("at least 4"));
}

#[test]
fn the_networks_own_classifier_is_the_last_head_and_batches_do_not_matter() {
    let at = tempfile::tempdir().unwrap();
    let run = trained(&at.path().join("own"), MLAAN);
    let device = Device::cpu(Some(2)).unwrap();
    let mut opened = Opened::new(&run, &device);
    let found = opened.heads(32).unwrap();
    // With batch statistics a batch of one would give other errors.
    assert_eq!(found, opened.heads(1).unwrap());
    assert_eq!(found.modules.len(), 4);
    for m in &found.modules[..3] {
        assert!(m.independent.is_some() && m.cascaded.is_some(), "{found:?}");
    }
    let last = &found.modules[3];
    let Opened { subject, splits, pool } = &mut opened;
    let own = evaluate(&mut subject.learner, &splits.test, pool, (32, Frame::usual(32))).unwrap();
    assert_eq!((last.independent, last.cascaded), (Some(own.error), None));
    assert_eq!(subject.manifest.test_error, own.error);

    let run = trained(&at.path().join("bp"), BP);
    let message = Opened::new(&run, &device).heads(32).unwrap_err().to_string();
    assert!(message.contains("no auxiliary classifiers"), "{message}");
}

#[test]
fn separability_is_found_at_every_block_or_where_modules_end() {
    let at = tempfile::tempdir().unwrap();
    let run = trained(&at.path().join("own"), &["local.cuts=[1]", "local.leap=none"]);
    let device = Device::cpu(Some(2)).unwrap();
    let mut opened = Opened::new(&run, &device);
    let everywhere = opened.separability(separability::Options::default());
    let places: Vec<(&str, bool, usize)> =
        everywhere.places.iter().map(|p| (p.at.name.as_str(), p.at.module_end, p.features)).collect();
    let expected =
        [("stem", false, 4), ("layer1.0", true, 4), ("layer2.0", false, 8), ("layer3.0", true, 16)];
    assert_eq!(places, expected);
    for p in &everywhere.places {
        assert!(p.converged && p.train_error < 85.0, "{p:?}");
    }
    // Deeper features tell the images that were trained on further apart.
    assert!(everywhere.places[3].train_error + 5.0 < everywhere.places[0].train_error, "{everywhere:?}");
    let ends = opened.separability(separability::Options { ends_only: true, ..Default::default() });
    assert!(ends.places.iter().eq(everywhere.places.iter().filter(|p| p.at.module_end)));
    // A finer grid keeps more of the image: training images are separated better.
    let finer = opened.separability(separability::Options { grid: 2, ..Default::default() });
    assert_eq!(finer.places[3].features, 64);
    assert!(finer.places[3].train_error < everywhere.places[3].train_error);
    // Memory that features took is given back.
    assert_eq!(device.usage().current, {
        let again = opened.separability(separability::Options::default());
        assert_eq!(again, everywhere);
        device.usage().current
    });
}

#[test]
fn classes_must_be_the_images() {
    let at = tempfile::tempdir().unwrap();
    let run = trained(&at.path().join("own"), MLAAN);
    let mut opened = Opened::new(&run, &Device::cpu(Some(1)).unwrap());
    opened.subject.manifest.classes[3] = "zebra".into();
    let message = opened.heads(8).unwrap_err().to_string();
    assert!(message.contains("zebra") && message.contains("--data"), "{message}");
}

/// Images of the classes that `keep` says, which are in the opposite order.
fn other_way_round(data: &dyn Dataset, keep: impl Fn(usize) -> bool) -> Arc<dyn Dataset> {
    let kept: Vec<usize> = (0..data.classes().len()).rev().filter(|class| keep(*class)).collect();
    let mut found = Memory::new(kept.iter().map(|class| data.classes()[*class].clone()).collect());
    let mut scratch = Vec::new();
    for index in 0..data.len() {
        if let Some(label) = kept.iter().position(|class| *class == data.label(index)) {
            found.push(data.image(index, &mut scratch).unwrap(), label).unwrap();
        }
    }
    Arc::new(found)
}

#[test]
fn classes_are_matched_by_name() {
    let at = tempfile::tempdir().unwrap();
    let run = trained(&at.path().join("own"), MLAAN);
    let mut opened = Opened::new(&run, &Device::cpu(Some(1)).unwrap());
    let (heads, options) = (opened.heads(8).unwrap(), separability::Options::default());
    let separable = opened.separability(options);
    let original = opened.splits.clone();
    let arrange = |keep: &dyn Fn(usize) -> bool| Splits {
        train: other_way_round(original.train.as_ref(), keep),
        test: other_way_round(original.test.as_ref(), keep),
        ..original.clone()
    };
    opened.splits = arrange(&|_| true);
    assert_eq!(opened.heads(8).unwrap(), heads);
    for (a, b) in opened.separability(options).places.iter().zip(&separable.places) {
        assert!((a.loss - b.loss).abs() < 1e-6, "{a:?} {b:?}");
    }
    // Some of the network's classes.
    opened.splits = arrange(&|class| class % 2 == 0);
    assert_eq!(opened.heads(8).unwrap().images, opened.splits.test.len());
    let fewer = opened.separability(options);
    assert_eq!(fewer.test_images, opened.splits.test.len());
    assert!(fewer.places.iter().all(|place| place.converged), "{fewer:?}");
}

#[test]
fn reports_come_back_as_they_were_written() {
    let at = tempfile::tempdir().unwrap();
    let run = trained(&at.path().join("own"), MLAAN);
    let device = Device::cpu(Some(2)).unwrap();
    let mut opened = Opened::new(&run, &device);
    let mut report = Analysis::new("builtin", [80, 80]);
    let mut found = Studied::new(&opened.subject, &run);
    found.heads = Some(opened.heads(32).unwrap());
    let mut again = Subject::open("again, \"once\"", &run, &device, false).unwrap();
    found.cka = Some(opened.cka(&mut again, 16).unwrap());
    found.separability = Some(opened.separability(separability::Options::default()));
    report.subjects.push(found);
    let chosen = features::Chosen::of(opened.splits.test.as_ref(), &[3, 5]).unwrap();
    let mut subjects = [opened.subject, again];
    let looks = features::features(&mut subjects, chosen, &opened.pool, 3).unwrap();
    assert_eq!((looks.len(), looks[0].networks.len(), looks[0].networks[0].places.len()), (2, 2, 3));
    let drawn = report.add_features(at.path(), &looks).unwrap();
    let mut files = report.save(at.path()).unwrap();
    files.extend(drawn);
    assert_eq!(Analysis::read(&at.path().join("analysis.json")).unwrap(), report);
    let read = |name: &str| std::fs::read_to_string(at.path().join(name)).unwrap();
    assert_eq!(read("separability.csv").lines().count(), 5);
    assert_eq!(read("cka.csv").lines().count(), 17);
    assert!(read("cka.csv").contains("it,\"again, \"\"once\"\"\",stem,stem,1"));
    assert_eq!(read("heads.csv").lines().count(), 5);
    assert!(files.iter().all(|f| f.is_file()) && files.len() == 9, "{files:?}");
    let later = read("analysis.json").replacen("\"version\": 1", "\"version\": 2", 1);
    std::fs::write(at.path().join("later.json"), later).unwrap();
    let message = Analysis::read(&at.path().join("later.json")).unwrap_err().to_string();
    assert!(message.contains("version 2"), "{message}");
    let message = features::Chosen::of(opened.splits.test.as_ref(), &[80]).err().unwrap().to_string();
    assert!(message.contains("image 80"), "{message}");
}

#[test]
fn a_gpu_finds_the_same() {
    let Some(gpu) = crate::common::cuda() else { return };
    let at = tempfile::tempdir().unwrap();
    let (own, other) = (trained(&at.path().join("own"), MLAAN), trained(&at.path().join("other"), BP));
    let run = |device: &Device| {
        let (mut own, mut other) = (Opened::new(&own, device), Opened::new(&other, device));
        // A GPU on the processor is slow.
        own.subject.recipe.data.limit = Some(12);
        own.splits = setup::open(&own.subject.recipe, 1).unwrap();
        let similarity = own.cka(&mut other.subject, 12).unwrap().mean.unwrap();
        let separation = own.separability(separability::Options { ends_only: true, ..Default::default() });
        (similarity, separation.places.iter().map(|p| p.loss).collect::<Vec<_>>())
    };
    let (here, there) = (run(&Device::cpu(Some(2)).unwrap()), run(&gpu));
    assert!((here.0 - there.0).abs() < 1e-4, "{here:?} {there:?}");
    for (a, b) in here.1.iter().zip(&there.1) {
        assert!((a - b).abs() < 1e-3 * a, "{here:?} {there:?}");
    }
}
