//! Losses that stay on a GPU for many steps: the same values and checkpoints as when each is read, and no waiting between.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;
#[path = "common/runs.rs"]
mod runs;

use common::cuda;
use mlaan::Error;
use mlaan::data::{Dataset, ImageView, Splits};
use mlaan::recipe::Recipe;
use mlaan::train::metrics::{self, Event};
use mlaan::train::{Outcome, Progress, Trainer, checkpoint, setup};
use mlaan_engine::Device;
use mlaan_host_cuda::{Calls, On, calls, tests_on};
use runs::tensors;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::tempdir;

/// The driver counts the calls of the whole process, so tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Steps of an epoch.
const STEPS: usize = 6;

/// Two modules with a leap chain; the last batch is not full. Images and sets are small, as the host's CUDA driver is slow.
fn recipe(epochs: usize) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let epochs = format!("train.epochs={epochs}");
    let keys = [
        "model.backbone=resnet8",
        "model.width=4",
        "local.modules=2",
        "train.batch=2",
        "data.limit=11",
        "data.size=8",
    ];
    r.set_all(keys.into_iter().chain([epochs.as_str()])).unwrap();
    r
}

fn trainer(recipe: &Recipe, device: &Device, every: usize) -> Trainer {
    let mut trainer = Trainer::from_recipe(recipe, device).unwrap();
    trainer.read_losses_every(Some(every));
    trainer
}

fn go(trainer: &mut Trainer, folder: &Path) -> mlaan::Result<Outcome> {
    trainer.run(folder, true, &AtomicBool::new(false), &mut |_| {})
}

/// The epochs' lines without what depends on the clock and on how far a process came.
fn epochs(folder: &Path) -> Vec<metrics::Epoch> {
    let lines = metrics::read(folder).unwrap();
    let all = lines.into_iter().filter_map(|e| if let Event::Epoch(e) = e { Some(e) } else { None });
    let timeless = |e| metrics::Epoch { seconds: 0.0, images_per_second: 0.0, peak_allocated_bytes: 0, ..e };
    all.map(timeless).collect()
}

/// What the driver was called for in each epoch's steps, and what every step told: its number, loss and error.
fn watched(trainer: &mut Trainer, folder: &Path) -> (Vec<Calls>, Vec<(usize, f64, f64)>) {
    let (mut begin, mut found, mut steps) = (Calls::default(), Vec::new(), Vec::new());
    trainer
        .run(folder, true, &AtomicBool::new(false), &mut |p| match p {
            Progress::Event(_) => begin = calls().unwrap(),
            Progress::Evaluating { .. } => found.push(calls().unwrap().since(begin)),
            Progress::Step { step, loss, error, .. } => steps.push((step, loss, error)),
            _ => {}
        })
        .unwrap();
    (found, steps)
}

#[test]
fn losses_of_many_steps_are_read_at_once_and_are_the_same() {
    let Some(device) = cuda() else { return };
    let _alone = alone();
    let (one, many) = (tempdir().unwrap(), tempdir().unwrap());
    let (each, told) = watched(&mut trainer(&recipe(2), &device, 1), one.path());
    let (together, told_later) = watched(&mut trainer(&recipe(2), &device, 32), many.path());
    assert_eq!(told, told_later);
    assert_eq!(
        told.iter().map(|s| s.0).collect::<Vec<_>>(),
        (0..2 * STEPS).map(|i| 1 + i % STEPS).collect::<Vec<_>>()
    );
    assert_eq!(epochs(one.path()), epochs(many.path()));
    assert!(tensors(one.path()) == tensors(many.path()));
    if tests_on() == Some(On::Host) {
        for (each, together) in each.iter().zip(&together) {
            assert_eq!((each.downloads, each.waits, each.pageable), (STEPS as u64, 0, 0), "{each:?}");
            assert_eq!((together.downloads, together.waits, together.pageable), (1, 0, 0), "{together:?}");
        }
    }
}

#[test]
fn a_step_of_another_kind_has_a_graph_of_its_own() {
    let Some(device) = cuda() else { return };
    let _alone = alone();
    let mut recipe = recipe(3);
    recipe.set_all(["local.leap.every=2"]).unwrap();
    let folder = tempdir().unwrap();
    let (found, _) = watched(&mut trainer(&recipe, &device, 32), folder.path());
    if tests_on() == Some(On::Host) {
        let built: Vec<u64> = found.iter().map(|c| c.graphs).collect();
        assert!(built[0] >= 2 && built[1..] == [0, 0], "built in each epoch: {built:?}");
    }
}

