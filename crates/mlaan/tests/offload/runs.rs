//! Whole runs with auxiliary networks in host memory: their checkpoints, and ranks.

use super::{alone, cuda};
use mlaan::plan::Division;
use mlaan::ranks::World;
use mlaan::recipe::Recipe;
use mlaan::train::{Outcome, Progress, Trainer, follow};
use mlaan_engine::Usage;
use mlaan_host_cuda::{calls, shuffle_streams};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::tempdir;

/// The recipe of a small run.
fn recipe(keys: &[&str]) -> Recipe {
    let mut r = Recipe::load("quickstart").unwrap();
    let small = ["model.backbone=resnet8", "model.width=4", "local.modules=4", "train.batch=4"];
    r.set_all(small.iter().chain(&["data.limit=6", "data.size=8", "train.epochs=2"]).chain(keys).copied())
        .unwrap();
    r
}

fn train(recipe: &Recipe, folder: &Path, stop_after: Option<usize>) {
    let (stop, mut steps) = (AtomicBool::new(false), 0);
    let is_new = !folder.join("checkpoints").exists();
    let mut trainer = Trainer::from_recipe(recipe, &cuda()).unwrap();
    let planned = trainer.plan().allocated() as u64;
    let outcome = trainer.run(folder, true, &stop, &mut |p| {
        if let Progress::Step { .. } = p {
            steps += 1;
            stop.store(Some(steps) == stop_after, Ordering::Relaxed);
        }
    });
    // What goes on within the last epoch has no whole batch left.
    if let (Outcome::Finished(summary), true) = (outcome.unwrap(), is_new) {
        assert_eq!(summary.peak_allocated_bytes, planned);
    }
}

/// All tensors of a run's last checkpoint.
fn tensors(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder.join("checkpoints")).unwrap().flatten().collect();
    files.retain(|f| f.path().extension().is_some_and(|e| e == "safetensors"));
    files.sort_by_key(std::fs::DirEntry::file_name);
    let read =
        |f: &std::fs::DirEntry| (f.file_name().into_string().unwrap(), std::fs::read(f.path()).unwrap());
    files.iter().map(read).collect()
}

#[test]
fn checkpoints_are_the_same_and_runs_go_on_with_and_without() {
    let Some(_alone) = alone() else { return };
    shuffle_streams(Some(5), None).unwrap();
    let [here, there, both] = [0; 3].map(|_| tempdir().unwrap());
    let (plain, moved) = (recipe(&[]), recipe(&["local.offload=auxiliary"]));
    train(&plain, here.path(), None);
    train(&moved, there.path(), None);
    assert!(!tensors(here.path()).is_empty());
    assert!(tensors(here.path()) == tensors(there.path()), "the files of checkpoints");
    // Within the second epoch from one to the other.
    train(&moved, both.path(), Some(3));
    train(&plain, both.path(), None);
    assert!(tensors(here.path()) == tensors(both.path()), "the files of checkpoints, changed midway");
    shuffle_streams(None, None).unwrap();
}

/// A run over two ranks, which are threads here, on one GPU; bytes of it that are planned.
fn over_ranks(recipe: &Recipe, folder: &Path) -> mlaan::Result<usize> {
    let (worlds, devices) = (World::threads(2), [cuda(), cuda()]);
    thread::scope(|scope| {
        let before = calls().unwrap();
        let follower = scope.spawn(|| {
            follow(&worlds[1], Some(recipe), &devices[1]).inspect_err(|e| worlds[1].fail(&e.to_string()))
        });
        let leads = || -> mlaan::Result<usize> {
            let mut trainer =
                Trainer::from_recipe_in_ranks(recipe, &devices[0], (&worlds[0], &Division::Time))?;
            trainer.run(folder, true, &AtomicBool::new(false), &mut |_| ())?;
            for ((device, stage), world) in devices.iter().zip(&trainer.plan().stages).zip(&worlds) {
                let (used, planned) = (device.usage(), stage.usage);
                let bytes = |u: Usage| (u.footprint, u.peak, u.host);
                assert_eq!(bytes(used), bytes(planned), "modules {:?}", stage.modules);
                assert_eq!(used.host == 0, recipe.local.offload.is_none(), "modules {:?}", stage.modules);
                // Messages lie beside it.
                let (waited, room) = (world.peak_bytes(), stage.messages.waiting);
                assert!(
                    0 < waited && waited <= room,
                    "modules {:?}: {waited} bytes of {room}",
                    stage.modules
                );
                assert_eq!(stage.needs().host(), used.footprint - used.held + used.host + stage.messages.all);
            }
            let planned = trainer.plan().stages.iter().map(|stage| stage.usage.held).sum();
            trainer.dismiss()?;
            Ok(planned)
        };
        let led = leads().inspect_err(|e| worlds[0].fail(&e.to_string()));
        let followed = follower.join().unwrap();
        let asked = calls().unwrap().since(before);
        assert_eq!(asked.pageable, 0, "through pinned memory: {asked:?}");
        led.and_then(|planned| followed.map(|()| planned))
    })
}

#[test]
fn ranks_learn_what_one_process_learns() {
    let Some(_alone) = alone() else { return };
    let keys = ["local.leap.ema=0.5", "train.epochs=1", "data.limit=8"];
    let (plain, moved) = (recipe(&keys), recipe(&[&keys[..], &["local.offload=auxiliary"]].concat()));
    let [one, two] = [0; 2].map(|_| tempdir().unwrap());
    train(&plain, one.path(), None);
    shuffle_streams(Some(11), None).unwrap();
    over_ranks(&moved, two.path()).unwrap();
    shuffle_streams(None, None).unwrap();
    assert!(tensors(one.path()) == tensors(two.path()), "the files of checkpoints");
}

/// A run over two ranks whose GPU has what the parent says.
#[test]
#[ignore = "`ranks_on_one_gpu_fit_together` runs it on a driver with little memory"]
fn on_a_small_gpu() {
    let Some(_alone) = alone() else { return };
    let folder = tempdir().unwrap();
    match over_ranks(&recipe(&["train.epochs=1"]), folder.path()) {
        Ok(_) => println!("it fits"),
        Err(e) => println!("{e}"),
    }
}

#[test]
fn ranks_on_one_gpu_fit_together() {
    let Some(_alone) = alone() else { return };
    let folder = tempdir().unwrap();
    let needed = over_ranks(&recipe(&["train.epochs=1"]), folder.path()).unwrap();
    let on = |bytes: usize| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "runs::on_a_small_gpu", "--nocapture", "--ignored"]);
        // Beside the plan 64 MiB are for the kernels of each.
        command.env("MLAAN_HOST_CUDA_MEMORY", (2 * (64 << 20) + bytes).to_string());
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(on(needed).contains("it fits"), "{}", on(needed));
    let refused = on(needed - 1);
    assert!(refused.contains("ranks on one GPU need") && refused.contains("rank 1 "), "{refused}");
}
