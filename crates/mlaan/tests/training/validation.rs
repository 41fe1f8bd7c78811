//! Runs with validation images: what chooses the best epoch, when the test images are used, early ends, resumption.

use crate::runs;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::runs::tensors;
use mlaan::data::{Dataset, ImageView, Splits, Subset, synthetic};
use mlaan::recipe::Recipe;
use mlaan::train::checkpoint::{self, Manifest};
use mlaan::train::metrics::{self, Epoch, Event, Summary};
use mlaan::train::{Outcome, Progress, Trainer, setup};
use mlaan_engine::Device;
use tempfile::tempdir;

/// A small network with every kind of tensor.
fn recipe(epochs: usize, more: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let epochs = format!("train.epochs={epochs}");
    let keys =
        ["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=32", "data.limit=100"];
    r.set_all(keys.iter().chain(more).copied().chain([epochs.as_str()])).unwrap();
    r
}

fn trainer(recipe: &Recipe, splits: Option<Splits>) -> Trainer {
    let device = Device::cpu(Some(2)).unwrap();
    match splits {
        Some(splits) => {
            Trainer::new(recipe, &setup::backbone(&recipe.model).unwrap(), splits, &device).unwrap()
        }
        None => Trainer::from_recipe(recipe, &device).unwrap(),
    }
}

fn run(mut trainer: Trainer, folder: &Path, stop_after: Option<usize>) -> Outcome {
    runs::run(&mut trainer, folder, stop_after)
}

fn finished(outcome: Outcome) -> Summary {
    match outcome {
        Outcome::Finished(summary) => summary,
        other => panic!("{other:?}"),
    }
}

fn epochs(folder: &Path) -> Vec<Epoch> {
    let events = metrics::read(folder).unwrap();
    events.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(e) } else { None }).collect()
}

/// The lines of epochs without what depends on the clock.
fn lines(folder: &Path) -> Vec<serde_json::Value> {
    let timeless = |e: Epoch| {
        let mut value = serde_json::to_value(e).unwrap();
        let keys = ["seconds", "images_per_second", "peak_memory_bytes", "peak_allocated_bytes"];
        keys.iter().for_each(|key| drop(value.as_object_mut().unwrap().remove(*key)));
        value
    };
    epochs(folder).into_iter().map(timeless).collect()
}

/// A summary without what depends on the clock.
fn timeless(s: Summary) -> Summary {
    Summary { seconds: 0.0, peak_memory_bytes: None, peak_allocated_bytes: 0, ..s }
}

fn manifest(folder: &Path) -> Manifest {
    checkpoint::load(folder).unwrap().0
}

/// The first epoch with the lowest of these errors, from 1.
fn lowest(errors: &[f64]) -> usize {
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    1 + errors.iter().position(|e| *e == least).unwrap()
}

/// Images with other labels, which counts how many were read.
struct Counted {
    data: Arc<dyn Dataset>,
    /// Added to every label.
    shift: usize,
    reads: Arc<AtomicUsize>,
    /// That each takes at the least.
    time: Duration,
}

impl Dataset for Counted {
    fn len(&self) -> usize {
        self.data.len()
    }
    fn classes(&self) -> &[String] {
        self.data.classes()
    }
    fn label(&self, index: usize) -> usize {
        (self.data.label(index) + self.shift) % self.data.classes().len()
    }
    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> mlaan::Result<ImageView<'a>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.time);
        self.data.image(index, scratch)
    }
    fn resident_bytes(&self) -> usize {
        self.data.resident_bytes()
    }
}

/// Training images, as many to validate on, and test images that are labelled as another class: what learns does worse there.
fn contrary(validates: bool) -> (Splits, [Arc<AtomicUsize>; 2]) {
    let whole = synthetic::splits(0, 160, 40).unwrap();
    let part = |from: usize, to: usize| {
        Arc::new(Subset::new(Arc::clone(&whole.train), (from..to).collect()).unwrap()) as Arc<dyn Dataset>
    };
    let reads: [Arc<AtomicUsize>; 2] = Default::default();
    let counted = |data: &Arc<dyn Dataset>, shift, reads: &Arc<AtomicUsize>| {
        Arc::new(Counted { data: Arc::clone(data), shift, reads: Arc::clone(reads), time: Duration::ZERO })
            as Arc<dyn Dataset>
    };
    let validation = counted(&part(100, 160), 0, &reads[0]);
    let test = counted(&whole.test, 1, &reads[1]);
    let splits =
        Splits { train: part(0, 100), validation: validates.then_some(validation), test, ..whole.clone() };
    (splits, reads)
}