#[test]
fn a_bad_loss_among_many_is_named_by_its_step_and_nothing_is_saved_behind_it() {
    let Some(device) = cuda() else { return };
    let _alone = alone();
    let whole = recipe(1);
    let mut bad = recipe(2);
    bad.set_all(["train.lr=1e6", "train.weight_decay=1.0", "train.warmup=0", "train.schedule=constant"])
        .unwrap();
    let found = [1, 32].map(|every| {
        let folder = tempdir().unwrap();
        go(&mut trainer(&whole, &device, 32), folder.path()).unwrap();
        let (before, lines) = (tensors(folder.path()), metrics::read(folder.path()).unwrap().len());
        let mut trainer = trainer(&bad, &device, every);
        let error = go(&mut trainer, folder.path()).unwrap_err();
        let Error::NonFinite { module, term, epoch, step, .. } = error else { panic!("{error}") };
        assert!(tensors(folder.path()) == before, "the last good checkpoint stays");
        let after = metrics::read(folder.path()).unwrap();
        assert_eq!((epochs(folder.path()).len(), after.len()), (1, lines + 1), "{after:?}");
        assert_eq!(
            after.last(),
            Some(&Event::Resume { epoch: 1 }),
            "nothing is told of the epoch that failed"
        );
        // And is gone on from.
        go(&mut self::trainer(&recipe(2), &device, every), folder.path()).unwrap();
        ((module, term, epoch, step), tensors(folder.path()))
    });
    assert!(found[0] == found[1], "{:?} {:?}", found[0].0, found[1].0);
    let (.., epoch, step) = found[0].0;
    assert!(epoch == 2 && step > 1 && step < STEPS, "inside: {:?}", found[0].0);
}

/// Images that ask a run to stop when the label of the `after`-th is asked for.
struct Stopping {
    images: Arc<dyn Dataset>,
    asked: AtomicUsize,
    after: usize,
    stop: Arc<AtomicBool>,
}

impl Dataset for Stopping {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn label(&self, index: usize) -> usize {
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.after {
            self.stop.store(true, Ordering::Relaxed);
        }
        self.images.label(index)
    }

    fn image<'a>(&'a self, index: usize, scratch: &'a mut Vec<u8>) -> mlaan::Result<ImageView<'a>> {
        self.images.image(index, scratch)
    }

    fn whole(&self) -> Option<(usize, &[u8])> {
        self.images.whole()
    }

    fn resident_bytes(&self) -> usize {
        self.images.resident_bytes()
    }
}

#[test]
fn a_run_that_is_stopped_between_readings_resumes_to_the_bit() {
    let Some(device) = cuda() else { return };
    let _alone = alone();
    let (whole, parts) = (tempdir().unwrap(), tempdir().unwrap());
    go(&mut trainer(&recipe(2), &device, 32), whole.path()).unwrap();
    let (recipe, stop) = (recipe(2), Arc::new(AtomicBool::new(false)));
    let splits = setup::open(&recipe, 1).unwrap();
    let asked = AtomicUsize::new(0);
    let train = Arc::new(Stopping { images: splits.train.clone(), asked, after: 6, stop: stop.clone() });
    let backbone = setup::backbone(&recipe.model).unwrap();
    let images = Arc::clone(&train);
    let mut stopped = Trainer::new(&recipe, &backbone, Splits { train, ..splits }, &device).unwrap();
    // Setting up asks for every label.
    images.asked.store(0, Ordering::Relaxed);
    stop.store(false, Ordering::Relaxed);
    stopped.read_losses_every(Some(32));
    let mut told = 0;
    let outcome = stopped
        .run(parts.path(), true, &stop, &mut |p| told += usize::from(matches!(p, Progress::Step { .. })));
    let Outcome::Interrupted { epoch: 0, step } = outcome.unwrap() else { panic!("it was not stopped") };
    assert!(step > 0 && step < STEPS && told == step, "{step} {told}");
    let (manifest, _) = checkpoint::load(parts.path()).unwrap();
    assert_eq!((manifest.partial.steps, manifest.step), (step, step as u64));
    // The rest with other readings.
    go(&mut trainer(&recipe, &device, 4), parts.path()).unwrap();
    assert_eq!(epochs(parts.path()), epochs(whole.path()));
    assert!(tensors(parts.path()) == tensors(whole.path()));
}

#[test]
#[ignore = "`a_gpu_that_is_late_changes_nothing` runs it on a driver that does things late"]
fn late() {
    let folder = std::env::var_os("MLAAN_TEST_FOLDER").unwrap();
    let device = cuda().unwrap();
    let mut trainer = trainer(&recipe(2), &device, 32);
    let (found, _) = watched(&mut trainer, folder.as_ref());
    // Two small uploads a step, of which there are fewer than blocks; one wait for the losses.
    assert!(found.iter().all(|c| (c.waits, c.event_waits, c.pageable) == (0, 1, 0)), "{found:?}");
}

#[test]
fn a_gpu_that_is_late_changes_nothing() {
    let Some(device) = cuda() else { return };
    let _alone = alone();
    if tests_on() != Some(On::Host) {
        return;
    }
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    go(&mut trainer(&recipe(2), &device, 1), here.path()).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "late", "--nocapture", "--ignored"]);
    command.env("MLAAN_HOST_CUDA_LATE", "1").env("MLAAN_TEST_FOLDER", there.path());
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(epochs(here.path()), epochs(there.path()));
    assert!(tensors(here.path()) == tensors(there.path()));
}