#[test]
fn validation_chooses_the_best_epoch_though_the_test_images_say_otherwise() {
    const EPOCHS: usize = 6;
    let recipe = recipe(EPOCHS, &[]);
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let (splits, reads) = contrary(true);
    let test_images = splits.test.len();
    let mut before_the_end = 0;
    let mut trainer_of = trainer(&recipe, Some(splits));
    let planned = trainer_of.plan().allocated() as u64;
    // By which the run knows its images again: none of the test images.
    let [fingerprint, untouched] = [0, 1].map(|split: usize| reads[split].load(Ordering::Relaxed));
    assert_eq!((fingerprint, untouched), (8, 0));
    let outcome = trainer_of
        .run(folder.path(), true, &AtomicBool::new(false), &mut |p| {
            if let Progress::Epoch(_) = p {
                before_the_end += reads[1].load(Ordering::Relaxed);
            }
        })
        .unwrap();
    let summary = finished(outcome);
    // The same training, tested after every epoch.
    let tested = finished(run(trainer(&recipe, Some(contrary(false).0)), other.path(), None));
    let validation: Vec<f64> = epochs(folder.path()).iter().map(|e| e.val_error.unwrap()).collect();
    let test: Vec<f64> = epochs(other.path()).iter().map(|e| e.test_error).collect();
    let rest = |accuracy: f64, error: f64| (accuracy + error - 100.0).abs() < 1e-9;
    for e in epochs(folder.path()) {
        assert!(e.test_error.is_nan() && rest(e.val_accuracy.unwrap(), e.val_error.unwrap()));
        assert!(e.val_loss.unwrap() > 0.0 && e.val_top5_accuracy.is_some() && e.test_loss.is_nan());
    }
    assert!(epochs(other.path()).iter().all(|e| e.val_error.is_none() && e.test_error.is_finite()));
    let best = lowest(&validation);
    assert_ne!(best, lowest(&test), "{validation:?} {test:?}");
    assert_eq!((summary.best_epoch, tested.best_epoch), (best, lowest(&test)));
    let (kept, last) = (folder.path().join("checkpoints/best.json"), manifest(folder.path()));
    assert_eq!(checkpoint::load(&kept).unwrap().0.epoch, best);
    assert_eq!(last.best.map(|b| (b.epoch, b.error)), Some((best, validation[best - 1])));
    assert_eq!(
        (last.val_images, last.images, last.val_error),
        (Some(60), [100, 40], validation.last().copied())
    );
    // Both numbers, each of its own weights.
    assert_eq!((summary.test_error, summary.best_test_error), (test[EPOCHS - 1], test[best - 1]));
    assert!(rest(summary.test_accuracy, test[EPOCHS - 1]));
    assert!(rest(summary.best_test_accuracy, test[best - 1]));
    assert_eq!(
        (summary.val_error, summary.best_val_error),
        (validation.last().copied(), Some(validation[best - 1]))
    );
    assert!(tested.val_error.is_none() && rest(tested.test_accuracy, tested.test_error));
    // Each test image is read at the end alone, once for each of the two networks.
    assert_eq!(before_the_end, 0);
    let networks = if best == EPOCHS { 1 } else { 2 };
    assert_eq!(reads[1].load(Ordering::Relaxed), networks * test_images);
    assert_eq!(reads[0].load(Ordering::Relaxed), fingerprint + EPOCHS * 60);
    // The learner has the last epoch's values, and memory was planned.
    assert_eq!(summary.peak_allocated_bytes, planned);
    assert_eq!(tensors(folder.path()), tensors(other.path()));
    let conv1 = &tensors(folder.path())["conv1.weight"];
    let mut now = None;
    trainer_of
        .learner()
        .visit_on(&mut |device, param| {
            if param.name() == "conv1.weight" {
                now = Some(device.download(param.value)?.iter().map(|v| v.to_bits()).collect::<Vec<u32>>());
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(now.as_ref(), Some(conv1));
}

#[test]
fn interrupted_runs_with_validation_resume_to_the_bit() {
    let recipe = recipe(4, &["data.validation=0.2", "train.patience=3"]);
    let whole = tempdir().unwrap();
    let summary = finished(run(trainer(&recipe, None), whole.path(), None));
    assert_eq!(manifest(whole.path()).val_images, Some(20));
    // Three steps an epoch: within the first epoch, at its end, within a later one; then twice in one run.
    for stops in [vec![1], vec![3], vec![8], vec![2, 2, 3]] {
        let parts = tempdir().unwrap();
        for &stop in &stops {
            assert!(matches!(
                run(trainer(&recipe, None), parts.path(), Some(stop)),
                Outcome::Interrupted { .. }
            ));
        }
        let resumed = finished(run(trainer(&recipe, None), parts.path(), None));
        assert_eq!(timeless(resumed), timeless(summary.clone()), "stops {stops:?}");
        assert_eq!(tensors(parts.path()), tensors(whole.path()), "stops {stops:?}");
        let best = |folder: &Path| tensors(&folder.join("checkpoints/best.json"));
        assert_eq!(best(parts.path()), best(whole.path()), "stops {stops:?}");
        assert_eq!(lines(parts.path()), lines(whole.path()), "stops {stops:?}");
        let counted = |folder: &Path| manifest(folder).epochs_without_improvement;
        assert_eq!(counted(parts.path()), counted(whole.path()));
        assert!(counted(whole.path()).is_some());
    }
    // Killed after the last epoch, before the test images were used.
    std::fs::remove_file(whole.path().join(metrics::SUMMARY)).unwrap();
    let again = finished(run(trainer(&recipe, None), whole.path(), None));
    assert_eq!(timeless(again), timeless(summary));
}

#[test]
fn the_test_at_the_end_begins_only_where_it_would_end_in_time() {
    let recipe = recipe(1, &[]);
    let whole = synthetic::splits(0, 60, 20).unwrap();
    let reads: [Arc<AtomicUsize>; 2] = Default::default();
    let splits = |millis| {
        let (time, test) =
            (Duration::from_millis(millis), Subset::new(Arc::clone(&whole.test), vec![0; 2000]));
        let counted = |data, reads: &Arc<AtomicUsize>, time| {
            Arc::new(Counted { data, shift: 0, reads: Arc::clone(reads), time }) as Arc<dyn Dataset>
        };
        let validation = Some(counted(Arc::clone(&whole.test), &reads[0], time));
        Splits {
            validation,
            test: counted(Arc::new(test.unwrap()), &reads[1], Duration::ZERO),
            ..whole.clone()
        }
    };
    let folder = tempdir().unwrap();
    // Two thousand images at 50 ms each, as the validation images took, are more than a minute.
    let mut slow = trainer(&recipe, Some(splits(50)));
    slow.stop_by(Some(Instant::now() + Duration::from_secs(60)));
    let outcome = slow.run(folder.path(), true, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(outcome, Outcome::OutOfTime { epoch: 1, step: 0, trained: true });
    assert_eq!(reads[1].load(Ordering::Relaxed), 0);
    assert!(!folder.path().join(metrics::SUMMARY).exists());
    drop(slow);
    // Where only the test is left it begins in any case, and the run is as one without a limit.
    let mut rest = trainer(&recipe, Some(splits(0)));
    rest.stop_by(Some(Instant::now() + Duration::from_millis(1)));
    let rest = finished(rest.run(folder.path(), true, &AtomicBool::new(false), &mut |_| {}).unwrap());
    let other = tempdir().unwrap();
    let mut plain = trainer(&recipe, Some(splits(0)));
    plain.stop_by(Some(Instant::now() + Duration::from_secs(600)));
    let plain = finished(plain.run(other.path(), true, &AtomicBool::new(false), &mut |_| {}).unwrap());
    assert_eq!(timeless(rest), timeless(plain));
    assert_eq!(tensors(folder.path()), tensors(other.path()));
}

#[test]
fn a_run_ends_early_as_torch_s_early_stopping_does() {
    const EPOCHS: usize = 12;
    let keys = ["data.validation=0.2", "train.lr=0.4", "train.schedule=constant"];
    let whole = tempdir().unwrap();
    let never = recipe(EPOCHS, &[&keys[..], &["train.patience=0"]].concat());
    let summary = finished(run(trainer(&never, None), whole.path(), None));
    assert_eq!(
        (summary.epochs, summary.stopped_early, manifest(whole.path()).epochs_without_improvement),
        (EPOCHS, false, None)
    );
    let errors: Vec<f64> = epochs(whole.path()).iter().map(|e| e.val_error.unwrap()).collect();
    for patience in [1, 2] {
        // Lightning's EarlyStopping: a count of epochs that are not strictly better, and an end when it is reached.
        let (mut best, mut waited, mut end) = (f64::INFINITY, 0, EPOCHS);
        for (epoch, error) in (1..).zip(&errors) {
            (best, waited) = if *error < best { (*error, 0) } else { (best, waited + 1) };
            if waited == patience {
                end = epoch;
                break;
            }
        }
        assert!(end < EPOCHS, "{errors:?}");
        let early = recipe(EPOCHS, &[&keys[..], &[format!("train.patience={patience}").as_str()]].concat());
        let folder = tempdir().unwrap();
        let summary = finished(run(trainer(&early, None), folder.path(), None));
        assert_eq!((summary.epochs, summary.stopped_early), (end, true));
        assert_eq!(summary.best_epoch, lowest(&errors[..end]));
        assert_eq!(lines(folder.path())[..], lines(whole.path())[..end]);
        assert_eq!(manifest(folder.path()).epochs_without_improvement, Some(patience));
        assert!(summary.test_error.is_finite() && summary.best_test_error.is_finite());
        // Stopped on the way, it ends at the same epoch; asked again, it has ended.
        let parts = tempdir().unwrap();
        run(trainer(&early, None), parts.path(), Some(3 * end - 4));
        for _ in 0..2 {
            let resumed = finished(run(trainer(&early, None), parts.path(), None));
            assert_eq!(timeless(resumed), timeless(summary.clone()));
        }
        assert_eq!(tensors(parts.path()), tensors(folder.path()));
    }
    // Without validation images the test error is what is waited for.
    let keys = ["train.lr=0.4", "train.schedule=constant", "train.patience=1"];
    let folder = tempdir().unwrap();
    let summary = finished(run(trainer(&recipe(EPOCHS, &keys), None), folder.path(), None));
    let errors: Vec<f64> = epochs(folder.path()).iter().map(|e| e.test_error).collect();
    let improved = errors.windows(2).map(|pair| pair[1] < pair[0]).collect::<Vec<_>>();
    assert!(
        summary.stopped_early
            && improved.iter().filter(|better| !**better).count() == 1
            && !improved[improved.len() - 1]
    );
}

#[test]
fn stages_find_the_same_with_validation() {
    let recipe = recipe(3, &["data.validation=0.2", "train.lr=0.4", "train.schedule=constant", "seed=2"]);
    let (one, several) = (tempdir().unwrap(), tempdir().unwrap());
    let summary = finished(run(trainer(&recipe, None), one.path(), None));
    assert_ne!(summary.best_epoch, 3, "two networks are tested");
    let devices = [1, 1].map(|threads| Device::cpu(Some(threads)).unwrap());
    let staged = Trainer::from_recipe_in_stages(&recipe, &devices).unwrap();
    let found = finished(run(staged, several.path(), None));
    assert_eq!((found.test_error, found.best_test_error), (summary.test_error, summary.best_test_error));
    assert_eq!(lines(several.path()), lines(one.path()));
    assert_eq!(tensors(several.path()), tensors(one.path()));
}

#[test]
fn images_of_one_s_own_give_the_share_that_the_recipe_wants() {
    let recipe = recipe(1, &["data.validation=0.25", "seed=3"]);
    let splits = synthetic::splits(0, 80, 40).unwrap();
    let trainer = trainer(&recipe, Some(splits));
    let splits = trainer.splits();
    assert_eq!((splits.train.len(), splits.validation.as_ref().map(|v| v.len())), (60, Some(20)));
    // As opening it does.
    let mut opened = recipe.clone();
    opened.set("data.limit=80").unwrap();
    let opened = setup::open(&opened, 1).unwrap();
    let pixels = |data: &dyn Dataset| {
        let mut scratch = Vec::new();
        (0..data.len()).map(|i| data.image(i, &mut scratch).unwrap().rgb.to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(pixels(opened.train.as_ref()), pixels(splits.train.as_ref()));
    assert_eq!(
        pixels(opened.validation.unwrap().as_ref()),
        pixels(splits.validation.clone().unwrap().as_ref())
    );
}

#[test]
fn another_share_is_another_run_and_runs_from_before_go_on_without_a_set_s_own_split() {
    let folder = tempdir().unwrap();
    let own = recipe(2, &[]);
    let whole = synthetic::splits(0, 100, 40).unwrap();
    let with_own = Splits { validation: Some(Arc::clone(&whole.test)), ..whole.clone() };
    // A run that knew of no validation images, as earlier versions did.
    run(trainer(&own, Some(whole.clone())), folder.path(), Some(5));
    assert_eq!(manifest(folder.path()).val_images, None);
    let mut resumed = trainer(&own, Some(with_own));
    resumed.resume_from(&manifest(folder.path()));
    assert!(resumed.warnings().iter().any(|w| w.contains("began without them")), "{:?}", resumed.warnings());
    let summary = finished(run(resumed, folder.path(), None));
    assert!(
        summary.best_val_error.is_none() && epochs(folder.path()).iter().all(|e| e.test_error.is_finite())
    );
    let parts = tempdir().unwrap();
    run(trainer(&recipe(2, &["data.validation=0.2"]), Some(whole.clone())), parts.path(), Some(5));
    let mut other = trainer(&recipe(2, &["data.validation=0.3"]), Some(whole));
    let error = other.run(parts.path(), true, &AtomicBool::new(false), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("other images: 80 for training") && error.contains("70 for training"), "{error}");
}

#[test]
fn recipes_refuse_what_is_no_share() {
    let mut r = Recipe::load("quickstart").unwrap();
    for (set, says) in [
        ("data.validation=1", "found 1, expected a fraction of the images from 0 to less than 1"),
        ("data.validation=-0.1", "found -0.1"),
        ("data.validation=500", "found 500"),
        ("data.test=0", "above 0"),
        ("train.patience=-1", "at least 0"),
    ] {
        let error = r.set_all([set]).unwrap_err().to_string();
        assert!(error.contains(says), "{set}: {error}");
    }
    // A half of the half that is not tested.
    r.set_all(["data.validation=0.5", "data.test=0.5"]).unwrap();
    r.set_all(["data.validation=0.1", "data.test=0.2", "train.patience=5"]).unwrap();
    let text = r.to_toml().unwrap();
    assert!(text.contains("validation = 0.1") && text.contains("patience = 5"), "{text}");
    let read = Recipe::parse(&text, "r").unwrap();
    assert_eq!((read.data, read.train), (r.data, r.train));
    // Recipes that say nothing of it are written as before.
    let plain = Recipe::load("quickstart").unwrap().to_toml().unwrap();
    assert!(!plain.contains("validation") && !plain.contains("patience") && !plain.contains("\ntest"));
}

#[test]
fn other_images_of_the_same_number_are_refused() {
    let folder = tempdir().unwrap();
    let (own, whole) = (recipe(2, &["data.normalise=cifar10"]), synthetic::splits(0, 100, 40).unwrap());
    run(trainer(&own, Some(whole.clone())), folder.path(), Some(5));
    let resumed = |splits: Splits| {
        let mut trainer = trainer(&own, Some(splits));
        let stop = AtomicBool::new(true);
        trainer.run(folder.path(), true, &stop, &mut |_| {}).map_err(|e| e.to_string())
    };
    let other = synthetic::splits(1, 100, 40).unwrap();
    let error = resumed(other).unwrap_err();
    assert!(
        error.contains("it was trained on other images")
            && error.contains("image 0 (training) is another one"),
        "{error}"
    );
    // The same images in another order.
    let turned = Subset::new(Arc::clone(&whole.train), (0..100).rev().collect()).unwrap();
    let error = resumed(Splits { train: Arc::new(turned), ..whole.clone() }).unwrap_err();
    assert!(error.contains("training images have other labels"), "{error}");
    resumed(whole).unwrap();
}
